"""Benchmarks: one script per published figure, each beside a named peer measured in the same run."""
