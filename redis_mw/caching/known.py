"""What this process has heard lately: guesses that save a trip or a wait, and which Redis sets right."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MOST = 4096


class Guesses:
    """Some texts for each name: those that were heard last, of so many names at most. Thread-safe."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> tuple[str, ...] | None:
        return self._texts.get(name)

    def note(self, name: str, texts: tuple[str, ...]) -> None:
        with self._lock:
            self._texts[name] = texts
            self._texts.move_to_end(name)
            if len(self._texts) > MOST:
                _ = self._texts.popitem(last=False)


class Lately:
    """The names that were noted less than ``for_s`` ago, so many at most. Thread-safe."""

    def __init__(self, for_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._for_s = for_s
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def knows(self, name: str) -> bool:
        until = self._until.get(name)
        return until is not None and self._clock() < until

    def note(self, name: str) -> None:
        with self._lock:
            self._until[name] = self._clock() + self._for_s
            self._until.move_to_end(name)
            if len(self._until) > MOST:
                _ = self._until.popitem(last=False)

    def forget(self, name: str) -> None:
        if name in self._until:
            with self._lock:
                _ = self._until.pop(name, None)
