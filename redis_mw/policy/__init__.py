"""Policy: which rules hold for this request, compiled once into one table."""
