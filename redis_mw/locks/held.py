"""The leases that this process holds, and the flow that renews them: the watchdog.

Leases that are renewed equally often are renewed together, in one round trip. What nobody refers to any more is not
renewed: a lease that was forgotten ends by itself.
"""

import math
import threading
import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from redis_mw.flows import Command, Failure, Flow, Wait, send
from redis_mw.locks.ask import Ask
from redis_mw.locks.hold import Hold, Loss

AT_ONCE = 512
SHORTEST_S = 0.001

Renew: TypeAlias = Callable[[Ask, int], Command[bool]]
Lost: TypeAlias = Callable[[Hold, Loss], object]


class Held:
    """What is held, by how often it is renewed. Thread-safe. ``clock`` is monotonic and in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._paces: dict[float, dict[str, weakref.ref[Hold]]] = {}
        self._asleep: dict[float, float] = {}
        self._lock = threading.Lock()

    def add(self, hold: Hold) -> float | None:
        """Have it renewed. Returns the pace at which ``renewing`` is to be tended; None if it certainly is already."""
        pace = pace_of(hold.ttl_us)
        with self._lock:
            self._paces.setdefault(pace, {})[hold.ask.token] = weakref.ref(hold)
            return pace if self._clock() >= self._asleep.get(pace, 0.0) else None

    def drop(self, hold: Hold) -> None:
        """Have it renewed no more."""
        with self._lock:
            for holds in self._paces.values():
                _ = holds.pop(hold.ask.token, None)

    def renewing(self, pace: float, renew: Renew, lost: Lost) -> Flow[None]:
        """Renew the leases of this pace, again and again, until there are none. Tells ``lost`` of each it loses.

        It sleeps first: a lease may be given back before this has even begun, and the next one taken at once.
        """
        try:
            while True:
                _ = yield Wait((), self._sleep(pace))
                yield from self._renew(pace, renew, lost)
                if not self._goes_on(pace):
                    return
        finally:
            self._asleep[pace] = 0.0

    def _sleep(self, pace: float) -> float:
        """Seconds until there is something to do."""
        with self._lock:
            now = self._clock()
            ends = [hold.ends - now for hold in self._alive(pace)]
            pause = max(SHORTEST_S, min([pace, *ends]))
            self._asleep[pace] = now + pause
            return pause

    def _goes_on(self, pace: float) -> bool:
        """Whether anything is held; if not, whoever is added from now on needs another run."""
        with self._lock:
            if self._alive(pace):
                return True
            self._asleep[pace] = 0.0
            return False

    def _renew(self, pace: float, renew: Renew, lost: Lost) -> Flow[None]:
        with self._lock:
            holds, now = self._alive(pace), self._clock()
        due = [(hold, ttl_us) for hold in holds if (ttl_us := _lacks(hold, now, pace))]
        for start in range(0, len(due), AT_ONCE):
            some, began = due[start : start + AT_ONCE], self._clock()
            replies = yield from send(*[renew(hold.ask, ttl_us) for hold, ttl_us in some])
            for (hold, ttl_us), reply in zip(some, replies, strict=True):
                if reply is True:
                    hold.lasts(began + ttl_us / 1e6)
                elif not isinstance(reply, Failure):
                    self._lose(hold, "taken", lost)
        for hold in holds:
            if hold.over:
                self._lose(hold, "max_hold" if hold.ends >= hold.until else "silence", lost)

    def _lose(self, hold: Hold, why: Loss, lost: Lost) -> None:
        self.drop(hold)
        if hold.lose(why):
            _ = lost(hold, why)

    def _alive(self, pace: float) -> list[Hold]:
        alive = {token: hold for token, ref in self._paces.get(pace, {}).items() if (hold := ref()) is not None}
        self._paces[pace] = {token: weakref.ref(hold) for token, hold in alive.items()}
        return list(alive.values())


@lru_cache(256)
def pace_of(ttl_us: int) -> float:
    """Seconds from one renewal to the next: between a sixth and a third of the lease, one of few values for all."""
    return 2.0 ** math.floor(math.log2(ttl_us / 3e6))


def _lacks(hold: Hold, now: float, pace: float) -> int:
    """For how long it is to be renewed now, in us; 0: it is not, or not yet."""
    ttl_s = min(hold.ttl_us / 1e6, hold.until - now)
    gains = now + ttl_s - hold.ends
    return int(ttl_s * 1e6) if ttl_s > SHORTEST_S and gains > min(pace, ttl_s) / 4 else 0
