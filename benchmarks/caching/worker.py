"""A process that asks one contender's application what it is told to ask, over a pipe."""

import asyncio
import multiprocessing
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any, NamedTuple

from benchmarks.caching.contender import TEXT, Contender
from benchmarks.caching.site import Site, site_of

WITHIN_S = 120.0
"""How long an answer of a worker may take."""
PAUSE_S = 0.01
"""What a client waits between an answer and its next request."""
LEAD_S = 0.1
"""How long before the beginning of what several workers do at once they are told of it."""


class Reply(NamedTuple):
    """What one request took, in seconds, and its status; 0 if the application has raised."""

    took: float
    status: int


class Sleeper:
    """An origin that takes its time, and knows when it was asked."""

    def __init__(self, takes: float) -> None:
        self.takes = takes
        self.calls: list[float] = []

    async def make(self) -> str:
        self.calls.append(monotonic())
        await asyncio.sleep(self.takes)
        return TEXT

    def make_in_thread(self) -> str:
        self.calls.append(monotonic())
        time.sleep(self.takes)
        return TEXT


class _Desk:
    """What a worker can be asked, by name."""

    def __init__(self, site: Site, origin: Sleeper) -> None:
        self._site = site
        self._origin = origin

    async def takes(self, seconds: float) -> None:
        """So long the origin takes from now on."""
        self._origin.takes = seconds

    async def calls(self) -> list[float]:
        """When the origin was asked since this was asked last."""
        calls, self._origin.calls = self._origin.calls, []
        return calls

    async def each(self, paths: Sequence[str]) -> list[Reply]:
        """One after the other."""
        return [await self._timed(path) for path in paths]

    async def crowd(self, path: str, number: int, at: float) -> list[Reply]:
        """So many at once, at that time."""
        await asyncio.sleep(at - monotonic())
        return list(await asyncio.gather(*(self._timed(path) for _ in range(number))))

    async def load(self, path: str, clients: int, seconds: float, at: float) -> list[Reply]:
        """So many clients, each again and again."""
        await asyncio.sleep(at - monotonic())
        ends = monotonic() + seconds

        async def client() -> list[Reply]:
            replies = []
            while monotonic() < ends:
                replies.append(await self._timed(path))
                await asyncio.sleep(PAUSE_S)
            return replies

        return [reply for mine in await asyncio.gather(*(client() for _ in range(clients))) for reply in mine]

    async def _timed(self, path: str) -> Reply:
        begin = monotonic()
        try:
            status = (await self._site.get(path)).status
        except Exception:
            status = 0
        return Reply(monotonic() - begin, status)


class Worker:
    """Such a process, from outside."""

    def __init__(self, row: Contender, url: str, takes: float, ttl: int) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawning.Pipe()
        # Without what else is known of the contender: whatever that is made of would be imported there.
        only = row._replace(drop=None)
        self.process = spawning.Process(target=_work, args=(theirs, only, url, takes, ttl), daemon=True)
        self.process.start()
        theirs.close()

    def tell(self, what: str, *given: Any) -> None:
        """Ask, and do not wait for the answer."""
        self._pipe.send((what, given))

    def hear(self, within: float = WITHIN_S) -> Any:
        """The next answer; ``TimeoutError`` if there is none in time."""
        if not self._pipe.poll(within):
            raise TimeoutError
        answer = self._pipe.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer[0]

    def ask(self, what: str, *given: Any) -> Any:
        self.tell(what, *given)
        return self.hear()

    def kill(self) -> None:
        self.process.kill()


@contextmanager
def working(wanted: Sequence[tuple[Contender, str]], takes: float, ttl: int) -> Iterator[list[Worker]]:
    """A worker for each contender and url, all of them ready."""
    workers = [Worker(row, url, takes, ttl) for row, url in wanted]
    try:
        for worker in workers:
            worker.hear()
        yield workers
    finally:
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.process.join()


def at_once(workers: Sequence[Worker], what: str, *given: Any) -> list[Any]:
    """The answers of all, who begin at the same time."""
    at = monotonic() + LEAD_S
    for worker in workers:
        worker.tell(what, *given, at)
    return [worker.hear() for worker in workers]


def quiet() -> None:
    """Outages are measured: what libraries log of them would fill the screen."""
    with open(os.devnull, "w") as nowhere:
        _ = os.dup2(nowhere.fileno(), 2)


def _work(pipe: "Connection[Any, Any]", row: Contender, url: str, takes: float, ttl: int) -> None:
    quiet()
    asyncio.run(_serve(pipe, row, url, takes, ttl))


async def _serve(pipe: "Connection[Any, Any]", row: Contender, url: str, takes: float, ttl: int) -> None:
    origin, loop = Sleeper(takes), asyncio.get_running_loop()
    async with site_of(row.app(url, origin, ttl), row.kind) as site:
        desk = _Desk(site, origin)
        pipe.send((None,))
        while True:
            try:
                what, given = await loop.run_in_executor(None, pipe.recv)
            except EOFError:
                return
            try:
                pipe.send((await getattr(desk, what)(*given),))
            except Exception:
                pipe.send(traceback.format_exc())
