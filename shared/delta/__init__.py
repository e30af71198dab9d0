"""The only place that knows how Delta is written."""
