"""The gate of one request: has the marks of a view enforced that nobody saw before the view was called."""

from collections.abc import Iterable

from redis_mw.layer.exchange import Replay, Respond, raised
from redis_mw.policy.marks import Placed
from redis_mw.settings import Idempotent
from redis_mw_django.arrival import Arrival
from redis_mw_django.body import read_into
from redis_mw_django.routes import parameters_of, route_of
from redis_mw_django.sessions import SessionStore, session_of


class Gate:
    """What decorated views ask before they run: ``hold`` in threads, ``ahold`` on the event loop.

    ``hold`` may be called on a loop, too, by a class-based view whose ``dispatch`` is not async: it then waits there.
    """

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self._application = arrival.application
        self._layer = arrival.application.layer

    def hold(self, placed: Placed) -> None:
        """Ask what was not asked yet; raises what refuses the request, or answers it."""
        self.ask(placed)
        self._reached(placed)

    async def ahold(self, placed: Placed) -> None:
        """The same on the event loop."""
        await self.aask(placed)
        self._reached(placed)

    def ask(self, *placed: Placed) -> None:
        """Ask all that was not asked yet in one trip, before the view is called."""
        if self._takes_in(placed):
            unseen = self._unseen()
            answer = self._application.run(self._layer.hold(self.arrival.exchange, unseen=unseen is not None))
            self._passed(answer, unseen)

    async def aask(self, *placed: Placed) -> None:
        """The same on the event loop."""
        if self._takes_in(placed):
            unseen = self._unseen()
            answer = await self._application.arun(self._layer.hold(self.arrival.exchange, unseen=unseen is not None))
            self._passed(answer, unseen)
            if self.arrival.holding is not None:
                self.arrival.holding.watch()

    def _takes_in(self, placed: Iterable[Placed]) -> bool:
        """Whether there is a mark that was not asked yet. Django knows the route by now, whoever chose it."""
        exchange = self.arrival.exchange
        late = [each for each in placed if not exchange.passed(each.mark)]
        if not late:
            return False
        match, route, parameters = exchange.native.resolver_match, exchange.route, exchange.parameters
        if match is not None:
            route, parameters = route_of(match), parameters_of(match)
        self._layer.routed(exchange, late, route, parameters)
        attempt = self._layer.attempt_of(exchange)
        if attempt is not None and attempt.outcome is None:
            read_into(attempt, exchange.native)
        return True

    def _reached(self, placed: Placed) -> None:
        """The view that may run once is about to."""
        self.arrival.reached = self.arrival.reached or isinstance(placed.mark.policy, Idempotent)

    def _unseen(self) -> SessionStore | None:
        """The session, if nobody has looked at it yet, so that it may be read again under a lock."""
        session = session_of(self.arrival.exchange.native)
        return session if session is not None and not session.looked_at else None

    def _passed(self, answer: Respond | Replay | None, unseen: SessionStore | None) -> None:
        self.arrival.attend()
        if unseen is not None:
            unseen.refresh()
        if answer is not None:
            raise raised(answer)
