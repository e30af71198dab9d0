"""Mathematics that belongs to churn alone: labels made from an event log."""
