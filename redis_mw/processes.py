"""What belongs to one process: a forked child has nothing of what its parent remembers or holds, nor its ids."""

import itertools
import os
import secrets as randomness
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """One of something for each process, made once for all of its threads: in a child when it is first asked for."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made = {os.getpid(): make()}

    def here(self) -> T:
        """That of this process."""
        pid = os.getpid()
        made = self._made.get(pid)
        if made is None:
            # Threads may find out at once. No lock: one of the parent's might hold it for ever. (setdefault is atomic.)
            made = self._made.setdefault(pid, self._make())
            for parent in [other for other in list(self._made) if other != pid]:
                _ = self._made.pop(parent, None)
        return made


class Ids:
    """Ids that nobody else has, here or elsewhere, as long as each process draws from its own; they are no secret."""

    def __init__(self, size: int = 8) -> None:
        self._own = randomness.token_hex(size)
        self._numbers = itertools.count()

    def new(self) -> str:
        """Another one."""
        return f"{self._own}{next(self._numbers):x}"
