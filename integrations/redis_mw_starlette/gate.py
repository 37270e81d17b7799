"""The gate of one request: has the marks of a view enforced that were not seen before the view was called."""

from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.faces.attending import attend
from redis_mw.layer.exchange import Exchange
from redis_mw.layer.layer import Layer
from redis_mw.policy.marks import Placed


class Gate:
    """What decorated endpoints ask before they run; ``hold`` in threads (plain ``def``), ``ahold`` on the loop."""

    def __init__(self, mw: AsyncRedisMW, layer: Layer, exchange: Exchange) -> None:
        self._mw = mw
        self._layer = layer
        self._exchange = exchange

    def hold(self, placed: Placed) -> None:
        if placed.mark in self._exchange.held:
            return
        driver = self._mw.sync.driver
        refused = driver.run(self._layer.hold(self._exchange, placed))
        if self._layer.limits is not None:
            attend(driver, self._layer.limits)
        if refused is not None:
            raise refused

    async def ahold(self, placed: Placed) -> None:
        if placed.mark in self._exchange.held:
            return
        refused = await self._mw.driver.run(self._layer.hold(self._exchange, placed))
        if self._layer.limits is not None:
            attend(self._mw.driver, self._layer.limits)
        if refused is not None:
            raise refused
