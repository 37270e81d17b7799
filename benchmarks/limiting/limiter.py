"""What is measured: one client library holding one or several limits against a server."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Quota:
    """So many requests in so many seconds. Whole seconds, because most peers know no others."""

    count: int
    period: int


class Limiter(Protocol):
    """All quotas it was opened with, asked for one key at a time."""

    degraded: int
    """Verdicts that were not the server's."""

    def hit(self, key: str) -> bool:
        """Take one unit of every quota; whether all of them had one."""
        ...

    def ping(self) -> object:
        """A PING through the same client."""
        ...

    def close(self) -> None: ...


class AsyncLimiter(Protocol):
    degraded: int

    async def hit(self, key: str) -> bool: ...

    async def incr(self, key: str) -> object:
        """An INCR through the same client."""
        ...

    async def aclose(self) -> None: ...


class Contender(NamedTuple):
    """One row of the tables: a library with one of its algorithms."""

    name: str
    open: Callable[[str, Sequence[Quota]], Limiter]
    """From the server's url and the quotas."""
    open_async: Callable[[str, Sequence[Quota]], AsyncLimiter]
    """The same, on the loop that runs."""
    ours: bool = False
    burst_of: float = 1.0
    """The part of a limit that it lets through at once."""
    bounded: bool = False
    """Whether it promises never to exceed its limit in any window of one period."""
    note: str = ""
    """What a reader of its figures should know."""

    def at_once(self, count: int) -> int:
        return max(1, int(count * self.burst_of))

    @property
    def lasting(self) -> float:
        """The part of a limit that a bounded one with a burst grants in the long run: ``b + rate * T <= N``."""
        return 1.0 if self.burst_of == 1.0 else 1.0 - self.burst_of
