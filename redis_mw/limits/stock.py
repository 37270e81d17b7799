"""What this process has taken ahead of hot limits and not used yet: requests that find some ask nobody.

What was taken ahead counts in the window in which it was taken, so it is good only as long as that lasts: then no
window ever sees more than the limit. What is left over by then is given back with the next question.
"""

import threading
from typing import NamedTuple

import msgspec

from redis_mw.limits.asks import Answer, Ask, Taken
from redis_mw.limits.verdict import Verdict

MOST = 1024


class _Shelf(NamedTuple):
    units: int
    good_until: float
    verdict: Verdict
    taken: Taken


class Stock:
    """Units by key. Thread-safe; seconds of the process's clock."""

    def __init__(self) -> None:
        self._shelves: dict[str, _Shelf] = {}
        self._lock = threading.Lock()

    def take(self, ask: Ask, now: float, id: str) -> Verdict | None:
        """A verdict for the request ``id``, if it finds enough here."""
        with self._lock:
            shelf = self._shelves.get(ask.key)
            if shelf is None or now >= shelf.good_until or shelf.units < ask.cost:
                return None
            self._shelves[ask.key] = shelf._replace(units=shelf.units - ask.cost)
        taken = msgspec.structs.replace(shelf.taken, ask=ask, cost=ask.cost, id=id)
        return msgspec.structs.replace(shelf.verdict, taken=taken)

    def put_back(self, ask: Ask, verdict: Verdict) -> None:
        """The request did not pass after all. What is on the shelf by now may belong to another window."""
        with self._lock:
            shelf = self._shelves.get(ask.key)
            if shelf is not None and verdict.taken is not None and shelf.taken.mark == verdict.taken.mark:
                self._shelves[ask.key] = shelf._replace(units=shelf.units + ask.cost)

    def store(self, ask: Ask, answer: Answer, verdict: Verdict, taken: Taken, asked_at: float) -> None:
        """Keep what an answer brought beyond its own request's cost; it was asked for at ``asked_at``."""
        lasts_us = answer.reset_us - (16 * ask.quota.unit_us if ask.quota.kind == "s" else 0)
        with self._lock:
            shelf = self._shelves.get(ask.key)
            units = answer.taken - ask.cost
            if shelf is not None and shelf.taken.mark == taken.mark:
                units += shelf.units
            if len(self._shelves) >= MOST:
                self._shelves.clear()  # what was on them counts as used
            self._shelves[ask.key] = _Shelf(units, asked_at + lasts_us / 1e6, verdict, taken)

    def leftover(self, ask: Ask, now: float) -> tuple[Taken, int] | None:
        """What is not good any more, taken off the shelf, to be given back."""
        with self._lock:
            shelf = self._shelves.get(ask.key)
            if shelf is None or now < shelf.good_until:
                return None
            del self._shelves[ask.key]
            return (shelf.taken, shelf.units) if shelf.units else None
