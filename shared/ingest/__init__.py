"""Ingestion: sources into bronze, silver and quarantine, with every row accounted for."""
