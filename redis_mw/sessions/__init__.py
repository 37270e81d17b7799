"""Server-side sessions: the rules, the flows and the formats; all of sessions is here and nothing else."""
