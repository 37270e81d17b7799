"""What application code calls: ``RedisMW`` and its awaited twin ``AsyncRedisMW``.

Their methods have one line each, which runs a flow; a parity test compares the two.
"""
