"""How much was let through in a period, counted from what a client can know of each call. Pure.

The server decided at some moment between the client's clock before the call and after it. *Certain* is what holds
whichever moments those were, *possible* the worst that they allow; the truth lies between.
"""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple


class Admission(NamedTuple):
    """When a call was let through: not before, not after. Seconds of a clock that never goes back."""

    before: float
    after: float


def most_certain(admissions: Sequence[Admission], period: float) -> int:
    """The most that any window ``[t, t + period)`` held beyond doubt: calls that began and were answered within it."""
    begins = [admission.before for admission in admissions]
    return max((sum(a.before >= t and a.after < t + period for a in admissions) for t in begins), default=0)


def most_possible(admissions: Sequence[Admission], period: float) -> int:
    """The most that any window can have held: calls that were under way at some moment of it."""
    begins = [admission.after for admission in admissions]
    return max((sum(a.after >= t and a.before < t + period for a in admissions) for t in begins), default=0)


def long_run(admissions: Sequence[Admission], count: int, period: float) -> float:
    """The rate of admissions, divided by ``count`` per ``period``, once the first ``count`` are through.

    Whatever repeats itself lets ``count`` through each time it does, so the time is taken from an admission to the
    one that is a whole number of counts later: at the same place in its cycle, however long that is. The median over
    all pairs that are as far apart as possible. 0.0 where there are not enough.
    """
    after = [admission.after for admission in admissions[count:]]
    cycles = (len(after) - 1) // count
    if cycles < 1:
        return 0.0
    span = cycles * count
    taken = median(later - earlier for earlier, later in zip(after, after[span:], strict=False))
    return cycles * period / taken
