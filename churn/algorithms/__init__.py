"""Mathematics that belongs to churn alone: labels from an event log, the candidate models, reasons for a score."""
