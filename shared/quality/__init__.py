"""Data quality: what is expected of rows and tables, which rows fail, and when a run must stop."""
