"""The core that every vertical stands on; it knows no vertical."""
