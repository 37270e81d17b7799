"""What a flow's outcome is to application code: its value, or an error raised."""

from typing import TypeVar

from redis_mw.errors import RedisUnavailable
from redis_mw.sessions.record import Away

T = TypeVar("T")


def told(outcome: T | Away) -> T:
    """The value, or ``RedisUnavailable`` where nobody knows it."""
    if isinstance(outcome, Away):
        raise RedisUnavailable(outcome.reason, outcome.retry_after)
    return outcome
