"""Pages: responses that are kept and shared, one hash of variants for each URL."""
