"""``RedisMiddleware``: the layer around a Starlette or FastAPI application, as plain ASGI."""

from collections.abc import Sequence
from functools import partial

from starlette import responses
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from redis_mw.errors import Problem, RedisUnavailable, SettingsError
from redis_mw.events import Events
from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.faces.attending import page_here
from redis_mw.faces.listening import events_of
from redis_mw.flows import Flow
from redis_mw.http.problems import problem
from redis_mw.layer.exchange import Exchange
from redis_mw.layer.layer import Layer
from redis_mw.layer.rooms import rooms_of
from redis_mw.layer.secrets import signing_secrets
from redis_mw.limits.verdict import Explanation
from redis_mw.sessions.room import Room, furnish
from redis_mw.settings import Settings
from redis_mw_starlette import origin
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
from redis_mw_starlette.behind import Behind
from redis_mw_starlette.body import Body
from redis_mw_starlette.faces import Faces
from redis_mw_starlette.passage import AROUND, Mounted, OnRefuse, Passage
from redis_mw_starlette.refusal import refuse, replay
from redis_mw_starlette.routes import Routes
from redis_mw_starlette.scopes import connection_of, request_of

SAFE = ("GET", "HEAD", "OPTIONS")
CLOSE_WITHIN = 5.0


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
        sessions = self._settings.sessions
        save_on_5xx = sessions is not None and sessions.save_on_5xx
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
        self._mounted = Mounted(app, self._layer, self._behind, on_refuse, save_on_5xx, self)

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
        if is_http:
            page = page_here(mw.driver, self._layer, exchange)
            if page is not None:
                await replay(page, send)
                return
            body = self._body(exchange, receive)
        await Passage(self._mounted, mw, exchange, scope, receive, send, body).pass_through()

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
