"""A private server of one contender, and what it knows: round trips, commands, bytes, keys that never end."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import redis

from redis_mw.engine.embedded import start_embedded


class Work(NamedTuple):
    """What a server was asked to do, per call of what was watched."""

    trips: float
    """Reads from sockets; a client that waits for each answer makes one per round trip."""
    commands: float
    """Commands, those that scripts call included."""


class Watch:
    """Looks at one server, over a connection of its own."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, decode_responses=True)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def version(self) -> str:
        told = self._client.info("server")
        return f"Valkey {told['valkey_version']}" if "valkey_version" in told else f"Redis {told['redis_version']}"

    def empty(self) -> None:
        self._client.flushall()

    def count(self) -> tuple[int, int]:
        """All socket reads and all commands so far."""
        told: dict[str, Any] = self._client.info("all")
        commands = sum(stat["calls"] for name, stat in told.items() if name.startswith("cmdstat_"))
        return int(told["total_reads_processed"]), commands

    def work(self, before: tuple[int, int], calls: int) -> Work:
        """What was done since ``before``, per call; the question itself (one read, one command) does not count."""
        reads, commands = self.count()
        return Work((reads - before[0] - 1) / calls, (commands - before[1] - 1) / calls)

    def bytes(self) -> int:
        """What all keys together take, by MEMORY USAGE with every element looked at."""
        return sum(self._client.memory_usage(key, samples=0) or 0 for key in self._client.scan_iter(count=1000))

    def endless(self) -> tuple[int, int]:
        """How many keys have no TTL, and how many there are."""
        ttls = [self._client.pttl(key) for key in self._client.scan_iter(count=1000)]
        return ttls.count(-1), len(ttls)


@contextmanager
def servers(number: int) -> Iterator[list[str]]:
    """The urls of so many private servers, on ports of 127.0.0.1 so that every client reaches them alike."""
    with ExitStack() as stack:
        urls: list[str] = []
        for _ in range(number):
            server = start_embedded(port=True)
            stack.callback(server.stop)
            urls.append(server.url)
        yield urls
