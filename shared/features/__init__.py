"""Features: what a model reads, and the guards that keep the future and the label out of it."""
