"""What belongs to one process: a forked child has nothing of what its parent remembers or holds, nor its ids."""

import itertools
import os
import secrets as randomness
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

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


class once(Generic[T]):  # it reads as functools.cached_property does
    """A property that is made when it is first asked for, and is one and the same for all threads who ask at once.

    ``functools.cached_property`` is not: since Python 3.12 each of them may get another one. What is made too much is
    forgotten, so making it must do nothing else.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    if TYPE_CHECKING:  # it may be given, too; a method of that name would be asked each time

        def __set__(self, thing: object, given: T) -> None: ...

    @overload
    def __get__(self, thing: None, owner: type) -> "once[T]": ...
    @overload
    def __get__(self, thing: object, owner: type) -> T: ...
    def __get__(self, thing: Any, owner: type) -> "T | once[T]":
        if thing is None:
            return self
        made: T = vars(thing).setdefault(self._name, self._make(thing))  # atomic; and found there from now on
        return made


class Ids:
    """Ids that nobody else has, here or elsewhere, as long as each process draws from its own; they are no secret."""

    def __init__(self, size: int = 8) -> None:
        self._own = randomness.token_hex(size)
        self._numbers = itertools.count()

    def new(self) -> str:
        """Another one."""
        return f"{self._own}{next(self._numbers):x}"
