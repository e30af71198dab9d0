"""Evaluation in Spark: no rows are collected, ties are exact, and every metric has a baseline and an interval."""
