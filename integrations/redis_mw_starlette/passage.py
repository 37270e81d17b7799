"""One connection on its way through redis-mw: opened, answered by the application or in its place, and finished.

Who makes a page for others as well makes it to its end, though the client may leave meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, NamedTuple

from starlette import responses
from starlette.types import ASGIApp, Receive, Scope, Send

from redis_mw.errors import Refusal
from redis_mw.events import log
from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.faces.attending import attend
from redis_mw.faces.caching import RequestCache
from redis_mw.faces.following import ended_soon
from redis_mw.faces.locks import RequestLocks
from redis_mw.layer.exchange import Exchange, Follow, Replay, Replayed, Respond, raised, refused
from redis_mw.layer.layer import Layer
from redis_mw.policy.current import CURRENT, GATE, Context
from redis_mw_starlette.answer import Accept, Response
from redis_mw_starlette.behind import WITHIN_S, Behind, deaf, nowhere, silent
from redis_mw_starlette.body import Body
from redis_mw_starlette.gate import Gate
from redis_mw_starlette.keeper import FINISH_WITHIN, Keeper
from redis_mw_starlette.refusal import refuse, replay
from redis_mw_starlette.scopes import connection_of, of_nobody, shown

UNSEEN = ("http.response.pathsend", "http.response.zerocopysend")
AROUND = "redis_mw.around"
"""Where a scope says which middleware of ours it has passed through."""

OnRefuse = Callable[[Any, Refusal], "responses.Response | Awaitable[responses.Response | None] | None"]


class Mounted(NamedTuple):
    """What all connections of one middleware share; ``around`` is the middleware itself."""

    app: ASGIApp
    layer: Layer
    behind: Behind
    on_refuse: OnRefuse | None
    save_on_5xx: bool
    around: object


class Passage:
    """A connection's exchange, with what is done to it. ``body`` is there where a policy may want to read it."""

    def __init__(
        self,
        mounted: Mounted,
        mw: AsyncRedisMW,
        exchange: Exchange,
        scope: Scope,
        receive: Receive,
        send: Send,
        body: Body | None = None,
    ) -> None:
        self._mounted = mounted
        self._layer = mounted.layer
        self._mw = mw
        self._exchange = exchange
        self._scope = scope
        self._receive = body.receive if body is not None else receive
        self._body = body
        self._led = False
        self._answer: Response | Accept
        if scope["type"] == "http":
            self._answer = Response(mw.driver, self._layer, exchange, send, save_on_5xx=mounted.save_on_5xx)
        else:
            self._answer = Accept(mw.driver, self._layer, exchange, send)

    async def pass_through(self) -> None:
        """Open, let the application answer, and answer for what was refused, or has failed."""
        try:
            if await self._opened():
                await self._run()
        finally:
            if not self._led:
                self._finish()

    async def make_anew(self) -> None:
        """Let the application make a page that others have been given already; nobody waits for it."""
        try:
            self._keep()
            async with asyncio.timeout(WITHIN_S):
                await self._answered()
        except Exception:
            log.exception("a page could not be made anew; the old one is sent while it lasts")
        finally:
            self._finish()

    async def _opened(self) -> bool:
        """Whether the application may answer; if not, it was answered in its place."""
        try:
            await self._open()
        except Exception as error:
            await self._failed(error)
            return False
        return True

    async def _open(self) -> None:
        """Ask what has to be asked before the application runs; raises what refuses the request, or a replay."""
        exchange, driver = self._exchange, self._mw.driver
        visit = exchange.visit
        reads = visit is not None and visit.id is not None
        if reads or exchange.asks:
            attempt = self._layer.attempt_of(exchange)
            if attempt is not None and self._body is not None:
                await self._body.read_into(attempt)
            opened = await driver.run(self._layer.open(exchange, eager=reads))
            attend(driver, self._layer.rooms, exchange)
            while isinstance(opened, Follow):
                ended = await ended_soon(opened)
                opened = await driver.run(self._layer.follow(exchange, ended=ended, eager=reads))
                attend(driver, self._layer.rooms, exchange)
            if isinstance(opened, Replay):
                self._answer.cookie = self._layer.set_cookie(exchange)
            if isinstance(opened, (Respond, Replay)):
                raise raised(opened)
        self._keep()

    def _keep(self) -> None:
        visit = self._exchange.visit
        if visit is not None:
            self._answer.keeper = Keeper(self._mw, self._layer, self._exchange, visit)

    async def _run(self) -> None:
        if not self._exchange.leads:
            await self._answered()
            return
        self._led, self._receive = True, deaf(self._receive)
        await asyncio.shield(self._mounted.behind.start(self._to_its_end()))

    async def _to_its_end(self) -> None:
        try:
            await self._answered()
        finally:
            self._finish()

    async def _answered(self) -> None:
        """Let the application answer, and answer for what it raises."""
        try:
            keeper, mw = self._answer.keeper, self._mw
            session = keeper.session if keeper is not None else None
            if session is not None:
                self._scope["session"] = session
            gate = Gate(mw, self._layer, self._exchange, self._scope, self._body, keeper)
            locks, cache = RequestLocks(mw.driver, self._exchange), RequestCache(self._exchange)
            await self._inside(Context(mw, session, gate, locks, cache), gate)
            await self._answer.finish()
            if keeper is not None:
                keeper.must_be_settled()
        except Exception as error:
            await self._failed(error)

    async def _inside(self, context: Context, gate: Gate) -> None:
        scope, exchange = self._scope, self._exchange
        if (gate.records or exchange.leads) and "extensions" in scope:
            # What a server sends by itself nobody can keep.
            scope["extensions"] = {name: each for name, each in scope["extensions"].items() if name not in UNSEEN}
        scope["redis_mw"], scope[AROUND] = context, self._mounted.around
        scope.setdefault("state", {})["redis_mw"] = context
        here, there = CURRENT.set(context), GATE.set(gate)
        gate.watch()
        fields, hidden = scope["headers"], self._layer.hidden(exchange)
        if hidden is not None and hidden.changes(exchange.request.headers):
            scope["headers"] = shown(fields, hidden)
        try:
            await self._mounted.app(scope, self._receive, self._answer.send)
        except asyncio.CancelledError:
            lost = gate.holding.caught() if gate.holding is not None else None
            if lost is None:
                raise
            raise lost from None
        finally:
            if gate.holding is not None:
                gate.holding.end()
            scope["headers"] = fields
            GATE.reset(there)
            CURRENT.reset(here)

    async def _failed(self, error: Exception) -> None:
        """Answer for what was refused, or answered before; raise what nobody can answer for."""
        answer, exchange = self._answer, self._exchange
        # What the session could not do comes first, whatever the application made of it on its way here.
        cause = answer.failure or error
        if answer.keeper is not None:
            _ = await answer.keeper.abandon()
        if isinstance(cause, Replayed) and not answer.started:
            self._refresh()
            await replay(cause.response, answer.send)
            return
        if isinstance(cause, Refusal) and not answer.started:
            await self._refuse(cause)
            await answer.finish()
            return
        page = await self._mw.driver.run(self._layer.closing.rescue(exchange)) if not answer.started else None
        if page is not None:
            log.error("a page could not be made: the one that is stored is sent", exc_info=error)
            await replay(page, answer.send)
        elif cause is error:
            raise error
        else:
            raise cause from None

    async def _refuse(self, refusal: Refusal) -> None:
        answer: Any = None
        if self._mounted.on_refuse is not None:
            connection = connection_of(self._scope, self._receive, self._answer.send)
            answer = self._mounted.on_refuse(connection, refusal)
            if isawaitable(answer):
                answer = await answer
        if answer is None:
            ours = refused(refusal, self._exchange.request.headers.get("accept"))
            answer = responses.Response(ours.body, ours.status, dict(ours.headers))
        await refuse(answer, self._scope, self._receive, self._answer.send)

    def _refresh(self) -> None:
        """Have a page that is being served stale, or is about to end, made anew by a request that nobody has sent."""
        refreshing = None if self._mounted.behind.is_full else self._layer.refresh(self._exchange)
        if refreshing is not None:
            scope, hears = of_nobody(self._scope), silent()
            refreshing.native = connection_of(scope, hears, nowhere)
            behind = Passage(self._mounted, self._mw, refreshing, scope, hears, nowhere)
            _ = self._mounted.behind.start(behind.make_anew())

    def _finish(self) -> None:
        if self._layer.finishes(self._exchange):
            self._mw.driver.detach(self._layer.finish(self._exchange), FINISH_WITHIN)
