"""Who sent a request, in all the ways in which policies tell senders apart, and what fills their templates."""

from collections.abc import Iterable, Mapping

from redis_mw.http.address import Proxies, client_address
from redis_mw.http.request import Request
from redis_mw.idempotency.scope import Sender
from redis_mw.layer.exchange import Exchange
from redis_mw.limits.caller import Caller
from redis_mw.limits.entry import Entry
from redis_mw.limits.watch import ProxyWatch
from redis_mw.policy.templates import Fill
from redis_mw.sessions.ids import name_of


class Senders:
    """Tells who sent a request. A forwarded address counts only from a trusted proxy."""

    def __init__(self, trusted_proxies: list[str] | int) -> None:
        self._proxies = Proxies.of(trusted_proxies)
        self._watch = ProxyWatch(self._proxies)

    def address(self, request: Request) -> str | None:
        """The client's address, None where nobody knows it."""
        address = client_address(request.client, request.headers, self._proxies)
        self._watch.saw(request, address)
        return address

    def caller(self, exchange: Exchange, entries: Iterable[Entry] | None = None) -> Caller:
        """As these limits tell clients apart; in any way, without them."""
        by_session = entries is None or any("session" in entry.by for entry in entries)
        return Caller(
            address=self.address(exchange.request),
            headers=exchange.request.headers,
            user=_user(exchange),
            session=_session(exchange) if by_session else None,
            route=exchange.route,
            native=exchange.native,
        )

    def sender(self, exchange: Exchange) -> Sender:
        """As idempotency keys are kept apart."""
        return Sender(
            session=_session(exchange),
            address=self.address(exchange.request),
            user=_user(exchange),
            headers=exchange.request.headers,
            native=exchange.native,
        )


def filling(exchange: Exchange, parameters: Mapping[str, str] | None = None, *, apart: bool = False) -> Fill:
    """What fills the templates of a view, or with ``parameters`` those of a rule whose path has them.

    What a rule reads in the path is text; where the framework's own route has a parameter of that name, its value is
    taken as the view gets it, so that ``/orders/7`` and ``/orders/007`` lock the same order.
    """
    own = exchange.parameters
    if parameters is not None:
        own = {name: own.get(name, value) for name, value in parameters.items()}
    values = {"user": _user(exchange), "session": _session(exchange), **own}
    return lambda template: template.fill(values, apart=apart)


def _user(exchange: Exchange) -> str | None:
    visit = exchange.visit
    return visit.user_id if visit is not None and visit.loaded else None


def _session(exchange: Exchange) -> str | None:
    """The hashed id of the session that the cookie names."""
    visit = exchange.visit
    return name_of(visit.id) if visit is not None and visit.id is not None else None
