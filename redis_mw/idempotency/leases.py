"""The claims of requests that run in this process, and the one flow that renews their leases.

A request may run for as long as it likes; if its process dies, its claim ends with the lease.
"""

import threading
from collections.abc import Callable

from redis_mw.flows import Command, Failure, Flow, Wait, send

AT_ONCE = 512


class Leases:
    """Which claims are held. Thread-safe. One is renewed ``most`` times at most, or a request that nobody ended (a
    bug) would keep its key for ever.
    """

    def __init__(self, every_us: int, most: int) -> None:
        self._every_s = every_us / 1e6
        self._most = most
        self._held: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._held)

    def hold(self, name: str, owner: str) -> None:
        with self._lock:
            self._held[name, owner] = 0

    def drop(self, name: str, owner: str) -> None:
        with self._lock:
            _ = self._held.pop((name, owner), None)

    def renewing(self, renew: Callable[[str, str], Command[bool]]) -> Flow[None]:
        """Renew what is held, again and again; ends when nothing is. A claim that another one has is let go."""
        while self._held:
            _ = yield Wait((), self._every_s)
            held = self._due()
            for start in range(0, len(held), AT_ONCE):
                some = held[start : start + AT_ONCE]
                renewed = yield from send(*[renew(name, owner) for name, owner in some])
                for (name, owner), is_ours in zip(some, renewed, strict=True):
                    if not isinstance(is_ours, Failure) and not is_ours:
                        self.drop(name, owner)

    def _due(self) -> list[tuple[str, str]]:
        with self._lock:
            self._held = {held: times + 1 for held, times in self._held.items() if times < self._most}
            return list(self._held)
