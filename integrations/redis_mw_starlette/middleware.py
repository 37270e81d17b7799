"""``RedisMiddleware``: the layer around a Starlette or FastAPI application, as plain ASGI."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from inspect import isawaitable
from typing import Any

from starlette import responses
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from redis_mw.errors import Problem, RedisUnavailable, Refusal, SettingsError
from redis_mw.events import Events, log
from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.faces.attending import attend
from redis_mw.faces.caching import RequestCache
from redis_mw.faces.following import ended_soon
from redis_mw.faces.listening import events_of
from redis_mw.faces.locks import RequestLocks
from redis_mw.flows import Flow
from redis_mw.http.problems import problem
from redis_mw.layer.exchange import Exchange, Follow, Replay, Replayed, Respond, raised, refused
from redis_mw.layer.layer import Layer
from redis_mw.layer.rooms import rooms_of
from redis_mw.layer.secrets import signing_secrets
from redis_mw.limits.verdict import Explanation
from redis_mw.policy.current import CURRENT, GATE, Context
from redis_mw.sessions.room import Room, furnish
from redis_mw.settings import Settings
from redis_mw_starlette import origin
from redis_mw_starlette.answer import Accept, Response
from redis_mw_starlette.arguments import (
    HTTPS_ONLY,
    MAX_AGE,
    PARTITIONED,
    PATH,
    SAME_SITE,
    SESSION_COOKIE,
    Arguments,
    SameSite,
)
from redis_mw_starlette.behind import WITHIN_S, Behind, deaf, nowhere, silent
from redis_mw_starlette.body import Body
from redis_mw_starlette.faces import Faces
from redis_mw_starlette.gate import Gate
from redis_mw_starlette.keeper import FINISH_WITHIN, Keeper
from redis_mw_starlette.refusal import refuse, replay
from redis_mw_starlette.routes import Routes
from redis_mw_starlette.scopes import connection_of, of_nobody, request_of, shown

SAFE = ("GET", "HEAD", "OPTIONS")
UNSEEN = ("http.response.pathsend", "http.response.zerocopysend")
CLOSE_WITHIN = 5.0
AROUND = "redis_mw.around"  # where a scope says which of our middlewares it has passed through

OnRefuse = Callable[[Any, Refusal], "responses.Response | Awaitable[responses.Response | None] | None"]


class RedisMiddleware:
    """Gives every request its session, in the place and with the arguments of Starlette's own SessionMiddleware.

    ``settings`` come from the environment (``REDIS_MW_URL`` ...) if not given; ``mw`` shares a face with the rest of
    the application, which then closes it. ``secret_key`` signs cookies where the settings have no ``secret``, and its
    ``old_secret_keys`` are still accepted; those of a ``secret`` are the settings' ``old_secrets``.
    ``on_refuse(request, refusal)`` may answer in the place of the 503 that an outage of Redis gives, and of the 409 for
    a session too many: with a Starlette response, or None to leave it. A ``max_age`` (seconds) that is given is how
    long an unused session lives; None makes a cookie that ends with the browser.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings | None = None,
        *,
        mw: AsyncRedisMW | None = None,
        on_refuse: OnRefuse | None = None,
        secret_key: object = None,
        old_secret_keys: Sequence[object] = (),
        session_cookie: str = SESSION_COOKIE,
        max_age: int | None = MAX_AGE,
        path: str = PATH,
        same_site: SameSite = SAME_SITE,
        https_only: bool = HTTPS_ONLY,
        domain: str | None = None,
        partitioned: bool = PARTITIONED,
    ) -> None:
        self.app = app
        old_secrets = [str(each) for each in old_secret_keys]
        arguments = Arguments(
            secrets=[str(secret_key), *old_secrets] if secret_key else [],
            old_secrets=old_secrets,
            session_cookie=session_cookie,
            max_age=max_age,
            path=path,
            same_site=same_site,
            https_only=https_only,
            domain=domain,
            partitioned=partitioned,
        )
        self._settings = arguments.merged(_settings(settings, mw))
        self._on_refuse = on_refuse
        sessions = self._settings.sessions
        self._save_on_5xx = sessions is not None and sessions.save_on_5xx
        self._origins = frozenset(sessions.websocket_origins if sessions is not None else ())
        # All that decides what a session is here; the cookie's arguments are in the settings by now.
        signing = [] if self._settings.secret else arguments.secrets
        self._terms = (self._settings, list(signing), arguments.lifetime_us)
        events = mw.events if mw is not None else events_of(self._settings)
        own_secret = arguments.secrets[0] if arguments.secrets else ""
        rooms = mw.rooms if mw is not None else rooms_of(self._settings, events, own_secret)
        cookie = arguments.session_cookie_of(sessions)
        self._layer = Layer(self._settings, self._room(arguments, events), cookie, rooms)
        self._faces = Faces(self._settings, mw, rooms, self._explain)
        self._routes = Routes(app, needed=self._layer.needs_routes)
        self._behind = Behind()

    def _room(self, arguments: Arguments, events: Events) -> Room | None:
        if self._settings.sessions is None:
            return None
        secrets = signing_secrets(self._settings, arguments.secrets, named="secret_key")
        lifetime_us = arguments.lifetime_us
        return furnish(self._settings, self._settings.sessions, secrets, events, lifetime_us=lifetime_us)

    def _explain(self, connection: HTTPConnection) -> Flow[list[Explanation]]:
        """What the limits say of a Starlette request."""
        request = request_of(connection.scope)
        marks, route, parameters = self._routes.find(connection.scope, request)
        cookies = request.cookies(self._layer.cookie.name)
        exchange = self._layer.begin(
            request, *cookies, marks=marks, native=connection, route=route, parameters=parameters
        )
        return self._layer.explain(exchange)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif (outer := scope.get(AROUND)) is not None:
            self._must_agree(outer)
            await self.app(scope, receive, send)  # an application mounted in another shares its session
        else:
            await self._connection(scope, receive, send)

    def _must_agree(self, outer: "RedisMiddleware") -> None:
        """Raise ``SettingsError`` unless the middleware around this one does what this one was told to do."""
        if outer is not self and outer._terms != self._terms:
            what = "are not those of the RedisMiddleware around it, and a request has one session"
            remedy = "give both the same settings and arguments, or leave out the inner RedisMiddleware"
            raise SettingsError([Problem("settings", what, remedy)])

    async def _connection(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = request_of(scope)
        cookies = request.cookies(self._layer.cookie.name)
        marks, route, parameters = self._routes.find(scope, request)
        is_http = scope["type"] == "http"
        exchange = self._layer.begin(request, *cookies, marks=marks, route=route, parameters=parameters)
        if exchange.asks:
            exchange.native = connection_of(scope, receive, send)
        if request.method not in SAFE:
            exchange.views = partial(self._routes.of_path, scope, request)
        if not is_http:
            exchange.pages, exchange.ruled = (), exchange.ruled._replace(cache=None)
        if not is_http and self._comes_from_elsewhere(exchange, any(cookies)):
            await refuse(_forbidden(request.headers.get("accept")), scope, receive, send)
            return
        mw, body = self._faces.here(), None
        answer: Response | Accept
        if is_http:
            answer = Response(mw.driver, self._layer, exchange, send, save_on_5xx=self._save_on_5xx)
            body = self._body(exchange, receive)
        else:
            answer = Accept(mw.driver, self._layer, exchange, send)
        try:
            await self._answered(exchange, mw, answer, body, scope, body.receive if body is not None else receive)
        finally:
            if not answer.led:
                self._finish(exchange, mw)

    def _finish(self, exchange: Exchange, mw: AsyncRedisMW) -> None:
        if self._layer.finishes(exchange):
            mw.driver.detach(self._layer.finish(exchange), FINISH_WITHIN)

    def _body(self, exchange: Exchange, receive: Receive) -> Body | None:
        """The body of a request that has a key, whether a policy asks for one or not: that may turn out late."""
        room, request = self._layer.rooms.idempotency, exchange.request
        if room is None or (request.method in SAFE and self._layer.attempt_of(exchange) is None):
            return None
        return Body(receive, room.max_body) if request.headers.get(room.header) is not None else None

    def _comes_from_elsewhere(self, exchange: Exchange, has_cookie: bool) -> bool:
        """Whether a page of somebody else's wants a WebSocket with the visitor's session."""
        visit = exchange.visit
        if visit is None or visit.skipped or not has_cookie:
            return False
        if not origin.is_foreign(exchange.request, self._origins):
            return False
        visit.room.store.events.emit("session.rejected", outcome="origin")
        origin.tell(exchange.request)
        return True

    async def _answered(
        self,
        exchange: Exchange,
        mw: AsyncRedisMW,
        answer: Response | Accept,
        body: Body | None,
        scope: Scope,
        receive: Receive,
    ) -> None:
        """Open, let the application answer, and answer for what was refused, or has failed.

        Who makes a page for others as well makes it to its end, though the client may leave meanwhile.
        """
        try:
            await self._open(exchange, mw, answer, body)
        except Exception as error:
            if exchange.lookup is not None and exchange.lookup.refreshes:
                self._refresh(exchange, mw, scope)
            await self._failed(error, exchange, mw, answer, scope, receive)
            return
        if not exchange.leads:
            await self._run(exchange, mw, answer, body, scope, receive)
            return
        answer.led = True
        await asyncio.shield(self._behind.start(self._led(exchange, mw, answer, body, scope, deaf(receive))))

    async def _led(
        self,
        exchange: Exchange,
        mw: AsyncRedisMW,
        answer: Response | Accept,
        body: Body | None,
        scope: Scope,
        receive: Receive,
    ) -> None:
        try:
            await self._run(exchange, mw, answer, body, scope, receive)
        finally:
            self._finish(exchange, mw)

    async def _run(
        self,
        exchange: Exchange,
        mw: AsyncRedisMW,
        answer: Response | Accept,
        body: Body | None,
        scope: Scope,
        receive: Receive,
    ) -> None:
        try:
            keeper = answer.keeper
            if keeper is not None:
                scope["session"] = keeper.session
            gate = Gate(mw, self._layer, exchange, scope, body, keeper)
            session = keeper.session if keeper is not None else None
            context = Context(mw, session, gate, RequestLocks(mw.driver, exchange), RequestCache(exchange))
            await self._inside(exchange, context, gate, scope, receive, answer.send)
            await answer.finish()
            if keeper is not None:
                keeper.must_be_settled()
        except Exception as error:
            await self._failed(error, exchange, mw, answer, scope, receive)

    async def _failed(
        self,
        error: Exception,
        exchange: Exchange,
        mw: AsyncRedisMW,
        answer: Response | Accept,
        scope: Scope,
        receive: Receive,
    ) -> None:
        """Answer for what was refused, or answered before; raise what nobody can answer for."""
        # What the session could not do comes first, whatever the application made of it on its way here.
        cause = answer.failure or error
        if answer.keeper is not None:
            _ = await answer.keeper.abandon()
        if isinstance(cause, Replayed) and not answer.started:
            await replay(cause.response, answer.send)
            return
        if isinstance(cause, Refusal) and not answer.started:
            await self._refuse(exchange, cause, scope, receive, answer.send)
            await answer.finish()
            return
        page = await mw.driver.run(self._layer.closing.rescue(exchange)) if not answer.started else None
        if page is not None:
            log.error("a page could not be made: the one that is stored is sent", exc_info=error)
            await replay(page, answer.send)
        elif cause is error:
            raise error
        else:
            raise cause from None

    def _refresh(self, exchange: Exchange, mw: AsyncRedisMW, scope: Scope) -> None:
        """Have the page that is being served made anew, by a request that nobody has sent."""
        refreshing = None if self._behind.is_full else self._layer.refresh(exchange)
        if refreshing is None:
            return
        answer = Response(mw.driver, self._layer, refreshing, nowhere, save_on_5xx=self._save_on_5xx)
        if refreshing.visit is not None:
            answer.keeper = Keeper(mw, self._layer, refreshing, refreshing.visit)
        refreshing.native = connection_of(scope, silent(), nowhere)

        async def refresh() -> None:
            try:
                async with asyncio.timeout(WITHIN_S):
                    await self._led(refreshing, mw, answer, None, of_nobody(scope), silent())
            except Exception:
                log.exception("a page could not be made anew; the old one is sent while it lasts")

        _ = self._behind.start(refresh())

    async def _open(self, exchange: Exchange, mw: AsyncRedisMW, answer: Response | Accept, body: Body | None) -> None:
        """Ask what has to be asked before the application runs; raises what refuses the request, or a replay."""
        visit = exchange.visit
        reads = visit is not None and visit.id is not None
        if reads or exchange.asks:
            attempt = self._layer.attempt_of(exchange)
            if attempt is not None and body is not None:
                await body.read_into(attempt)
            opened = await mw.driver.run(self._layer.open(exchange, eager=reads))
            attend(mw.driver, self._layer.rooms, exchange)
            while isinstance(opened, Follow):
                ended = await ended_soon(opened)
                opened = await mw.driver.run(self._layer.follow(exchange, ended=ended, eager=reads))
                attend(mw.driver, self._layer.rooms, exchange)
            if isinstance(opened, Replay) and visit is not None:
                answer.cookie = self._layer.set_cookie(exchange)
            if isinstance(opened, (Respond, Replay)):
                raise raised(opened)
        if visit is not None:
            answer.keeper = Keeper(mw, self._layer, exchange, visit)

    async def _inside(
        self, exchange: Exchange, context: Context, gate: Gate, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if (gate.records or exchange.leads) and "extensions" in scope:
            # What a server sends by itself nobody can keep.
            scope["extensions"] = {name: each for name, each in scope["extensions"].items() if name not in UNSEEN}
        scope["redis_mw"], scope[AROUND] = context, self
        scope.setdefault("state", {})["redis_mw"] = context
        here, there = CURRENT.set(context), GATE.set(gate)
        gate.watch()
        fields, hidden = scope["headers"], self._layer.hidden(exchange)
        if hidden is not None and hidden.changes(exchange.request.headers):
            scope["headers"] = shown(fields, hidden)
        try:
            await self.app(scope, receive, send)
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

    async def _refuse(self, exchange: Exchange, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        answer: Any = None
        if self._on_refuse is not None:
            answer = self._on_refuse(connection_of(scope, receive, send), refusal)
            if isawaitable(answer):
                answer = await answer
        if answer is None:
            ours = refused(refusal, exchange.request.headers.get("accept"))
            answer = responses.Response(ours.body, ours.status, dict(ours.headers))
        await refuse(answer, scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close what is ours before the server may end the loop; ``connect="eager"`` refuses to start without Redis."""

        async def closing(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self._aclose()
            await send(message)

        if self._settings.connect == "eager":
            try:
                await self._faces.here().ping()
            except RedisUnavailable as error:
                _ = await receive()
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                raise
        try:
            await self.app(scope, receive, closing)
        finally:
            await self._aclose()

    async def _aclose(self) -> None:
        await self._behind.aclose(CLOSE_WITHIN)
        await self._faces.aclose()


def _settings(settings: object, mw: AsyncRedisMW | None) -> Settings:
    if settings is None:
        return mw.settings if mw is not None else Settings.from_env()
    if not isinstance(settings, Settings):
        remedy = "give a Settings; Starlette's own arguments have names (secret_key=...)"
        raise SettingsError([Problem("settings", f"is a {type(settings).__name__}", remedy)])
    if mw is not None and mw.settings != settings:
        raise SettingsError([Problem("settings", "are not those of mw", "give one of the two")])
    return settings


def _forbidden(accept: str | None) -> responses.Response:
    detail = "This page may not open a connection with the visitor's session."
    content_type, body = problem(403, "Forbidden", detail=detail, accept=accept)
    return responses.Response(body, 403, {"content-type": content_type})
