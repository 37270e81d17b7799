"""The limits counted in this process: what the scripts do, in plain Python, on a dict.

It stands in while Redis is away, and it is the model that property tests hold the scripts against, so the two change
together. Bounded: beyond ``MOST`` clients the ones seen longest ago are forgotten.
"""

import threading
from collections.abc import Sequence

from redis_mw.limits.asks import Answer, Ask, Taken
from redis_mw.limits.counts import KINDS, Count, Places

MOST = 65536


class Ledger:
    """The numbers of all clients. Thread-safe; times are microseconds of whatever clock the caller has."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._entries: dict[str, Count] = {}
        self._settled: dict[tuple[str, str], None] = {}
        self._lock = threading.Lock()

    def take(self, asks: Sequence[Ask], now: int, id: str = "", *, peek: bool = False) -> list[Answer]:
        """Decide all, then take from all of them or from none; with ``peek`` nothing changes."""
        with self._lock:
            entries = [self._entry(ask) for ask in asks]
            seen = [entry.look(now, ask.cost) for entry, ask in zip(entries, asks, strict=True)]
            all_pass = all(look.passed or "s" in ask.quota.flags for look, ask in zip(seen, asks, strict=True))
            return [
                entry.decide(look, ask, now, id, all_pass, not peek)
                for entry, look, ask in zip(entries, seen, asks, strict=True)
            ]

    def settle(self, taken: Taken, add: int, now: int) -> bool:
        """Add units (below 0: give back) to what was taken, once for each id; False if that is over, or was done."""
        key = taken.ask.key
        with self._lock:
            if taken.id and not taken.is_slot:
                if (key, taken.id) in self._settled:
                    return False
                if len(self._settled) >= self._most:
                    del self._settled[next(iter(self._settled))]
                self._settled[key, taken.id] = None
            if add == 0 and not taken.is_slot:
                return True
            if taken.ask.quota.kind == "g" and add > 0:
                return self._entry(taken.ask).settle(taken, add, now)
            entry = self._entries.get(key)
            return entry.settle(taken, add, now) if entry is not None else False

    def renew(self, key: str, id: str, now: int) -> bool:
        """Keep a slot for another lease; False if it had run out."""
        with self._lock:
            entry = self._entries.get(key)
            return isinstance(entry, Places) and entry.renew(id, now)

    def forget(self, key: str) -> None:
        """Begin anew with one client of one limit."""
        with self._lock:
            _ = self._entries.pop(key, None)

    def _entry(self, ask: Ask) -> Count:
        entry = self._entries.pop(ask.key, None)
        if entry is None:
            entry = KINDS[ask.quota.kind](ask.quota)
            while len(self._entries) >= self._most:
                del self._entries[next(iter(self._entries))]
        entry.quota = ask.quota  # its numbers may have changed since
        self._entries[ask.key] = entry
        return entry
