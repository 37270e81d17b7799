"""Who is known to be denied: a repeat costs no round trip.

Remembered for a second at most, so that what another process gives back is noticed even if its word got lost. What is
remembered belongs to one limit as it is now: with other numbers, or another cost, it is asked anew.
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from redis_mw.limits.ledger import Ask
from redis_mw.limits.verdict import Verdict

Known: TypeAlias = "tuple[str, int, int, int]"

LONGEST_S = 1.0
MOST = 16384


class Denial(NamedTuple):
    """A verdict, and until when (by the process's clock) it is believed; ``ends`` is when asking again may help."""

    believed_until: float
    ends: float
    verdict: Verdict


class Denials:
    """Bounded; the oldest are forgotten first. Its operations are atomic under threads."""

    def __init__(self) -> None:
        self._denials: dict[Known, Denial] = {}

    def __bool__(self) -> bool:
        return bool(self._denials)

    def find(self, asks: Iterable[Ask], now: float) -> tuple[Ask, Denial] | None:
        """The first of these that is known to be denied."""
        if not self._denials:
            return None
        for ask in asks:
            known = _known(ask)
            denial = self._denials.get(known)
            if denial is not None:
                if now < denial.believed_until:
                    return ask, denial
                _ = self._denials.pop(known, None)
        return None

    def note(self, ask: Ask, verdict: Verdict, now: float) -> None:
        """Remember that this was denied."""
        if len(self._denials) >= MOST:
            for known in tuple(self._denials)[: MOST // 16]:
                _ = self._denials.pop(known, None)
        ends = now + verdict.retry_after
        self._denials[_known(ask)] = Denial(min(ends, now + LONGEST_S), ends, verdict)

    def clear(self) -> None:
        self._denials.clear()


def _known(ask: Ask) -> Known:
    return ask.key, ask.quota.amount, ask.quota.burst, ask.cost
