"""Rate limits: any number of them decided together, in one round trip, and exact in every window."""
