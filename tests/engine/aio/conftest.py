"""What the tests of the async driver share: both event loops, a server of their own, a link that can be disturbed."""

import asyncio
import gc
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from redis_mw.engine.embedded import EmbeddedServer, start_embedded

Main = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Runs a test's main coroutine on a fresh loop; fails if it leaves a task or an open connection behind."""

    def run(main: Main) -> None:
        async def checked() -> None:
            await main()
            for _ in range(3):
                await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks were left behind: {left}"

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(checked())
        gc.collect()

    return run


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A private server on a port, for one module."""
    running = start_embedded(port=True)
    yield running
    running.stop()


class Link:
    """A slow line to a server: bytes arrive ``delay`` seconds late, in order; connections may be held or reset."""

    def __init__(self, port: int, delay: float) -> None:
        self.port = 0
        self.connections: list[_Connection] = []
        self._to = port
        self._delay = delay

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer)
        self.connections.append(connection)
        await connection.carry(self._to, self._delay)

    def reset(self) -> None:
        """Cut every connection as a crashed peer does."""
        for connection in self.connections:
            link = connection.writer.get_extra_info("socket")
            if link is not None and not connection.writer.is_closing():
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.writer.transport.abort()


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.flows = asyncio.Event()
        self.flows.set()

    def hold(self) -> None:
        """No reply passes until ``release``."""
        self.flows.clear()

    def release(self) -> None:
        self.flows.set()

    async def carry(self, port: int, delay: float) -> None:
        free = asyncio.Event()
        free.set()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.TaskGroup() as group:
                for source, target, gate in ((self.reader, writer, free), (reader, self.writer, self.flows)):
                    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
                    group.create_task(_read(source, queue, delay))
                    group.create_task(_write(target, queue, gate))
        except* ConnectionError:
            pass
        finally:
            writer.transport.abort()
            self.writer.transport.abort()


async def _read(source: asyncio.StreamReader, queue: "asyncio.Queue[tuple[float, bytes]]", delay: float) -> None:
    while data := await source.read(65536):
        queue.put_nowait((asyncio.get_running_loop().time() + delay, data))
    raise ConnectionError("one side is gone")


async def _write(
    target: asyncio.StreamWriter, queue: "asyncio.Queue[tuple[float, bytes]]", gate: asyncio.Event
) -> None:
    while True:
        due, data = await queue.get()
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        await gate.wait()
        if target.is_closing():
            raise ConnectionError("one side is gone")
        target.write(data)


@pytest.fixture
def link(server: EmbeddedServer) -> Callable[..., Any]:
    """``async with link(delay=0.03) as line`` opens a line to the server."""

    @asynccontextmanager
    async def opened(delay: float = 0.0) -> AsyncIterator[Link]:
        line = Link(int(server.url.rpartition(":")[2].partition("/")[0]), delay)
        carriers: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            carriers.add(asyncio.get_running_loop().create_task(line.accept(reader, writer)))

        listening = await asyncio.start_server(accept, "127.0.0.1", 0)
        line.port = listening.sockets[0].getsockname()[1]
        try:
            yield line
        finally:
            listening.close()
            for carrier in carriers:
                carrier.cancel()
            await asyncio.gather(*carriers, return_exceptions=True)
            for connection in line.connections:
                connection.writer.transport.abort()
            await asyncio.sleep(0)

    return opened
