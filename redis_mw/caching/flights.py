"""Flights: what is being made in this process now, so that whoever else wants it waits for it instead.

A flight belongs to whoever leads it; who comes later follows. One that takes too long is not waited for by all for
ever: another one starts beside it, up to a number, and late followers change to that.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

E = TypeVar("E")


class Flight(Generic[E]):
    """One making of a thing. ``ended`` is how those who follow know that it is over, in their own colour.

    ``made`` is what came of it; ``dropped`` says that it was of before an invalidation, so whoever asked after that
    must not have it. ``error`` is what its maker raised. Without either it was interrupted.
    """

    def __init__(self, name: str, tags: Iterable[str], number: int, ended: E) -> None:
        self.name = name
        self.tags = frozenset(tags)
        self.number = number
        self.ended = ended
        self.began: float | None = None
        """When it began to make it, by a monotonic clock; until then it waits for another process."""
        self.made: Any = None
        self.dropped = False
        self.error: Exception | None = None


class Flights(Generic[E]):
    """The latest flight for each name. Thread-safe."""

    def __init__(
        self, ended: Callable[[], E], late_s: float, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ended = ended
        self._late_s = late_s
        self._most = most
        self._clock = clock
        self._latest: dict[str, Flight[E]] = {}
        self._lock = threading.Lock()

    def latest(self, name: str) -> Flight[E] | None:
        return self._latest.get(name)

    def board(self, name: str, tags: Iterable[str], *, leads: bool) -> tuple[Flight[E], bool]:
        """The flight to follow, or a new one to lead (then True): where there is none, or who asks has the claim."""
        with self._lock:
            flight = self._latest.get(name)
            if flight is not None and not leads:
                return flight, False
            return self._start(name, tags, flight.number + 1 if flight is not None else 1), True

    def begin(self, flight: Flight[E]) -> None:
        """It makes the thing from now on."""
        flight.began = self._clock()

    def change(self, flight: Flight[E]) -> tuple[Flight[E], bool] | None:
        """Where to go from a flight that has not ended for a while; None: look again, for there is none any more."""
        with self._lock:
            latest = self._latest.get(flight.name)
            if latest is None:
                return None
            if latest is not flight or flight.number >= self._most:
                return latest, False
            if flight.began is None or self._clock() < flight.began + self._late_s:
                return flight, False
            return self._start(flight.name, flight.tags, flight.number + 1), True

    def end(self, flight: Flight[E]) -> None:
        """Nobody boards it any more."""
        with self._lock:
            if self._latest.get(flight.name) is flight:
                del self._latest[flight.name]

    def forget(self, names: Iterable[str] = (), tags: Iterable[str] = ()) -> None:
        """What these make is of before now: who comes later does not follow them.

        Nor does he follow who has not begun to make anything, but may find what hangs on tags that nobody knows yet.
        """
        with self._lock:
            for name in names:
                _ = self._latest.pop(name, None)
            if dropped := set(tags):
                self._latest = {
                    name: each
                    for name, each in self._latest.items()
                    if each.began is not None and dropped.isdisjoint(each.tags)
                }

    def _start(self, name: str, tags: Iterable[str], number: int) -> Flight[E]:
        flight = self._latest[name] = Flight(name, tags, number, self._ended())
        return flight
