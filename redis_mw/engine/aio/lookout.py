"""Who asks a cluster for its chart, and when: one attempt at a time, off to the side, and never in a hurry."""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from time import monotonic

from redis_mw.engine.aio.lane import opened
from redis_mw.engine.aio.wire import LATE, Exchange, Wire
from redis_mw.engine.cluster import QUESTION, Address, Chart
from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.outlook import Outlook, problem
from redis_mw.engine.resp import packed
from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.events import log
from redis_mw.settings import Settings


class Lookout:
    """Asks servers of a cluster, in random order, until one tells the chart.

    ``servers`` are those that may know it, ``found`` is given it, ``failed`` hears of attempts that came to nothing;
    while the driver ``refuses`` everything none begins. An attempt goes on though nobody waits for it; after it nobody
    is asked for ``CALM_S``, whatever has come of it.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        *,
        servers: Callable[[], Iterable[Endpoint]],
        found: Callable[[Chart], None],
        failed: Callable[[Sequence[str]], None],
        refuses: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._servers = servers
        self._found = found
        self._failed = failed
        self._refuses = refuses
        self._outlook = Outlook(name, settings)
        self._attempt: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._closed = False

    def look(self) -> None:
        """Something may have changed: have the cluster asked, as soon as it may be, if it is not about to be."""
        if self._closed or self._later is not None:
            return
        # What an attempt under way hears may be of before.
        waits = self._attempt is not None or self._refuses()
        calm = self._outlook.calm(monotonic(), waits=waits)
        if calm > 0:
            self._later = self._loop.call_later(calm, self._look_now, context=Context())
        else:
            self._begin()

    def look_if_old(self) -> None:
        """The same if the chart has been there for so long that something may have changed unheard."""
        if self._outlook.is_old(monotonic()):
            self.look()

    async def wait(self, within: float) -> None:
        """Return when the attempt that is due or under way has ended, or the time is over; at once while it is calm."""
        if self._attempt is None:
            if self._closed or self._refuses() or self._outlook.calm(monotonic()) > 0:
                return
            self._begin()
        attempt = self._attempt
        assert attempt is not None
        due = monotonic() + within
        _ = await asyncio.wait({attempt}, timeout=within)
        late = monotonic() - due
        if late > LATE and not attempt.done():  # the loop stalled: that time does not count
            _ = await asyncio.wait({attempt}, timeout=min(late, within))

    async def close(self) -> None:
        """Ask no more."""
        self._closed = True
        if self._later is not None:
            self._later.cancel()
        if self._attempt is not None:
            _ = self._attempt.cancel()
            _ = await asyncio.wait({self._attempt})

    def _look_now(self) -> None:
        self._later = None
        self.look()

    def _begin(self) -> None:
        self._attempt = self._loop.create_task(self._try(), context=Context())

    async def _try(self) -> None:
        within = self._outlook.begins()
        chart: Chart | None = None
        problems: list[str] = []
        try:
            chart = await self._ask_all(within, problems)
        except TimeoutError:
            problems.append("no answer in time")
        except Exception:  # a bug of ours must not end what everybody waits for
            log.exception("a cluster could not be asked for its servers")
        finally:
            self._attempt = None
        self._outlook.ended(monotonic(), problems if chart is None else ())
        if chart is not None:
            self._found(chart)
        else:
            self._failed(problems)

    async def _ask_all(self, within: float, problems: list[str]) -> Chart | None:
        """The first answer. Who has none after the time to connect is asked on, and the next one beside it."""
        servers = list(self._servers())
        random.shuffle(servers)
        asking: set[asyncio.Task[Chart | str]] = set()
        try:
            async with asyncio.timeout(within):
                while servers or asking:
                    if servers:
                        asking.add(self._loop.create_task(self._ask(servers.pop(), within)))
                    patience = self._outlook.connect_s if servers else None
                    done, asking = await asyncio.wait(asking, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                    for answer in (task.result() for task in done):
                        if isinstance(answer, Chart):
                            return answer
                        problems.append(answer)
        finally:
            for task in asking:
                _ = task.cancel()
            if asking:
                _ = await asyncio.wait(asking)
        return None

    async def _ask(self, server: Endpoint, within: float) -> Chart | str:
        """What a server tells on a connection of its own, or why it does not."""
        wire = Wire(self._loop)
        try:
            await opened(server, wire, within)
            question = Exchange(self._loop, packed([QUESTION]), 1, within)
            wire.send(question)
            reply = (await question.settled())[0]
            if isinstance(reply, Exception):
                raise reply
            return Chart.read(reply, Address(server.host, server.port))
        except (RedisUnavailable, CommandError, ValueError) as error:
            return problem(server.name, error)
        finally:
            wire.close()
