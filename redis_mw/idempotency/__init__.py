"""Idempotency keys: a request that is sent again with its key runs once, and its first answer is replayed."""
