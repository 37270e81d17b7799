"""One server as one event loop sees it: two lanes for batches, the breaker, its background probe.

A *class* of commands is quick (cache, limits: their policy does well without Redis) or firm (sessions, locks); see
``breaker`` for what that decides.
"""

import asyncio
import random
from collections.abc import Callable
from time import monotonic
from typing import Any

from redis_mw.engine.aio.lane import Lane, opened
from redis_mw.engine.aio.wire import LATE, Exchange, Wire
from redis_mw.engine.breaker import Breaker, Class
from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.news import tell
from redis_mw.engine.resp import packed
from redis_mw.errors import RedisUnavailable
from redis_mw.events import Events
from redis_mw.settings import Settings, seconds

PING = packed([("PING",)])


class Station:
    """Takes exchanges for one server and refuses them at once while it is known to be away.

    Connections: one for small replies, one for large ones, one for wake-ups, one short-lived for the probe; each made
    when first needed. One of many servers that are as one to those who count trips has their common name,
    ``counted_as``. ``on_failed`` hears of every failure that the breaker counts.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings,
        events: Events,
        loop: asyncio.AbstractEventLoop,
        *,
        counted_as: str = "",
        on_failed: Callable[[], None] = lambda: None,
    ) -> None:
        self.endpoint = endpoint
        self._counted_as = counted_as or endpoint.name
        self._on_failed = on_failed
        self._settings = settings
        self._events = events
        self._loop = loop
        self.breaker = Breaker.of(settings, random.random, self._changed)
        self.small = self.lane()
        self.large = self.lane()
        self.open_classes: set[Class] = set()
        self.longest_connect = max(seconds(settings.warm_up), seconds(settings.connect_within))
        self._others: list[Lane] = []
        self._probing: asyncio.Task[None] | None = None
        self._next_probe: asyncio.TimerHandle | None = None
        self._closed = False

    def lane(
        self,
        on_push: Callable[[list[Any]], None] = lambda _message: None,
        on_end: Callable[[], None] = lambda: None,
        on_refused: Callable[[], None] = lambda: None,
    ) -> Lane:
        """A lane of its own to this server; ``on_end``: its wire was lost, ``on_refused``: it could not be had."""

        def ended(reason: str, busy: bool) -> None:
            self._lost(reason, busy)
            on_end()

        def refused(began: float) -> None:
            self._failed(began, quick=False)
            on_refused()

        return Lane(
            self.endpoint,
            self._loop,
            lambda: Wire(
                self._loop, on_answered=self.breaker.answered, on_overdue=self._overdue, on_end=ended, on_push=on_push
            ),
            first_within=seconds(self._settings.warm_up),
            within=seconds(self._settings.connect_within),
            on_overdue=self._overdue,
            on_refused=refused,
            counted_as=self._counted_as,
        )

    @property
    def idle(self) -> bool:
        """Nothing is under way here that anybody waits for."""
        return all(lane.idle for lane in (self.small, self.large, *self._others))

    def wake_lane(
        self, on_push: Callable[[list[Any]], None], on_end: Callable[[], None], on_refused: Callable[[], None]
    ) -> Lane:
        """The lane for wake-ups; it is closed with the others."""
        self._others.append(self.lane(on_push, on_end, on_refused))
        return self._others[-1]

    def refusal(self, quick: bool) -> RedisUnavailable | None:
        """What a command of this class is answered at once, if it is."""
        if not self.open_classes:
            return None
        retry_after = self.breaker.refuses(quick, monotonic())
        return None if retry_after is None else RedisUnavailable(f"{self.endpoint.name} is away", retry_after)

    async def ping(self, within: float) -> None:
        """Raise RedisUnavailable unless the server answers on a connection of its own."""
        wire = Wire(self._loop)
        await opened(self.endpoint, wire, within)
        question = Exchange(self._loop, PING, 1, within)
        wire.send(question)
        try:
            reply = (await question.settled())[0]
        finally:
            wire.close()
        if isinstance(reply, Exception):
            raise RedisUnavailable(f"{self.endpoint.name} does not answer: {reply}")

    async def close(self) -> None:
        """Close every connection and end the probe."""
        self._closed = True
        if self._next_probe is not None:
            self._next_probe.cancel()
        if self._probing is not None:
            _ = self._probing.cancel()
            _ = await asyncio.wait({self._probing})
        for lane in (self.small, self.large, *self._others):
            await lane.close()

    # What the breaker is told, and what it wants.

    def _overdue(self, exchanges: list[Exchange]) -> None:
        began: dict[Class, float] = {}
        for exchange in exchanges:
            class_ = self.breaker.tried(exchange.due - exchange.sent)
            if class_ is not None:
                began[class_] = min(exchange.sent, began.get(class_, exchange.sent))
        if began:
            self._failed(began.get("firm", began.get("quick", 0.0)), quick="firm" not in began)

    def _lost(self, _reason: str, busy: bool) -> None:
        if busy:  # a server may close a connection that nobody uses
            self._failed(monotonic(), quick=False)

    def _failed(self, began: float, *, quick: bool) -> None:
        if self._closed:
            return
        if self.breaker.failed(began, monotonic(), quick=quick):
            self._probe()
        else:
            self._plan_probe()
        self._on_failed()

    def _changed(self, kind: Class, is_open: bool) -> None:
        if not is_open:
            self.open_classes.discard(kind)
        else:
            self.open_classes.add(kind)
            error = RedisUnavailable(f"{self.endpoint.name} is away")
            for lane in (self.small, self.large):
                lane.fail_pending(error, quick_only=kind == "quick")
        tell(self._events, self.endpoint, kind, is_open)

    # The probe.

    def _plan_probe(self) -> None:
        at = self.breaker.next_probe_at()
        if at is not None and not self._closed:
            if self._next_probe is not None:
                self._next_probe.cancel()
            self._next_probe = self._loop.call_later(max(0.0, at - monotonic()), self._begin_probe)

    def _begin_probe(self) -> None:
        if self._probing is None and not self._closed:
            self.breaker.probe_began(monotonic())
            self._probe()

    def _probe(self) -> None:
        if self._probing is None:
            self._probing = self._loop.create_task(self._judge_probe())

    async def _judge_probe(self) -> None:
        """Ask once on a fresh connection; the breaker judges how long it takes, less what the loop stood still."""
        began = monotonic()
        answer = self._loop.create_task(self.ping(self.breaker.firm_s + 1.0))
        try:
            while (judge_at := self.breaker.judge_at()) is not None:
                done, _ = await asyncio.wait({answer}, timeout=max(0.0, judge_at - monotonic()))
                now = monotonic()
                if done:
                    if answer.exception() is None:
                        self.breaker.probe_answered(now)
                    else:
                        self.breaker.probe_lost(now)
                elif now - judge_at > LATE:
                    began += now - judge_at
                    self.breaker.probe_began(began)
                    await asyncio.sleep(LATE)
                elif not self.breaker.probe_unanswered(now):
                    break
        finally:
            self._probing = None
            if not answer.done():
                _ = answer.cancel()
                _ = await asyncio.wait({answer})
            if not answer.cancelled():
                _ = answer.exception()
        self._plan_probe()
