"""Command lines: the verbs of a vertical, and `python -m shared`."""
