"""A cached page beside the bare handler that renders it, both behind a real server, over 32 connections."""

import asyncio
import multiprocessing
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from statistics import median
from time import monotonic
from typing import Any, NamedTuple

import uvicorn

from benchmarks.caching.contender import Factory
from benchmarks.caching.product import Renderer
from benchmarks.caching.worker import quiet
from benchmarks.server import Watch

CONNECTIONS = 32
TTL_S = 600
START_WITHIN_S = 30
REQUEST = b"GET /page HTTP/1.1\r\nHost: shop.example\r\nAccept: text/html\r\n\r\n"


class Served(NamedTuple):
    """What is served through one application: requests a second, and the trips of one."""

    rate: float
    trips: float


def served(apps: Mapping[str, tuple[Factory, str]], rounds: int, seconds: float) -> dict[str, Served]:
    """Of each application with the url of its Redis, the median of rounds in which it is each one's turn."""
    with _servers(apps) as ports:
        rates: dict[str, list[float]] = {name: [] for name in apps}
        trips: dict[str, list[float]] = {name: [] for name in apps}
        for name in apps:
            _ = asyncio.run(_load(ports[name], seconds / 4))
        for turn in range(rounds):
            # Every other round goes the other way: whatever one of them leaves behind meets another one then.
            for name in list(apps)[:: 1 if turn % 2 else -1]:
                with Watch(apps[name][1]) as watch:
                    before = watch.count()
                    number = asyncio.run(_load(ports[name], seconds))
                    trips[name].append(watch.work(before, number).trips)
                rates[name].append(number / seconds)
    return {name: Served(median(rates[name]), median(trips[name])) for name in apps}


@contextmanager
def _servers(apps: Mapping[str, tuple[Factory, str]]) -> Iterator[dict[str, int]]:
    """A server process for each of them; yields their ports."""
    spawning = multiprocessing.get_context("spawn")
    running: dict[str, tuple[Any, Any]] = {}
    ports: dict[str, int] = {}
    try:
        for name, (app, url) in apps.items():
            ours, theirs = spawning.Pipe()
            process = spawning.Process(target=_serve, args=(theirs, app, url), daemon=True)
            process.start()
            running[name] = process, ours
        for name, (_, ours) in running.items():
            if not ours.poll(START_WITHIN_S):
                raise TimeoutError(name)
            ports[name] = ours.recv()
        yield ports
    finally:
        for process, _ in running.values():
            process.kill()
        for process, _ in running.values():
            process.join()


def _serve(pipe: "Connection[Any, Any]", app: Factory, url: str) -> None:
    quiet()
    door = socket.create_server(("127.0.0.1", 0), backlog=256)
    pipe.send(door.getsockname()[1])
    config = uvicorn.Config(app(url, Renderer(), TTL_S), log_level="critical", access_log=False)
    uvicorn.Server(config).run(sockets=[door])


async def _load(port: int, seconds: float) -> int:
    """How many responses came within so many seconds, over connections that each send the next request at once."""
    loop = asyncio.get_running_loop()
    ends = monotonic() + seconds
    lines = [await loop.create_connection(lambda: _Client(ends), "127.0.0.1", port) for _ in range(CONNECTIONS)]
    clients: Sequence[_Client] = [client for _, client in lines]
    for client in clients:
        client.ask()
    await asyncio.gather(*(client.over for client in clients))
    return sum(client.number for client in clients)


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, ends: float) -> None:
        self.number = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends = ends
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self) -> None:
        self._transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self._data += data
        length = _length(self._data)
        if length is None or len(self._data) < length:
            return
        if not self._data.startswith(b"HTTP/1.1 200 "):
            self._end(RuntimeError(self._data[:200]))
            return
        self._data = b""
        self.number += 1
        if monotonic() < self._ends:
            self.ask()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionResetError())

    def _end(self, error: Exception | None) -> None:
        if not self.over.done():
            if error is not None:
                self.over.set_exception(error)
            else:
                self.over.set_result(None)
        self._transport.close()


def _length(data: bytes) -> int | None:
    """How long the response is that begins so; None while that is not known."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return None
    field = data.lower().find(b"\r\ncontent-length:", 0, head + 2)
    if field < 0:
        raise RuntimeError("a response without Content-Length")
    return head + 4 + int(data[field + 17 : data.index(b"\r\n", field + 2)])
