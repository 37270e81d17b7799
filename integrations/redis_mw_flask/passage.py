"""One request on its way through redis-mw: asked for before the view, told on its response, settled after it."""

from collections.abc import Mapping
from contextvars import Token
from math import ceil
from typing import Any, Protocol, Self, TypeAlias

from flask.wrappers import Request, Response

from redis_mw.errors import Refusal, SessionLimitReached
from redis_mw.faces.attending import attend
from redis_mw.faces.caching import RequestCache
from redis_mw.faces.following import ended
from redis_mw.faces.limits import RequestLimits
from redis_mw.faces.locks import RequestLocks
from redis_mw.faces.sync import RedisMW
from redis_mw.flows import Flow
from redis_mw.http.request import Request as HttpRequest
from redis_mw.layer.exchange import Exchange, Follow, Opened, Replay, Respond
from redis_mw.layer.exchange import Response as PageResponse
from redis_mw.layer.layer import Layer
from redis_mw.policy.current import CURRENT, GATE, Context, Gate
from redis_mw.policy.marks import Placed
from redis_mw_flask.answer import Answer
from redis_mw_flask.body import Body, body_of, cached_body_of
from redis_mw_flask.environs import KEY, Asked, EnvironFields, asked, shown
from redis_mw_flask.refusals import raised
from redis_mw_flask.session import RedisSession

FINISH_WITHIN = 1.0

Tokens: TypeAlias = tuple[Token[Context], Token[Gate]]


class Refresh(Protocol):
    """Has the page made anew that an exchange is answered with; ``early`` if Flask knows nothing of it."""

    def __call__(self, layer: Layer, exchange: Exchange, *, early: bool) -> None: ...


