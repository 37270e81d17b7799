"""Who sent a request, in all the ways in which policies tell senders apart, and what fills their templates."""

from collections.abc import Callable, Mapping

from redis_mw.http.address import Proxies, client_address, parsed
from redis_mw.http.request import Request
from redis_mw.layer.exchange import Exchange
from redis_mw.limits.watch import ProxyWatch
from redis_mw.policy.caller import Caller
from redis_mw.policy.templates import Fill, Template
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

    def trusts(self, request: Request) -> bool:
        """Whether the request came through a proxy that is believed."""
        return bool(self._proxies) and self._proxies.trusts(parsed(request.client) if request.client else None, 0)

    def caller(self, exchange: Exchange, *, by_session: bool = True) -> Caller:
        """All that is known of who sent it; the session's name, which is a hash, only where it is needed."""
        return Caller(
            address=self.address(exchange.request),
            headers=exchange.request.headers,
            user=user_of(exchange),
            session=_session(exchange) if by_session else None,
            route=exchange.route,
            native=exchange.native,
        )


def filling(exchange: Exchange, parameters: Mapping[str, str], *, apart: bool = False) -> Fill:
    """What fills the templates of a policy whose path has these parameters.

    What a rule reads in the path is text; where the framework's own route has a parameter of that name, its value is
    taken as the view gets it, so that ``/orders/7`` and ``/orders/007`` lock the same order.
    """

    def fill(template: Template) -> str | None:
        values: dict[str, str | None] = {
            name: exchange.parameters.get(name, value) for name, value in parameters.items()
        }
        for name, known in KNOWN.items():
            if name in template.names and name not in values:
                values[name] = known(exchange)
        return template.fill(values, apart=apart)

    return fill


def user_of(exchange: Exchange) -> str | None:
    """Whose the session is, as far as it has been read."""
    visit = exchange.visit
    return visit.user_id if visit is not None and visit.loaded else None


def _session(exchange: Exchange) -> str | None:
    """The hashed id of the session that the cookie names."""
    visit = exchange.visit
    return name_of(visit.id) if visit is not None and visit.id is not None else None


KNOWN: dict[str, Callable[[Exchange], str | None]] = {"user": user_of, "session": _session}
