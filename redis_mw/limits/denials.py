"""Who is known to be denied: a repeat costs no round trip.

Remembered for a second at most, so that what another process gives back is noticed even if its word got lost. What is
remembered belongs to one limit as it is now: with other numbers, or another cost, it is asked anew.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from redis_mw.limits.asks import Ask
from redis_mw.limits.verdict import Verdict

Known: TypeAlias = "tuple[str, int, int, int]"

LONGEST_S = 1.0
MOST = 16384


class Denial(NamedTuple):
    """Until when (by the process's clock) it is believed, when asking again may help, and what was said then: the
    verdicts of all limits that were asked together, by key.
    """

    believed_until: float
    ends: float
    verdicts: Mapping[str, Verdict]


class Denials:
    """Bounded; the oldest are forgotten first. Its operations are atomic under threads."""

    def __init__(self) -> None:
        self._denials: dict[Known, Denial] = {}

    def __bool__(self) -> bool:
        return bool(self._denials)

    def find(self, asks: Sequence[Ask], now: float) -> tuple[float, list[Verdict]] | None:
        """For how many seconds one of these is known to be denied, and a verdict for each of them, if all are known."""
        if not self._denials:
            return None
        for ask in asks:
            known = _known(ask)
            denial = self._denials.get(known)
            if denial is None:
                continue
            if now >= denial.believed_until:
                _ = self._denials.pop(known, None)
                continue
            found = [denial.verdicts.get(each.key) for each in asks]
            verdicts = [verdict for verdict in found if verdict is not None]
            if len(verdicts) == len(asks):
                passed = now - (denial.ends - denial.verdicts[ask.key].retry_after)
                return denial.ends - now, [_later(verdict, passed) for verdict in verdicts]
        return None

    def note(self, asks: Sequence[Ask], verdicts: Sequence[Verdict], denied: Sequence[int], now: float) -> None:
        """Remember that those at the places ``denied`` were denied."""
        said = {ask.key: msgspec.structs.replace(each, taken=None) for ask, each in zip(asks, verdicts, strict=True)}
        if len(self._denials) >= MOST:
            for known in tuple(self._denials)[: MOST // 16]:
                _ = self._denials.pop(known, None)
        for place in denied:
            ends = now + verdicts[place].retry_after
            self._denials[_known(asks[place])] = Denial(min(ends, now + LONGEST_S), ends, said)

    def clear(self) -> None:
        self._denials.clear()


def _known(ask: Ask) -> Known:
    return ask.key, ask.quota.amount, ask.quota.burst, ask.cost


def _later(verdict: Verdict, passed: float) -> Verdict:
    """The same, so many seconds later."""
    reset_after, retry_after = max(0.0, verdict.reset_after - passed), max(0.0, verdict.retry_after - passed)
    return msgspec.structs.replace(verdict, reset_after=reset_after, retry_after=retry_after)
