"""What this process itself holds of the cache (L1): values that need no round trip, right for as long as it hears.

Redis says which keys were changed (server-assisted invalidation); whoever listens to that tells a ``Local``. Between
the moment at which a value is read from Redis and the one at which it is put down here its keys may have been changed,
and the word of that may have come already. Hence marks: a value is kept only if nothing was heard of its keys since
the mark that was made before the read began.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar, cast

T = TypeVar("T")

OVERHEAD = 256
"""Bytes that holding a value costs beside its size."""
OVERHEAD_OF_KEY = 352
"""Bytes that each key costs on which a value depends and no other does: its name, and who depends on it. (Measured.)"""
REMEMBERED = 4096
"""So many changed keys are known one by one; a read that began before the oldest of them is not kept."""


class _Held(NamedTuple):
    value: object
    depends: tuple[str, ...]
    until: float
    charge: int


class Local(Generic[T]):
    """What this process holds of what is in Redis, bounded in bytes, aged, right by invalidation. Thread-safe.

    ``get`` gives nothing that was read before a change of which this has been told, nothing older than ``age_s``, and
    nothing at all unless somebody listens (``on``) and tells it by ``begin``, ``changed`` and ``end``. More than one
    may, if each hears everything: it is on if the last word of that kind was ``begin``. With ``most_bytes`` 0 nothing
    is held. It belongs to one process: a forked child must not read its parent's.
    """

    def __init__(self, most_bytes: int, age_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_bytes = most_bytes
        self._age_s = age_s
        self._clock = clock
        self._lock = threading.Lock()
        self._on = False
        self._bytes = 0
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._dependents: dict[str, set[str]] = {}
        self._changes = 0
        """Counts what was heard; a mark is its value at some time."""
        self._changed: dict[str, int] = {}
        """The latest change of each key, oldest first."""
        self._forgotten = 0
        """Of changes up to this one it is not known any more which keys they were of."""

    @property
    def on(self) -> bool:
        """Whether it may be read: the listener is alive."""
        return self._on

    def mark(self) -> int:
        """Now; to be taken before a read from Redis begins, and given to ``keep`` with what was read."""
        return self._changes

    def keep(self, mark: int, key: str, value: T, size: int, depends: tuple[str, ...]) -> bool:
        """Hold the value, of ``size`` bytes, until one of the Redis keys in ``depends`` is changed; False: it is not.

        That is so if one of them was changed since the mark, or might have been: nobody listens, or did all the time;
        or if the value alone is too large. What was least recently used gives way to it.
        """
        charge = OVERHEAD + len(key) + size + sum(OVERHEAD_OF_KEY + len(name) for name in depends)
        with self._lock:
            if not self._on or mark < self._forgotten or charge > self._most_bytes:
                return False
            for name in depends:
                if self._changed.get(name, 0) > mark:
                    return False
            self._drop(key)
            # A signal handler may raise between any two steps. In this order that costs some exactness of the sum of
            # bytes, but nothing is ever held that a change would not find.
            self._bytes += charge
            for name in depends:
                self._dependents.setdefault(name, set()).add(key)
            self._held[key] = _Held(value, depends, self._clock() + self._age_s, charge)
            while self._bytes > self._most_bytes and self._held:
                self._drop(next(iter(self._held)))
            return True

    def get(self, key: str) -> T | None:
        """The value, if it may be read and was kept less than ``age_s`` ago."""
        with self._lock:
            held = self._held.get(key)
            if held is None or not self._on or self._clock() >= held.until:
                return None
            self._held.move_to_end(key)
            return cast(T, held.value)

    def last(self, key: str) -> T | None:
        """What was held last, whatever has happened to it since unnoticed; for outages of Redis, better than nothing.

        Not what is known to have changed. All of it is gone when somebody listens again.
        """
        with self._lock:
            held = self._held.get(key)
            return None if held is None else cast(T, held.value)

    def forget(self, key: str) -> None:
        """Hold this value no longer."""
        with self._lock:
            self._drop(key)

    def changed(self, keys: Sequence[str] | None) -> None:
        """These keys of Redis were changed: what depends on them is not held any more. None: everything was."""
        with self._lock:
            self._changes += 1
            if keys is None:
                self._empty()
                return
            for name in keys:
                # The change is noted first: who keeps a value of before after this has ended finds it.
                _ = self._changed.pop(name, None)
                self._changed[name] = self._changes
                for key in tuple(self._dependents.get(name, ())):
                    self._drop(key)
            while len(self._changed) > REMEMBERED:
                oldest = next(iter(self._changed))
                self._forgotten = self._changed.pop(oldest)

    def begin(self) -> None:
        """Every change is heard from now on: nothing of before is held, and it may be read."""
        with self._lock:
            self._changes += 1
            self._empty()
            self._on = self._most_bytes > 0

    def end(self) -> None:
        """A change may not be heard from now on: it may not be read."""
        self._on = False

    def _empty(self) -> None:
        """Hold nothing, and keep nothing of which the read has begun already."""
        self._forgotten = self._changes
        self._held.clear()
        self._dependents.clear()
        self._changed.clear()
        self._bytes = 0

    def _drop(self, key: str) -> None:
        held = self._held.pop(key, None)
        if held is None:
            return
        for name in held.depends:
            dependents = self._dependents.get(name)
            if dependents is not None:
                dependents.discard(key)
                if not dependents:
                    del self._dependents[name]
        self._bytes -= held.charge
