"""A saved pipeline of MLlib as one ONNX graph, and the proof that both give the same probability.

Reads the files that Spark wrote; neither Spark nor a JVM is needed.
"""
