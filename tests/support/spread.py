"""Processes whose cache lives on a cluster, values and pages alike, and replicas of which it is known what they have."""

from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from by_hand import until
from colours import FOR_EVER, Colour
from fleets import calls
from visiting import COLOURS, Origin, Process

from redis_mw import AsyncRedisMW, Cache, Settings, replace
from redis_mw.caching.tags import name_of
from redis_mw.faces.attending import attend_pages
from redis_mw.testing import count_round_trips


class Spread(Process):
    """What one process has of values and of a cached route. It hears what is changed, if it keeps pages in memory."""

    def start_value(self, method: str, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Something that is asked of ``mw.cache``, in the background."""
        return self.colour.begin(getattr(self.colour.mw.cache, method), *args, **kwargs)

    def value(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self.start_value(method, *args, **kwargs).result(FOR_EVER)

    def key(self, name: str, copy: int = 0) -> str:
        """Where a value is."""
        return self.room.commands.key(name_of(name), copy)

    def page(self, *args: Any, **kwargs: Any) -> str:
        """Where the page of a request is."""
        return self.room.pages.key(self.name(*args, **kwargs))

    def tag(self, name: str) -> str:
        """Where a tag is."""
        return self.room.commands.tags.key(name_of(name))

    def listens(self) -> None:
        """Until what is changed is heard."""
        self.attend()
        until(lambda: self.room.memory.local.on, "it listens")

    def attend(self) -> None:
        driver = self.colour.mw.driver
        if isinstance(self.colour.mw, AsyncRedisMW):

            async def attending() -> None:
                attend_pages(driver, self.room)

            self.colour.do(attending)
        else:
            attend_pages(driver, self.room)


@contextmanager
def processes(colour: str, settings: Settings) -> Generator[Callable[..., Spread]]:
    """Makes processes of one colour: ``make(origin, l1_bytes=...)``; without it nothing is kept in memory."""
    made: list[Spread] = []

    def make(origin: Origin | None = None, *, l1_bytes: int = 0, patience: float | None = None, **cache: Any) -> Spread:
        mine = replace(settings, cache=Cache(l1_bytes=l1_bytes, jitter=0, **cache))
        face: Colour = COLOURS[colour](mine if patience is None else replace(mine, patience=patience))
        made.append(Spread(face, origin or Origin()))
        return made[-1]

    try:
        yield make
    finally:
        for process in made:
            process.close()


def trips(work: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[int, Any]:
    """How many round trips it takes, and what it gives."""
    with count_round_trips() as counted:
        given = work(*args, **kwargs)
    return counted.awaited, given


class Replica:
    """The replica of a key's primary."""

    def __init__(self, cluster: Any, key: str) -> None:
        self.node = cluster.replica_of(key)
        self._primary = cluster.primary_of(key)

    def catch_up(self) -> None:
        """Until it has all that its primary has now."""
        offset = self._primary.client().info("replication")["master_repl_offset"]
        until(lambda: self.node.client().info("replication")["slave_repl_offset"] >= offset, f"{self.node} has it all")

    def reads(self) -> int:
        """How many entries were read from it."""
        return calls(self.node, "get") + calls(self.node, "hmget")

    @contextmanager
    def severed(self) -> Generator[None]:
        """It has all that its primary has, and hears of nothing that comes later."""
        self.catch_up()
        client = self.node.client()
        _ = client.config_set("primaryauth" if _is_new(client) else "masterauth", "wrong")
        try:
            _ = client.execute_command("CLIENT", "KILL", "TYPE", "master")
            until(lambda: client.info("replication")["master_link_status"] == "down", f"{self.node} is severed")
            yield
        finally:
            _ = client.config_set("masterauth", "")
            until(lambda: client.info("replication")["master_link_status"] == "up", f"{self.node} is back")
            self.catch_up()


def _is_new(client: Any) -> bool:
    return False
