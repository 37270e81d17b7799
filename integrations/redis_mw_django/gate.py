"""The gate of one request: has the marks of a view enforced that were not counted before the view was called."""

from collections.abc import Iterable

from redis_mw.layer.exchange import raised
from redis_mw.policy.marks import Placed
from redis_mw_django.arrival import Arrival
from redis_mw_django.routes import route_of


class Gate:
    """What decorated views ask before they run: ``hold`` in threads, ``ahold`` on the event loop.

    ``hold`` may be called on a loop, too, by a class-based view whose ``dispatch`` is not async: it then waits there.
    """

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self._application = arrival.application
        self._layer = arrival.application.layer

    def hold(self, placed: Placed, *more: Placed) -> None:
        """Count what was not counted yet, in one trip; raises ``Refused`` where the request must not pass."""
        late = self._late((placed, *more))
        if late:
            answer = self._application.run(self._layer.hold(self.arrival.exchange, *late))
            self.arrival.attend()
            if answer is not None:
                raise raised(answer)

    async def ahold(self, placed: Placed, *more: Placed) -> None:
        """The same on the event loop."""
        late = self._late((placed, *more))
        if late:
            answer = await self._application.arun(self._layer.hold(self.arrival.exchange, *late))
            self.arrival.attend()
            if answer is not None:
                raise raised(answer)

    def _late(self, placed: Iterable[Placed]) -> list[Placed]:
        """What was not counted. Django knows the route by now, whoever chose it."""
        exchange = self.arrival.exchange
        late = [each for each in placed if each.mark not in exchange.held]
        match = exchange.native.resolver_match
        if late and match is not None:
            exchange.route = route_of(match)
        return late
