"""Models outside of training: exported without Spark, served in batches, as a stream and online, and as jobs."""
