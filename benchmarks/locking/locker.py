"""What is measured: one client library taking locks on a server, in threads or in tasks."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

TTL_S = 30
WAIT_S = 30


class Locker(Protocol):
    """Takes locks by their names; one object for all threads."""

    def acquire(self, name: str) -> Callable[[], object]:
        """Wait for a lock; returns what gives it back."""
        ...

    def ping(self) -> object:
        """A PING through the same client."""
        ...

    def close(self) -> None: ...


class AsyncLocker(Protocol):
    """The same for tasks."""

    async def acquire(self, name: str) -> Callable[[], Awaitable[object]]: ...

    async def ping(self) -> object: ...

    async def aclose(self) -> None: ...


class Contender(NamedTuple):
    """One library, in the colours that it has."""

    name: str
    open: Callable[[str], Locker] | None
    open_async: Callable[[str], AsyncLocker] | None
