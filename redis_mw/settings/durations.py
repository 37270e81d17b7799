"""Durations: how users write them, and the two units the code computes in."""

from datetime import timedelta
from math import isfinite
from typing import Any, TypeAlias

Duration: TypeAlias = int | float | timedelta
"""Seconds, or a ``timedelta``."""

LONGEST_US = 100 * 366 * 86_400 * 1_000_000
"""A century. Redis adds a duration to its clock in 64 bits; what is longer than this is a mistake anyway."""

_MICROSECOND = timedelta(microseconds=1)


def microseconds(duration: Duration) -> int:
    """The duration in whole microseconds, rounded to the nearest. ValueError for NaN, infinity and over a century."""
    given: Any = duration
    if isinstance(given, timedelta):
        exact = given // _MICROSECOND
    elif isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError(f"a duration is a number of seconds or a timedelta, not {type(given).__name__}")
    elif not isfinite(given):
        raise ValueError("a duration is finite")
    else:
        exact = round(given * 1_000_000)
    if abs(exact) > LONGEST_US:
        raise ValueError("a duration is at most a century")
    return exact


def seconds(duration: Duration) -> float:
    """The duration in seconds. The same errors as ``microseconds``."""
    return microseconds(duration) / 1_000_000
