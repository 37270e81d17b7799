"""Commands written by hand, and waiting for what another process does; for the tests of the engine."""

import asyncio
import time
from collections.abc import Callable
from hashlib import sha1
from typing import Any

from redis_mw.flows import Argument, Command, Role, Script


def command(
    *words: Argument, role: Role = "default", patience: float = 5.0, wakes: tuple[str, ...] = ()
) -> Command[Any]:
    return Command(words, lambda reply: reply, role=role, patience_us=int(patience * 1_000_000), wakes=wakes)


def scripted(text: str, *args: Argument, keys: tuple[str, ...] = ()) -> Command[Any]:
    return Command(args, lambda reply: reply, keys=keys, script=Script("test", text, sha1(text.encode()).hexdigest()))


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a server or another thread; the bound is only there to end a broken test."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


async def soon(condition: Callable[[], object], what: str) -> None:
    """The same on an event loop."""
    end = time.monotonic() + 20
    while not condition():  # what another process does has no event here
        assert time.monotonic() < end, what
        await asyncio.sleep(0.005)
