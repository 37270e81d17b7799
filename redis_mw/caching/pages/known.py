"""What this process has last heard of URLs: guesses that save a trip or a wait, and which Redis sets right."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MOST = 4096


class Varying:
    """The names of the fields that URLs vary by, of so many at most. Thread-safe."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> tuple[str, ...] | None:
        return self._names.get(name)

    def note(self, name: str, names: tuple[str, ...]) -> None:
        with self._lock:
            self._names[name] = names
            self._names.move_to_end(name)
            if len(self._names) > MOST:
                _ = self._names.popitem(last=False)


class Useless:
    """Pages whose responses could not be stored a while ago, so that nobody waits for another's. Thread-safe."""

    def __init__(self, for_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._for_s = for_s
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def knows(self, page: str) -> bool:
        until = self._until.get(page)
        return until is not None and self._clock() < until

    def note(self, page: str) -> None:
        with self._lock:
            self._until[page] = self._clock() + self._for_s
            self._until.move_to_end(page)
            if len(self._until) > MOST:
                _ = self._until.popitem(last=False)

    def forget(self, page: str) -> None:
        if page in self._until:
            with self._lock:
                _ = self._until.pop(page, None)
