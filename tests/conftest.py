"""What every room's tests may ask for: how long property tests look, a server to maltreat, a line that can fail."""

import asyncio
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import hypothesis
import pytest
from clusters import CALM_MS, Cluster

from redis_mw.engine.embedded import EmbeddedServer, start_embedded

T = TypeVar("T")

pytest_plugins = ["pytester"]

# A machine that does other work at the same time says nothing about what is tested: no deadlines, no complaints.
RELAXED: dict[str, Any] = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
# Where CI decides on a change, it looks at the same examples each time; new ones are for who runs the suite by hand.
RELAXED["derandomize"] = bool(os.environ.get("CI"))
hypothesis.settings.register_profile("quick", max_examples=100, **RELAXED)
hypothesis.settings.register_profile("long", max_examples=2000, print_blob=True, **RELAXED)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


class Server:
    """A Valkey that only one test knows, on a port that it keeps when it is started again."""

    def __init__(self) -> None:
        self._running: EmbeddedServer | None = start_embedded(port=True)
        self.pid = self._running.pid
        self.url = self._running.url
        self.port = urlsplit(self.url).port or 0

    def freeze(self) -> None:
        """Accepts connections, answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Gone, with all it held; connecting is refused."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def start(self) -> None:
        self._running = start_embedded(port=self.port)
        self.pid = self._running.pid


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of the test's own that it may freeze, kill and start again."""
    made = Server()
    yield made
    made.kill()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster that all tests share: whoever breaks nothing and has a prefix of its own."""
    made = Cluster(CALM_MS)
    yield made
    made.close()


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A cluster of the test's own, in which servers may freeze, die and take each other's place."""
    made = Cluster()
    yield made
    made.close()


class Proxy:
    """A line to a server: bytes arrive ``delay`` seconds late, in order, in both directions. It runs in a thread."""

    def __init__(self, url: str, delay: float) -> None:
        self.connections = 0
        """How many were accepted so far."""
        self._target = urlsplit(url)
        self._delay = delay
        self._frozen = False
        self._cut = False
        self._held: list[tuple[asyncio.StreamWriter, bytes]] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._door = self._do(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._door.sockets[0].getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def freeze(self) -> None:
        """Nothing passes any more; connections stay open and new ones are accepted."""
        self._do(self._set_frozen(True))

    def thaw(self) -> None:
        """What was held back passes, and what comes later."""
        self._do(self._set_frozen(False))

    def reset(self) -> None:
        """End every open connection as a crashed peer does; new ones are welcome."""
        self._do(self._reset())

    def cut(self) -> None:
        """End every connection, and every new one as soon as it is accepted."""
        self._cut = True
        self.reset()

    def mend(self) -> None:
        self._cut = False

    def close(self) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        if self._cut:
            _abort(writer)
            return
        try:
            if self._target.scheme == "unix":
                far_reader, far_writer = await asyncio.open_unix_connection(unquote(self._target.path))
            else:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target.port)
        except OSError:
            _abort(writer)
            return
        self._open.add(far_writer)
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                self._loop.call_later(self._delay, self._pass_on, target, data)
        except OSError:
            pass
        self._loop.call_later(self._delay, self._pass_on, target, b"")

    def _pass_on(self, target: asyncio.StreamWriter, data: bytes) -> None:
        if self._frozen:
            self._held.append((target, data))
        elif not data:
            target.close()
            self._open.discard(target)
        elif not target.is_closing():
            target.write(data)

    async def _set_frozen(self, frozen: bool) -> None:
        self._frozen = frozen
        if not frozen:
            held, self._held = self._held, []
            for target, data in held:
                self._pass_on(target, data)

    async def _reset(self) -> None:
        for writer in tuple(self._open):
            _abort(writer)
        self._open.clear()

    async def _close(self) -> None:
        self._door.close()
        await self._reset()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)


def _abort(writer: asyncio.StreamWriter) -> None:
    link = writer.get_extra_info("socket")
    if not writer.is_closing() and link is not None and link.family != socket.AF_UNIX:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.fixture
def delaying_proxy() -> Iterator[Callable[..., Proxy]]:
    """Makes lines to a server, ``delaying_proxy(url, delay=0.03)``, and takes them down when the test is over."""
    made: list[Proxy] = []

    def make(url: str, delay: float = 0.0) -> Proxy:
        made.append(Proxy(url, delay))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()
