"""What a value must be beyond its type: the mark that carries it in an annotation, and the checks of numbers.

A field says ``Annotated[int, Must(at_least(1))]``; the reader applies the check to the field, or to each item of a
list, and reports what it finds under the exact path. A check never repeats a value that may be a secret.
"""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec

from redis_mw.settings.durations import Duration, microseconds

LARGEST = 2**53


class Wrong(NamedTuple):
    """What is wrong with a value, and the remedy."""

    message: str
    remedy: str


Check: TypeAlias = Callable[[Any], Wrong | None]


class Must(msgspec.Struct, frozen=True):
    """The mark in an annotation: the value must pass ``check``."""

    check: Check


def at_least(least: int) -> Check:
    """The value is not under ``least``, nor so large that Lua would count it inexactly."""

    def check(value: int) -> Wrong | None:
        if least <= value <= LARGEST:
            return None
        # A number of thousands of digits cannot even be written out.
        return Wrong(f"is {value}" if abs(value) <= LARGEST else "is out of range", f"it must be at least {least}")

    return check


def between(least: int, most: int) -> Check:
    """The value is neither under ``least`` nor over ``most``, nor NaN."""

    def check(value: float) -> Wrong | None:
        return None if least <= value <= most else Wrong("is out of range", f"it must be from {least} to {most}")

    return check


def _lasting(least_us: int, remedy: str) -> Check:
    def check(value: Duration) -> Wrong | None:
        try:
            return None if microseconds(value) >= least_us else Wrong(f"is {value}", remedy)
        except (ValueError, OverflowError):
            return Wrong("is not a finite duration of at most a century", remedy)

    return check


Count: TypeAlias = Annotated[int, Must(at_least(1))]
CountOrZero: TypeAlias = Annotated[int, Must(at_least(0))]
Fraction: TypeAlias = Annotated[int | float, Must(between(0, 1))]
Positive: TypeAlias = Annotated[Duration, Must(_lasting(1, "give more than 0 seconds"))]
Lasting: TypeAlias = Annotated[Duration, Must(_lasting(1000, "give a millisecond or more: Redis ends keys by it"))]
NotNegative: TypeAlias = Annotated[Duration, Must(_lasting(0, "give 0 seconds or more"))]
