"""All I/O of redis-mw: connections, the two drivers that perform flows, the breaker. Knows no feature."""
