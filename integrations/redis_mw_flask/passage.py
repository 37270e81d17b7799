"""One request on its way through redis-mw: asked for before the view, told on its response, settled after it."""

from collections.abc import Mapping
from contextvars import Token
from math import ceil
from typing import Any, Self, TypeAlias

from flask.wrappers import Request, Response

from redis_mw.errors import Refusal, SessionLimitReached
from redis_mw.faces.attending import attend
from redis_mw.faces.limits import RequestLimits
from redis_mw.faces.locks import RequestLocks
from redis_mw.faces.sync import RedisMW
from redis_mw.flows import Flow
from redis_mw.http.request import Fields
from redis_mw.http.request import Request as HttpRequest
from redis_mw.layer.exchange import Exchange, Proceed, Replay, Respond
from redis_mw.layer.layer import Layer
from redis_mw.policy.current import CURRENT, GATE, Context, Gate
from redis_mw.policy.marks import Placed
from redis_mw_flask.body import Body, body_of, cached_body_of
from redis_mw_flask.recording import Recording
from redis_mw_flask.refusals import raised
from redis_mw_flask.session import RedisSession

KEY = "redis_mw.passage"
"""Where the WSGI environment of a request has its ``Passage``."""

FINISH_WITHIN = 1.0

Tokens: TypeAlias = tuple[Token[Context], Token[Gate]]


class Passage:
    """A request's exchange, with what is done to it; also its gate, which decorated views ask before they run.

    ``around`` says that somebody outside of the application will call ``finish`` when the body has been sent.
    """

    def __init__(self, mw: RedisMW, *, around: bool = False) -> None:
        self.around = around
        self.layer: Layer | None = None
        self.exchange: Exchange | None = None
        self.context = Context(mw)
        self.replays = False
        """Whether the request is answered by what was answered before."""
        self._mw = mw
        self._session: RedisSession | None = None
        self._body: Body | None = None
        self._refusal: Refusal | None = None
        self._routed = self._opened = self._read = self._finished = False

    @classmethod
    def of(cls, environ: dict[str, Any], mw: RedisMW) -> Self:
        """That of the request with this environment."""
        found: Self | None = environ.get(KEY)
        if found is None:
            found = environ[KEY] = cls(mw)
        return found

    def begin(self, layer: Layer, exchange: Exchange, session: RedisSession | None = None) -> None:
        """The exchange has begun: application code may know of it from here on."""
        self.layer, self.exchange, self._session = layer, exchange, session
        limits = RequestLimits(self._mw.limits, layer, exchange) if layer.rooms.limits is not None else None
        self.context = Context(self._mw, session, limits, RequestLocks(self._mw.driver, exchange))
        room = layer.rooms.idempotency
        if room is not None and exchange.request.headers.get(room.header) is not None:
            # Whether a policy asks for the key or not: that may turn out late.
            self._body = body_of(exchange.native, room.max_body)

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

    def open(self) -> None:
        """Ask what has to be asked before the view runs, once; raises what refuses the request, or a replay."""
        layer, exchange = self.begun
        if self._opened:
            return
        self._opened = True
        if exchange.asks or exchange.policy.mode == "require":
            self._compare(layer, exchange)
            self._pass(layer, exchange, layer.open(exchange, eager=False))

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
        self._pass(layer, exchange, layer.hold(exchange, unseen=unseen))

    async def ahold(self, placed: Placed) -> None:
        """The same for an asynchronous view: its loop has nothing else to do, so it may wait."""
        self.hold(placed)

    def seal(self, response: Response) -> None:
        """Tell of the limits on the response that is sent, whoever made it, and remember it for the settling."""
        exchange = self.exchange
        if exchange is None or self.layer is None:
            return
        exchange.status, exchange.answer = response.status_code, response
        for name, value in self.layer.fields(exchange):
            response.headers[name] = value
        refusal = self._refusal
        if refusal is None or isinstance(refusal, SessionLimitReached) or refusal.retry_after is None:
            return
        if refusal.status == response.status_code:
            # An error handler of the application's that answers need not think of it.
            _ = response.headers.setdefault("Retry-After", str(max(1, ceil(refusal.retry_after))))

    def whole(self, response: Response) -> bytes | None:
        """The body of a response that has to be kept, if all of it is known now; None for any other.

        Says what else there is to keep of it.
        """
        exchange = self.exchange
        if exchange is None or self.layer is None or not self.layer.closing.records(exchange):
            return None
        exchange.status, exchange.headers = response.status_code, tuple(response.headers)
        if exchange.request.method == "HEAD" or response.status_code < 200 or response.status_code in (204, 304):
            return b""  # werkzeug sends nothing of its body
        return response.get_data() if response.is_sequence and not response.direct_passthrough else None

    def keep(self, response: Response) -> None:
        """Give the layer a response that is to be sent again to whoever repeats the request, if the session's saving
        has not done it. A stream is kept as it goes, and so is a file, which the server then does not send by itself.
        """
        layer, exchange = self.layer, self.exchange
        if exchange is None or layer is None or not layer.closing.records(exchange):
            return

        def complete(body: bytes | None) -> None:
            self._mw.driver.run(layer.closing.complete(exchange, body))

        whole = self.whole(response)
        if whole is not None:
            complete(whole)
        else:
            response.response = Recording(exchange, response, complete)
            response.direct_passthrough = False

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

    def _compare(self, layer: Layer, exchange: Exchange) -> None:
        """Read the body of a request whose key is to be asked for, once."""
        attempt = layer.attempt_of(exchange)
        if attempt is not None and not self._read:
            body = self._body if self._body is not None else cached_body_of(exchange.native, attempt.room.max_body)
            body.read_into(attempt)
            self._read = True

    def _pass(self, layer: Layer, exchange: Exchange, asking: Flow[Proceed | Respond | Replay | None]) -> None:
        answer = self._mw.driver.run(asking)
        attend(self._mw.driver, layer.rooms, exchange)
        if isinstance(answer, Respond):
            self._refusal = answer.refusal
            raise raised(answer)
        if isinstance(answer, Replay):
            self.replays = True
            raise raised(answer)


def leave(tokens: Tokens) -> None:
    """Give back what an ``enter`` found."""
    here, there = tokens
    GATE.reset(there)
    CURRENT.reset(here)


def translated(request: Request) -> HttpRequest:
    """Flask's request as the layer has it."""
    headers = Fields(tuple(request.headers))
    return HttpRequest(
        method=request.method,
        path=request.path,
        query=request.query_string.decode("latin-1"),
        scheme=request.scheme,
        host=headers.get("host") or "",
        headers=headers,
        client=request.remote_addr,
    )
