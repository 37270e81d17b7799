"""The rules of a shared HTTP cache (RFC 9111 and its companions): frozen values and pure functions, no I/O."""
