"""One request on its way through redis-mw: asked for before the view, told on its response, settled after it."""

from contextvars import Token
from math import ceil
from typing import Any, Self, TypeAlias

from flask.wrappers import Request, Response

from redis_mw.faces.attending import attend
from redis_mw.faces.limits import RequestLimits
from redis_mw.faces.sync import RedisMW
from redis_mw.http.request import Fields
from redis_mw.http.request import Request as HttpRequest
from redis_mw.layer.exchange import Exchange, Replay, Respond
from redis_mw.layer.layer import Layer
from redis_mw.policy.current import CURRENT, GATE, Context, Gate
from redis_mw.policy.marks import Placed
from redis_mw_flask.refusals import raised

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
        self._mw = mw
        self._routed = self._opened = self._finished = False

    @classmethod
    def of(cls, environ: dict[str, Any], mw: RedisMW) -> Self:
        """That of the request with this environment."""
        found: Self | None = environ.get(KEY)
        if found is None:
            found = environ[KEY] = cls(mw)
        return found

    def begin(self, layer: Layer, exchange: Exchange, session: Any = None) -> None:
        """The exchange has begun: application code may know of it from here on."""
        self.layer, self.exchange = layer, exchange
        limits = RequestLimits(self._mw.limits, layer, exchange) if layer.rooms.limits is not None else None
        self.context = Context(self._mw, session, limits)

    @property
    def begun(self) -> tuple[Layer, Exchange]:
        """The layer and the exchange of a passage that has begun."""
        assert self.layer is not None
        assert self.exchange is not None
        return self.layer, self.exchange

    def route(self, marks: tuple[Placed, ...], route: str) -> None:
        """Flask has routed it: the marks of the view that will answer, and its endpoint; said once."""
        layer, exchange = self.begun
        if not self._routed:
            self._routed = True
            layer.routed(exchange, marks, route)

    def open(self) -> None:
        """Ask what has to be asked before the view runs, once; raises what refuses the request."""
        layer, exchange = self.begun
        if self._opened:
            return
        self._opened = True
        if exchange.asks or exchange.policy.mode == "require":
            outcome = self._mw.driver.run(layer.open(exchange, eager=False))
            self._attend(layer)
            if isinstance(outcome, (Respond, Replay)):
                raise raised(outcome)

    def enter(self) -> Tokens:
        """Be what ``redis_mw.current()`` finds, and the gate of decorated views, until ``leave``."""
        return CURRENT.set(self.context), GATE.set(self)

    def hold(self, placed: Placed) -> None:
        """Enforce a mark that nobody saw before the view was called, at a round trip of its own."""
        layer, exchange = self.begun
        if placed.mark in exchange.held:
            return
        answer = self._mw.driver.run(layer.hold(exchange, placed))
        self._attend(layer)
        if answer is not None:
            raise raised(answer)

    async def ahold(self, placed: Placed) -> None:
        """The same for an asynchronous view: its loop has nothing else to do, so it may wait."""
        self.hold(placed)

    def seal(self, response: Response) -> None:
        """Tell of the limits on the response that is sent, whoever made it, and remember it for the settling."""
        exchange = self.exchange
        if exchange is None or self.layer is None:
            return
        exchange.status, exchange.answer = response.status_code, response
        if exchange.tally is None:
            return
        for name, value in self.layer.fields(exchange):
            response.headers[name] = value
        refused = exchange.tally.refused
        if refused is not None and refused.retry_after is not None and refused.status == response.status_code:
            # An error handler of the application's that answers need not think of it.
            _ = response.headers.setdefault("Retry-After", str(max(1, ceil(refused.retry_after))))

    def keeps(self, exchange: Exchange) -> bool:
        """Whether what this exchange leaves to do will be done when the body has been sent."""
        return self.around and self.exchange is exchange

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

    def _attend(self, layer: Layer) -> None:
        if self.exchange is not None:
            attend(self._mw.driver, layer.rooms, self.exchange)


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
