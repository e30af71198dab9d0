"""The online service: the exported champion behind HTTP, without Spark and without a JVM."""
