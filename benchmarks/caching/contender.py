"""What is measured: an application whose answers one library caches, and what makes these answers."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

TEXT = "A body that nobody would want to make twice. " * 20

Kind: TypeAlias = Literal["starlette", "fastapi", "wsgi"]


class Origin(Protocol):
    """Makes the body of an answer, and takes its time."""

    async def make(self) -> str: ...

    def make_in_thread(self) -> str: ...


App: TypeAlias = Callable[..., Any]
"""An ASGI application, or a WSGI one."""

Factory: TypeAlias = Callable[[str, Origin, int], App]
"""Of the url of a server, the origin and the seconds that an answer is fresh; it answers every path of one segment."""


class Drop(NamedTuple):
    """How all entries of one tag are dropped at once."""

    fill: Callable[[int], Awaitable[None]]
    """Stores so many entries that hang on the tag."""
    drop: Callable[[], Awaitable[object]]
    close: Callable[[], Awaitable[object]]


class Contender(NamedTuple):
    """One library in one of its ways. ``kind`` says which bare application its cached page is compared with."""

    name: str
    package: str
    kind: Kind
    app: Factory
    drop: Callable[[str], Drop] | None = None
    quick: bool = True
    """Whether it takes part in a quick run."""
