"""What a flow's outcome is to application code: its value, or an error raised."""

from typing import TypeVar

from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.sessions.record import Away

T = TypeVar("T")


def told(outcome: T | Away | CommandError | RedisUnavailable) -> T:
    """The value, or ``RedisUnavailable`` where nobody knows it, or Redis refused (``OOM``, ``READONLY``)."""
    if isinstance(outcome, Away):
        raise RedisUnavailable(outcome.reason, outcome.retry_after)
    if isinstance(outcome, RedisUnavailable):
        raise outcome
    if isinstance(outcome, CommandError):
        raise RedisUnavailable(str(outcome)) from outcome
    return outcome
