"""Processes whose cache lives on a cluster, values and pages alike, and replicas that are behind when they shall be."""

from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from by_hand import until
from colours import FOR_EVER, Colour
from fleets import calls, keys_on_each
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


def calm(cluster: Any) -> None:
    """Nobody takes the place of a server that does not answer, for longer than a test takes."""
    for node in cluster.nodes:
        _ = node.client().config_set("cluster-node-timeout", 60_000)


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

    def is_linked(self) -> bool:
        return bool(self.node.client().info("replication")["master_link_status"] == "up")


@contextmanager
def behind(cluster: Any) -> Generator[None]:
    """Replicas have all that their primaries have, and hear of nothing that comes later."""
    replicas = [Replica(cluster, key) for key in keys_on_each(cluster, "behind")]
    clients = [replica.node.client() for replica in replicas]
    try:
        for replica, client in zip(replicas, clients, strict=True):
            replica.catch_up()
            # Their primary knows no password, and lets nobody in who gives one.
            _ = client.config_set("masterauth", "wrong")
            _ = client.execute_command("CLIENT", "KILL", "TYPE", "master")
            until(lambda replica=replica: not replica.is_linked(), "it hears of nothing")  # type: ignore[misc]
        yield
    finally:
        for client in clients:
            _ = client.config_set("masterauth", "")
        for replica in replicas:
            until(replica.is_linked, "it hears again")
            replica.catch_up()
