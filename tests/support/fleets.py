"""What tests of a driver on a cluster share: commands of the cache, where keys are, a door where nobody answers."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha1
from itertools import count
from typing import Any

from by_hand import soon

from redis_mw.engine.aio import AsyncDriver
from redis_mw.events import Events
from redis_mw.flows import Argument, Command, Script, one
from redis_mw.settings import Settings


def driver_of(url: str, **options: object) -> AsyncDriver:
    """One whose cache is on a cluster; its default server is nowhere unless ``default`` names it."""
    urls = {"default": options.pop("default", "redis://127.0.0.1:1/0"), "cache": url}
    patient = {"warm_up": 10, "connect_within": 1}  # a busy machine that stands still for a moment is no outage
    return AsyncDriver(Settings.from_mapping({"url": urls, **patient, **options}), Events([], time.time))


def cached(*words: Argument, replica: bool = False, patience: float = 20.0, **rest: Any) -> Command[Any]:
    """A command of the cache with one key, its second word."""
    keys, us = (str(words[1]),), int(patience * 1_000_000)
    return Command(words, lambda reply: reply, keys, role="cache", patience_us=us, replica=replica, **rest)


def scripted(text: str, key: str) -> Command[Any]:
    script = Script("test", text, sha1(text.encode()).hexdigest())
    return Command((), lambda reply: reply, (key,), script=script, role="cache", patience_us=20_000_000)


def keys_on_each(cluster: Any, prefix: str) -> list[str]:
    """Three keys, each on another primary."""
    found: dict[Any, str] = {}
    for number in count():
        key = f"{prefix}:{number}"
        _ = found.setdefault(cluster.primary_of(key), key)
        if len(found) == 3:
            return list(found.values())
    raise AssertionError


def others(cluster: Any, key: str) -> list[Any]:
    """The primaries that do not have the key."""
    return [node for node in cluster.primaries() if node is not cluster.primary_of(key)]


def calls(node: Any, command: str) -> int:
    """How often a server was given a command."""
    return int(node.client().info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


def ours(node: Any) -> int:
    """How many connections of ours a server has."""
    return sum(client["name"] == "redis-mw" for client in node.client().client_list())


async def lasting(driver: AsyncDriver, command: Command[Any], wanted: Any) -> None:
    """Ask until it is answered rightly, and then it always is."""
    end = time.monotonic() + 30
    while await driver.run(one(command)) != wanted:
        assert time.monotonic() < end, "the errors last"
        await asyncio.sleep(0.02)
    for _ in range(20):
        assert await driver.run(one(command)) == wanted


class Door:
    """Takes connections and answers none of them; or ends each at once."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0

    @property
    def url(self) -> str:
        return f"cluster://127.0.0.1:{self.port}"


@asynccontextmanager
async def door(*, ends: bool = False) -> AsyncGenerator[Door]:
    made = Door()
    writers: list[asyncio.StreamWriter] = []

    def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.connections += 1
        writers.append(writer)
        if ends:
            writer.transport.abort()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


class Watching:
    """Puts down what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.on = False

    def begin(self) -> None:
        self.on = True
        self.told.append("begin")

    def changed(self, keys: Sequence[str] | None) -> None:
        self.told.append(keys)

    def end(self) -> None:
        self.on = False
        self.told.append("end")


async def changes_are_told(cluster: Any, watcher: Watching, keys: Sequence[str]) -> None:
    for key in keys:
        _ = cluster.primary_of(key).client().incr(key)
        await soon(lambda key=key: [key] in watcher.told, f"that {key} was changed is told")  # type: ignore[misc]
    watcher.told.clear()
