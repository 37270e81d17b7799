"""How each algorithm counts one client, in plain Python: look, decide, add, say when, give back.

The scripts do the same in Redis; what is said of their fields in ``take.lua`` holds here. Times are microseconds.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from math import ceil
from typing import Any

import msgspec

from redis_mw.limits.asks import Answer, Ask, Taken
from redis_mw.limits.quota import RING, Quota


class Look(msgspec.Struct):
    """What was found before anything is decided. ``used`` are the units that count now."""

    passed: bool
    used: Any
    mark: int = 0
    banned: bool = False
    strikes: int = 0
    bans: int = 0


class Count:
    """One client of one limit. The kinds differ in how they look, add, and say when."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self._strikes = self._bans = self._banned = self._kept = 0

    def look(self, now: int, cost: int) -> Look:
        look = self._look(now, cost)
        if self.quota.strikes:
            if self._kept > now:
                look.strikes, look.bans = self._strikes, self._bans
            if self._banned > now:
                look.passed, look.banned = False, True
        return look

    def decide(self, look: Look, ask: Ask, now: int, id: str, all_pass: bool, take: bool) -> Answer:
        takes = all_pass and look.passed
        cost = ask.cost if take and (takes or "c" in ask.quota.flags) else 0
        if cost and not takes:
            cost = max(0, min(cost, self._most_charged(look, now)))
        if cost and takes and self.quota.ahead:
            cost = max(cost, min(self.quota.ahead, (self.quota.amount - look.used) // 2))
        self._add(look, cost, now, id)
        wait = 0 if look.passed else self._banned - now if look.banned else self._wait(look, ask.cost, cost, now)
        if self.quota.strikes and take:
            wait = self._strike(look, now, wait, all_pass)
        status = 1 if look.passed else 2 if look.banned else 0
        return Answer(status, max(0, self._left(look, cost, now)), self._reset(look, cost, now), wait, look.mark, cost)

    def _strike(self, look: Look, now: int, wait: int, all_pass: bool) -> int:
        if look.passed:
            self._strikes = 0 if all_pass else self._strikes
            return wait
        if look.banned:
            return wait
        after, ban, factor, cap = map(int, self.quota.strikes.split(":"))
        if look.strikes + 1 < after:
            self._strikes, self._bans, self._banned = look.strikes + 1, look.bans, 0
            self._kept = max(self._kept, now + ban)
            return wait
        wait = max(wait, min(ban * factor**look.bans, cap))
        self._strikes, self._bans, self._banned = 0, min(look.bans + 1, 64), now + wait
        self._kept = max(self._kept, now + 2 * wait)
        look.banned = True
        return wait

    def _look(self, now: int, cost: int) -> Look:
        raise NotImplementedError

    def _add(self, look: Look, cost: int, now: int, id: str) -> None:
        raise NotImplementedError

    def _wait(self, look: Look, cost: int, taken: int, now: int) -> int:
        raise NotImplementedError

    def _reset(self, look: Look, taken: int, now: int) -> int:
        raise NotImplementedError

    def _left(self, look: Look, taken: int, now: int) -> int:
        return int(self.quota.amount - look.used - taken)

    def _most_charged(self, look: Look, now: int) -> int:
        return int(2 * self.quota.amount - look.used)

    def settle(self, taken: Taken, add: int, now: int) -> bool:
        raise NotImplementedError


class Ring(Count):
    """Sliding: the sub-windows that count, each with its units."""

    def __init__(self, quota: Quota) -> None:
        super().__init__(quota)
        self._held: dict[int, int] = {}
        self._last: int | None = None

    def _look(self, now: int, cost: int) -> Look:
        slot = now // self.quota.unit_us
        if self._last is not None and 0 < self._last - slot < RING:
            slot = self._last
        used = sum(self._counting(slot).values())
        return Look(used + cost <= self.quota.amount, used, slot)

    def _counting(self, slot: int) -> dict[int, int]:
        """What is held, by sub-windows; nothing counts if the clock was set far back since."""
        if self._last is None or self._last > slot:
            return {}
        return {n: units for n, units in self._held.items() if n > slot - RING}

    def _add(self, look: Look, cost: int, now: int, id: str) -> None:
        if cost:
            self._held = self._counting(look.mark)
            self._held[look.mark] = self._held.get(look.mark, 0) + cost
            self._last = look.mark

    def _wait(self, look: Look, cost: int, taken: int, now: int) -> int:
        excess = look.used + cost - self.quota.amount
        if not taken:
            for n, units in sorted(self._counting(look.mark).items()):
                excess -= units
                if excess <= 0:
                    return (n + RING) * self.quota.unit_us - now
        return self._reset(look, taken, now)

    def _reset(self, look: Look, taken: int, now: int) -> int:
        if not look.used and not taken:
            return 0
        assert self._last is not None
        return (self._last + RING) * self.quota.unit_us - now

    def settle(self, taken: Taken, add: int, now: int) -> bool:
        if self._last is None or not 0 <= self._last - taken.mark < RING:
            return False
        if now // self.quota.unit_us - taken.mark >= RING:
            return False
        self._held[taken.mark] = max(0, self._held.get(taken.mark, 0) + add)
        return True


class Arrival(Count):
    """GCRA: the moment at which all that was taken would have arrived if it had kept to the rate, and the one since
    which something always was to arrive.
    """

    def __init__(self, quota: Quota) -> None:
        super().__init__(quota)
        self._full = self._busy = 0

    @property
    def _span(self) -> int:
        return self.quota.burst * self.quota.unit_us

    def _look(self, now: int, cost: int) -> Look:
        full = max(self._full, now)
        return Look(full + cost * self.quota.unit_us - now <= self._span, full, now)

    def _add(self, look: Look, cost: int, now: int, id: str) -> None:
        if cost:
            self._busy = self._busy if self._full > now else now
            self._full = look.used + cost * self.quota.unit_us

    def _wait(self, look: Look, cost: int, taken: int, now: int) -> int:
        unit = self.quota.unit_us
        return int(min(look.used + (taken + cost) * unit - self._span, look.used + taken * unit) - now)

    def _reset(self, look: Look, taken: int, now: int) -> int:
        return int(look.used + taken * self.quota.unit_us - now)

    def _left(self, look: Look, taken: int, now: int) -> int:
        return int((self._span - self._reset(look, taken, now)) // self.quota.unit_us)

    def _most_charged(self, look: Look, now: int) -> int:
        return int((2 * self._span - (look.used - now)) // self.quota.unit_us)

    def settle(self, taken: Taken, add: int, now: int) -> bool:
        if add < 0:
            if self._full <= now or self._busy > taken.mark or (taken.id and now >= taken.mark + taken.lives_us):
                return False
        elif self._full <= now:
            self._busy = self._full = now
        self._full = max(now, self._full + add * self.quota.unit_us)
        return True


class Window(Count):
    """Fixed: a window of the calendar and what was counted in it."""

    def __init__(self, quota: Quota) -> None:
        super().__init__(quota)
        self._window: int | None = None
        self._count = 0

    def _look(self, now: int, cost: int) -> Look:
        window, used = window_of(self.quota, now), 0
        if self._window is not None and 0 <= self._window - window < 2:
            window, used = self._window, self._count
        return Look(used + cost <= self.quota.amount, used, window)

    def _add(self, look: Look, cost: int, now: int, id: str) -> None:
        if cost:
            self._window, self._count = look.mark, look.used + cost

    def _wait(self, look: Look, cost: int, taken: int, now: int) -> int:
        return window_begins(self.quota, look.mark + 1) - now

    def _reset(self, look: Look, taken: int, now: int) -> int:
        return window_begins(self.quota, look.mark + 1) - now if look.used or taken else 0

    def settle(self, taken: Taken, add: int, now: int) -> bool:
        if self._window != taken.mark:
            return False
        self._count = max(0, self._count + add)
        return True


class Places(Count):
    """Concurrency: who is in flight, and until when if he is not heard of any more."""

    def __init__(self, quota: Quota) -> None:
        super().__init__(quota)
        self._ends: dict[str, int] = {}

    def _look(self, now: int, cost: int) -> Look:
        used = sum(ends > now for ends in self._ends.values())
        return Look(used + cost <= self.quota.amount, used)

    def _add(self, look: Look, cost: int, now: int, id: str) -> None:
        if cost:
            self._ends = {each: ends for each, ends in self._ends.items() if ends > now}
            self._ends[id] = now + self.quota.unit_us

    def _wait(self, look: Look, cost: int, taken: int, now: int) -> int:
        return 1_000_000

    def _reset(self, look: Look, taken: int, now: int) -> int:
        return 0

    def renew(self, id: str, now: int) -> bool:
        if self._ends.get(id, 0) <= now:
            return False
        self._ends[id] = now + self.quota.unit_us
        return True

    def settle(self, taken: Taken, add: int, now: int) -> bool:
        return self._ends.pop(taken.id, None) is not None


KINDS: dict[str, Callable[[Quota], Count]] = {"s": Ring, "g": Arrival, "f": Window, "c": Places}


def window_of(quota: Quota, now: int) -> int:
    """The number of the calendar's window that ``now`` is in."""
    if quota.unit_us > 0:
        return (now + quota.offset_us) // quota.unit_us
    at = datetime.fromtimestamp(now // 1_000_000, UTC)
    return ((at.year - 1970) * 12 + at.month - 1) // -quota.unit_us


def window_begins(quota: Quota, window: int) -> int:
    """When a window of the calendar begins, in microseconds."""
    if quota.unit_us > 0:
        return window * quota.unit_us - quota.offset_us
    year, month = divmod(window * -quota.unit_us, 12)
    return ceil(datetime(1970 + year, month + 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
