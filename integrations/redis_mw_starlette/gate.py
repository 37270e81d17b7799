"""The gate that decorated endpoints ask before they run: has marks enforced that nobody saw in time."""

from anyio import from_thread
from starlette.requests import HTTPConnection, Request
from starlette.types import Scope

from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.faces.attending import Driver, attend
from redis_mw.faces.holding import Holding
from redis_mw.faces.limits import AsyncRequestLimits
from redis_mw.idempotency.attempt import Attempt
from redis_mw.layer.exchange import Exchange, Replay, Respond, raised
from redis_mw.layer.layer import Layer
from redis_mw.policy.marks import Placed
from redis_mw_starlette.body import Body
from redis_mw_starlette.keeper import Keeper


class Gate(AsyncRequestLimits):
    """One object for this and for ``current().limits``, since every request has one. Marks that were asked before cost
    a look into a set.
    """

    def __init__(
        self,
        mw: AsyncRedisMW,
        layer: Layer,
        exchange: Exchange,
        scope: Scope,
        body: Body | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        super().__init__(mw.limits if layer.rooms.limits is not None else None, layer, exchange)
        self._mw = mw
        self._scope = scope
        self._body = body
        self._keeper = keeper
        self.holding: Holding | None = None
        """What cancels the request when it loses a lock, where a policy says so."""

    def watch(self) -> None:
        """See to what the request holds; the task that runs now is the one to be cancelled."""
        if any(turn.cancels for turn in self._exchange.turns):
            self.holding = self.holding or Holding(self._exchange)
            self.holding.watch()

    def hold(self, placed: Placed) -> None:
        """For plain ``def`` endpoints, which run in threads."""
        if self._exchange.passed(placed.mark):
            return
        attempt, driver = self._late(placed), self._mw.sync.driver
        if attempt is not None and self._body is not None:
            from_thread.run(self._body.read_into, attempt)
        unseen = self._unseen
        self._passed(driver, driver.run(self._layer.hold(self._exchange, unseen=unseen)), unseen)

    async def ahold(self, placed: Placed) -> None:
        """For endpoints that run on the event loop."""
        if self._exchange.passed(placed.mark):
            return
        attempt, driver = self._late(placed), self._mw.driver
        if attempt is not None and self._body is not None:
            await self._body.read_into(attempt)
        unseen = self._unseen
        self._passed(driver, await driver.run(self._layer.hold(self._exchange, unseen=unseen)), unseen)
        self.watch()

    @property
    def records(self) -> bool:
        """Whether the response will have to be kept."""
        return self._layer.closing.records(self._exchange)

    @property
    def _unseen(self) -> bool:
        """Whether nobody has looked at the session yet, so that it may be read again."""
        return self._keeper is not None and not self._keeper.session.accessed

    def _late(self, placed: Placed) -> Attempt | None:
        """Take in the mark; the attempt that still has to be told the body, if there is one."""
        exchange = self._exchange
        if exchange.native is None:
            exchange.native = (Request if self._scope["type"] == "http" else HTTPConnection)(self._scope)
        read = {name: str(value) for name, value in self._scope.get("path_params", {}).items()}
        self._layer.routed(exchange, [placed], exchange.route, {**read, **exchange.parameters})
        attempt = self._layer.attempt_of(exchange)
        return attempt if attempt is not None and attempt.outcome is None else None

    def _passed(self, driver: Driver, answer: Respond | Replay | None, unseen: bool) -> None:
        attend(driver, self._layer.rooms, self._exchange)
        if answer is not None:
            raise raised(answer)
        if unseen and self._keeper is not None:
            self._keeper.session.refresh()