class Passage:
    """A request's exchange, with what is done to it; also its gate, which decorated views ask before they run.

    ``around`` says that somebody outside of the application will call ``finish`` when the body has been sent.
    """

    def __init__(self, mw: RedisMW, *, around: bool = False, refresh: Refresh | None = None) -> None:
        self.around = around
        self.layer: Layer | None = None
        self.exchange: Exchange | None = None
        self.answer: Answer | None = None
        self.context = Context(mw)
        self.is_early = False
        """Whether it has begun before Flask, which has not taken it over yet."""
        self._mw = mw
        self._refresh = refresh
        self._session: RedisSession | None = None
        self._body: Body | None = None
        self._asked: Asked = ()
        self._answered: Respond | Replay | None = None
        self._refusal: Refusal | None = None
        self._routed = self._opened = self._read = self._raised = self._finished = False

    @classmethod
    def of(cls, environ: dict[str, Any], mw: RedisMW) -> Self:
        """That of the request with this environment."""
        found: Self | None = environ.get(KEY)
        if found is None:
            found = environ[KEY] = cls(mw)
        return found

    def begin(self, layer: Layer, exchange: Exchange) -> None:
        """The exchange has begun: application code may know of it from here on."""
        self.layer, self.exchange, self.answer = layer, exchange, Answer(self._mw.driver, layer, exchange)
        self.join(None)
        room = layer.rooms.idempotency
        if room is not None and exchange.request.headers.get(room.header) is not None:
            # Whether a policy asks for the key or not: that may turn out late.
            self._body = body_of(exchange.native, room.max_body)

    def begin_early(self, layer: Layer, exchange: Exchange, environ: dict[str, Any]) -> None:
        """The same before Flask runs: by the view that will answer, as far as this environment says."""
        self.begin(layer, exchange)
        self.is_early = self._routed = True
        self._opened = exchange.refreshing  # nothing is asked for who has not come
        self._asked = asked(environ)

    def join(self, session: RedisSession | None) -> None:
        """Flask has opened the session of the exchange, if it has one."""
        layer, exchange = self.begun
        self.is_early, self._session = False, session
        if self.answer is not None:
            self.answer.session = session
        limits = RequestLimits(self._mw.limits, layer, exchange) if layer.rooms.limits is not None else None
        locks, cache = RequestLocks(self._mw.driver, exchange), RequestCache(exchange)
        self.context = Context(self._mw, session, limits, locks, cache)

    def seen(self, environ: dict[str, Any]) -> dict[str, Any]:
        """The environment as Flask is to see it. If it is not for the same page any more (there is a middleware in
        between that rewrites URLs) what was begun early is given back, and Flask begins anew.
        """
        if not self.is_early:
            return environ
        layer, exchange = self.begun
        if self._asked != asked(environ):
            self.forget()
            return environ
        hidden = layer.hidden(exchange) if not exchange.stopped else None
        return shown(environ, hidden) if hidden is not None and hidden.changes(exchange.request.headers) else environ

    def forget(self) -> None:
        """Give back what was taken, and be as before ``begin``."""
        self.finish()
        self.layer = self.exchange = self.answer = self._answered = None
        self.is_early = self._routed = self._opened = self._finished = False

    @property
    def begun(self) -> tuple[Layer, Exchange]:
        """The layer and the exchange of a passage that has begun."""
        assert self.layer is not None
        assert self.exchange is not None
        return self.layer, self.exchange

    def route(self, marks: tuple[Placed, ...], route: str, parameters: Mapping[str, str]) -> None:
        """Flask has routed it: the marks of the view that will answer, its endpoint, what was read in the path; said
        once.
        """
        layer, exchange = self.begun
        if not self._routed:
            self._routed = True
            layer.routed(exchange, marks, route, parameters)

    @property
    def replays(self) -> bool:
        """Whether the request is answered by what was answered before."""
        return isinstance(self._answered, Replay)

    @property
    def page(self) -> PageResponse | None:
        """The page out of the cache that answers it, if one does."""
        answered = self._answered
        return answered.response if isinstance(answered, Replay) and answered.response.complete else None

    def ask(self) -> None:
        """Ask what has to be asked before the view runs, once."""
        layer, exchange = self.begun
        if self._opened:
            return
        self._opened = True
        if exchange.asks or exchange.policy.mode == "require":
            self._compare(layer, exchange)
            self._answered = self._run(layer, exchange, layer.open(exchange, eager=False))

    def open(self) -> None:
        """The same, if it was not asked before Flask ran; raises what refuses the request, or a replay, once."""
        layer, exchange = self.begun
        if not self._opened:
            self.ask()
            self._must_hide(layer, exchange)
        if not self._raised:
            self._raised = True
            self._raise()

    def enter(self) -> Tokens:
        """Be what ``redis_mw.current()`` finds, and the gate of decorated views, until ``leave``."""
        return CURRENT.set(self.context), GATE.set(self)

    def hold(self, placed: Placed) -> None:
        """Enforce a mark that nobody saw before the view was called, at a round trip of its own."""
        layer, exchange = self.begun
        if exchange.passed(placed.mark):
            return
        layer.routed(exchange, [placed], exchange.route, exchange.parameters)
        self._compare(layer, exchange)
        unseen = self._session is not None and not self._session.accessed
        answered = self._run(layer, exchange, layer.hold(exchange, unseen=unseen))
        if answered is not None:
            self._answered = answered
            self._raise()

    async def ahold(self, placed: Placed) -> None:
        """The same for an asynchronous view: its loop has nothing else to do, so it may wait."""
        self.hold(placed)

    def seal(self, response: Response) -> None:
        """Tell of the limits and the cache on the response that is sent, whoever made it."""
        exchange = self.exchange
        if exchange is None or self.layer is None or self.answer is None:
            return
        if not self.answer.replaced:
            exchange.status, exchange.answer = response.status_code, response
        for name, value in self.layer.fields(exchange):
            response.headers[name] = value
        varies = self.layer.closing.varies(exchange)
        if varies:
            response.vary.update(varies)
        refusal = self._refusal
        if refusal is None or isinstance(refusal, SessionLimitReached) or refusal.retry_after is None:
            return
        if refusal.status == response.status_code:
            # An error handler of the application's that answers need not think of it.
            _ = response.headers.setdefault("Retry-After", str(max(1, ceil(refusal.retry_after))))

    @property
    def finishes(self) -> bool:
        """Whether ``finish`` has anything to do."""
        if self._finished or self.exchange is None or self.layer is None:
            return False
        return self.layer.finishes(self.exchange)

    @property
    def goes_on(self) -> bool:
        """Whether something is left to do, or may be, when the response has been made.

        A file that nobody has to watch is left to the server's sendfile.
        """
        exchange = self.exchange
        if exchange is None or self.finishes:
            return exchange is not None
        made = exchange.answer
        if isinstance(made, Response) and made.direct_passthrough:
            return False
        return exchange.tally is not None or not (isinstance(made, Response) and made.is_sequence)

    def finish(self) -> None:
        """Settle and clean up in the background, once."""
        if self.finishes:
            self._finished = True
            layer, exchange = self.begun
            self._mw.driver.detach(layer.finish(exchange), within=FINISH_WITHIN)

    def give_up(self) -> None:
        """It takes too long: others may make what it was to make. It goes on, since a thread cannot be ended."""
        layer, exchange = self.begun
        self._mw.driver.detach(layer.finish(exchange), within=FINISH_WITHIN)

    def _compare(self, layer: Layer, exchange: Exchange) -> None:
        """Read the body of a request whose key is to be asked for, once."""
        attempt = layer.attempt_of(exchange)
        if attempt is not None and not self._read:
            body = self._body if self._body is not None else cached_body_of(exchange.native, attempt.room.max_body)
            body.read_into(attempt)
            self._read = True

    def _run(self, layer: Layer, exchange: Exchange, asking: "Flow[Opened | None]") -> Respond | Replay | None:
        """What answers the request instead of the view, after waiting for others of this process."""
        driver = self._mw.driver
        answer = driver.run(asking)
        attend(driver, layer.rooms, exchange)
        while isinstance(answer, Follow):
            answer = driver.run(layer.follow(exchange, ended=ended(answer), eager=False))
            attend(driver, layer.rooms, exchange)
        if self._refresh is not None and exchange.lookup is not None and exchange.lookup.refreshes:
            self._refresh(layer, exchange, early=self.is_early)
        return answer if isinstance(answer, (Respond, Replay)) else None

    def _must_hide(self, layer: Layer, exchange: Exchange) -> None:
        """Flask has its request already: if that has what a page must not be made of, none is made of it."""
        hidden, lookup = layer.hidden(exchange), exchange.lookup
        if lookup is not None and lookup.fetch is not None and hidden is not None:
            lookup.fetch.skipped = hidden.changes(exchange.request.headers)

    def _raise(self) -> None:
        answered = self._answered
        if isinstance(answered, Respond):
            self._refusal = answered.refusal
        if answered is not None:
            raise raised(answered)


def leave(tokens: Tokens) -> None:
    """Give back what an ``enter`` found."""
    here, there = tokens
    GATE.reset(there)
    CURRENT.reset(here)


def translated(request: Request) -> HttpRequest:
    """Flask's request as the layer has it."""
    headers = EnvironFields.of(request.environ)
    return HttpRequest(
        method=request.method,
        path=request.path,
        query=request.query_string.decode("latin-1"),
        scheme=request.scheme,
        host=headers.get("host") or "",
        headers=headers,
        client=request.remote_addr,
        root=request.root_path.rstrip("/"),
    )
