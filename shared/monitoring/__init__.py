"""Watching a model at work: profiles, drift, performance once labels are known, alerts and where they go."""
