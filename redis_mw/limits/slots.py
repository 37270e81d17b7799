"""The slots of requests that are in flight in this process, and the one flow that renews their leases.

A slot is free again when its request ends, or, if the process died, when its lease is over. So that a response may
stream for as long as it likes, the leases of all of them are renewed together, a third of a lease apart.
"""

import threading
from collections.abc import Callable

from redis_mw.flows import Command, Failure, Flow, Wait, one
from redis_mw.limits.asks import Taken
from redis_mw.limits.quota import SLOT_US

EVERY_S = SLOT_US / 3e6
AT_ONCE = 512


class Slots:
    """Which slots are held. Thread-safe."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], Taken] = {}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._held)

    def hold(self, taken: Taken) -> None:
        with self._lock:
            self._held[taken.ask.key, taken.id] = taken

    def drop(self, taken: Taken) -> None:
        with self._lock:
            _ = self._held.pop((taken.ask.key, taken.id), None)

    def renewing(self, renew: Callable[[list[Taken]], Command[list[int]]]) -> Flow[None]:
        """Renew what is held, again and again; ends when nothing is. A slot that had run out is not taken again."""
        while self._held:
            _ = yield Wait((), EVERY_S)
            with self._lock:
                held = list(self._held.values())
            for start in range(0, len(held), AT_ONCE):
                some = held[start : start + AT_ONCE]
                renewed = yield from one(renew(some))
                if not isinstance(renewed, Failure):
                    for taken in (taken for taken, is_held in zip(some, renewed, strict=True) if not is_held):
                        self.drop(taken)
