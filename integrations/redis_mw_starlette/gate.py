"""What a request has of the limits: ``current().limits``, and the gate that decorated endpoints ask before they run."""

from starlette.requests import HTTPConnection
from starlette.types import Scope

from redis_mw.errors import Refused
from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.faces.attending import attend
from redis_mw.faces.limits import AsyncRequestLimits
from redis_mw.flows import Flow
from redis_mw.layer.exchange import Exchange
from redis_mw.layer.layer import Layer
from redis_mw.policy.marks import Placed


class Gate(AsyncRequestLimits):
    """One object for both, since every request has one. Marks that were counted before cost a look into a set."""

    def __init__(self, mw: AsyncRedisMW, layer: Layer, exchange: Exchange, scope: Scope) -> None:
        super().__init__(mw.limits if layer.limits is not None else None, layer, exchange)
        self._mw = mw
        self._scope = scope

    def hold(self, placed: Placed) -> None:
        """For plain ``def`` endpoints, which run in threads."""
        if placed.mark in self._exchange.held:
            return
        driver = self._mw.sync.driver
        refused = driver.run(self._late(placed))
        if self._layer.limits is not None:
            attend(driver, self._layer.limits)
        if refused is not None:
            raise refused

    async def ahold(self, placed: Placed) -> None:
        """For endpoints that run on the event loop."""
        if placed.mark in self._exchange.held:
            return
        refused = await self._mw.driver.run(self._late(placed))
        if self._layer.limits is not None:
            attend(self._mw.driver, self._layer.limits)
        if refused is not None:
            raise refused

    def _late(self, placed: Placed) -> Flow[Refused | None]:
        if self._exchange.native is None:
            self._exchange.native = HTTPConnection(self._scope)
        return self._layer.hold(self._exchange, placed)
