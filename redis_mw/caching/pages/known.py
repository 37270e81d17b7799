"""What this process has last heard of how URLs vary: a guess, which Redis sets right where it is wrong."""

import threading
from collections import OrderedDict

MOST = 4096


class Known:
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
