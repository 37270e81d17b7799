"""The layer itself: the features of one application, opened and closed around each of its requests.

It hands flows back and runs none; an integration or a face does, on the driver of its colour. Of the features sessions
and limits are built yet; the others join them in ``open`` and ``commit``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from redis_mw.errors import Refused, SessionLimitReached
from redis_mw.flows import Flow, together
from redis_mw.http.address import Proxies, client_address, shortened
from redis_mw.http.cookies import SetCookie
from redis_mw.http.request import Request
from redis_mw.layer.cookie import SessionCookie
from redis_mw.layer.exchange import Committed, Exchange, Proceed, Respond, respond, unavailable
from redis_mw.limits import room as limits
from redis_mw.limits.caller import Caller
from redis_mw.limits.entry import Entry, by_of
from redis_mw.limits.tally import Tally
from redis_mw.limits.verdict import Explanation
from redis_mw.limits.watch import ProxyWatch
from redis_mw.policy.marks import Mark, Placed
from redis_mw.policy.table import Table
from redis_mw.sessions.agent import Agent
from redis_mw.sessions.ids import name_of
from redis_mw.sessions.room import Room
from redis_mw.sessions.visit import Closed, Issue, Visit, Withdraw
from redis_mw.settings import Settings


class Layer:
    """What one application has of redis-mw: its rules, its sessions (``room``, with their cookie) or none, its limits
    or none.
    """

    def __init__(
        self, settings: Settings, room: Room | None, cookie: SessionCookie, limited: limits.Room | None = None
    ) -> None:
        self.settings = settings
        self.room = room
        self.cookie = cookie
        self.limits = limited
        self.table = Table(settings, limited.entry if limited is not None else None)
        self._marked: dict[tuple[Mark, str], Entry] = {}
        self._proxies = Proxies.of(settings.trusted_proxies)
        self._watch = ProxyWatch(self._proxies)

    @property
    def needs_routes(self) -> bool:
        """Whether a rule counts by the route, so that it has to be known before the application runs."""
        found = [*(self.settings.limits.default if self.settings.limits is not None else [])]
        found += [limit for rule in self.settings.rules for limit in rule.limits]
        return any(not isinstance(limit, str) and "route" in by_of(limit) for limit in found)

    def begin(
        self, request: Request, *cookies: str | None, marks: Iterable[Placed] = (), native: Any = None, route: str = ""
    ) -> Exchange:
        """Verify the session cookie and say which policies hold. Costs no command; a junk cookie never does.

        Where several cookies of the name came, the first that verifies counts: junk planted by a sibling domain hides
        nothing. ``marks`` are those of the view that will answer, ``native`` the framework's own request, ``route`` the
        framework's name for the place the request goes to.
        """
        session, entries = self.table.policies(request.method, request.path)
        exchange = Exchange(request, session, native=native)
        if self.limits is not None and not _is_preflight(request):
            exchange.entries = entries
        self.routed(exchange, marks, route)
        if self.room is None:
            return exchange

        def agent() -> Agent:
            address = self._address(request)
            return Agent(request.headers.get("user-agent") or "", shortened(address) if address else "")

        if session.mode == "skip":
            exchange.visit = Visit(self.room, None, agent=agent)
            exchange.visit.skipped = True
            return exchange
        id, stale = None, False
        if any(cookies) and self.room.signer is not None:
            verified = next(filter(None, map(self.room.signer.verify, filter(None, cookies))), None)
            if verified is None:
                self.room.store.events.emit("session.rejected", outcome="signature")
            else:
                id, stale = verified.id, verified.stale
        exchange.visit = Visit(self.room, id, stale=stale, agent=agent, touch=session.touch)
        return exchange

    def routed(self, exchange: Exchange, marks: Iterable[Placed], route: str) -> None:
        """Say which view will answer, where that was not known yet when the exchange began; before ``open``."""
        exchange.route = route
        if self.limits is None or _is_preflight(exchange.request):
            return
        for placed in marks:
            exchange.held.add(placed.mark)
            exchange.entries += (self._entry(exchange, placed),)

    def open(self, exchange: Exchange, *, eager: bool) -> Flow[Proceed | Respond]:
        """Ask Redis for what the request needs, in one trip. ``eager`` loads the session although nobody asked yet.

        Where limits are asked, a session with a good cookie rides along. A limit that counts by the user, or lists of
        the settings that name users, need the session first: one trip more.
        """
        visit, required = exchange.visit, exchange.policy.mode == "require"
        if exchange.entries:
            refusal = yield from self._limit(exchange, exchange.entries)
            if refusal is not None:
                return respond(exchange, refusal)
        if visit is not None and (eager or required):
            if not visit.loaded and visit.away is None:
                _ = yield from together(visit.load())
            if required and visit.away is not None:
                return unavailable(exchange, visit.away.retry_after)
        return Proceed()

    def hold(self, exchange: Exchange, *placed: Placed) -> Flow[Refused | None]:
        """Enforce the marks of a view that nobody saw in time; why the request must not pass, or None."""
        late = [each for each in placed if each.mark not in exchange.held]
        if not late or self.limits is None:
            return None
        exchange.held.update(each.mark for each in late)
        if _is_preflight(exchange.request):
            return None
        return (yield from self._limit(exchange, tuple([self._entry(exchange, each) for each in late])))

    def _limit(self, exchange: Exchange, entries: tuple[Entry, ...]) -> Flow[Refused | None]:
        """Ask these limits, all or none of which are taken from; the session rides along where a batch goes out."""
        visit, room = exchange.visit, self.limits
        assert room is not None
        unread = visit if visit is not None and not visit.loaded and visit.away is None else None
        if unread is not None and (room.lists_users or any(entry.needs_user for entry in entries)):
            _ = yield from together(unread.load())
            unread = None
        caller, tally = self.caller_of(exchange, entries), exchange.tally
        if tally is None:
            tally = exchange.tally = Tally(room, caller)
        tally.caller = caller  # what is asked later may need the session's user, which was not known before
        asks = tally.begin(entries, exchange.request.method)
        if tally.refused is not None or not asks or tally.knows(asks):
            return tally.refused
        try:
            if unread is None:
                yield from tally.ask(asks)
            else:
                _ = yield from together(tally.ask(asks), unread.load())
        except BaseException:
            yield from tally.release()
            raise
        return tally.refused

    def caller_of(self, exchange: Exchange, entries: Iterable[Entry] | None = None) -> Caller:
        """Who sent this request, in all the ways in which these limits tell clients apart; in any, without them."""
        request, visit = exchange.request, exchange.visit
        by_session = entries is None or any("session" in entry.by for entry in entries)
        return Caller(
            address=self._address(request),
            headers=request.headers,
            user=visit.user_id if visit is not None and visit.loaded else None,
            session=name_of(visit.id) if by_session and visit is not None and visit.id is not None else None,
            route=exchange.route,
            native=exchange.native,
        )

    def _address(self, request: Request) -> str | None:
        address = client_address(request.client, request.headers, self._proxies)
        self._watch.saw(request, address)
        return address

    def _entry(self, exchange: Exchange, placed: Placed) -> Entry:
        """The limit of a mark. A view that a function has made is called like the others of its making, so its route
        tells it from them.
        """
        assert self.limits is not None
        place = f"{placed.place} {exchange.route}" if "<locals>" in placed.place else placed.place
        entry = self._marked.get((placed.mark, place))
        if entry is None:
            entry = self._marked[placed.mark, place] = self.limits.entry(placed.mark.policy, place)
        return entry

    def explain(self, exchange: Exchange) -> Flow[list[Explanation]]:
        """What each limit would say of this request; nothing is counted, and no list or policy of an outage asked."""
        visit = exchange.visit
        if self.limits is None:
            return []
        if visit is not None and not visit.loaded and visit.away is None:
            yield from visit.load()
        tally = Tally(self.limits, self.caller_of(exchange, exchange.entries))
        return (yield from tally.explain(exchange.entries, exchange.request.method))

    def commit(self, exchange: Exchange, data: Mapping[str, Any] | None) -> Flow[Committed]:
        """Write what the request did to its session; ``data`` as the handler left it, None if never looked at.

        Raises ``SessionTooLarge``, ``CannotEncode`` and ``SessionLimitReached``; nothing was written then.
        """
        visit = exchange.visit
        if visit is None:
            return Committed()
        (closed,) = yield from together(visit.close(data))
        exchange.after = closed.after
        return self.committed(exchange, closed)

    def committed(self, exchange: Exchange, closed: Closed) -> Committed:
        """What a closed session means for the response."""
        if closed.outcome == "refused" and exchange.visit is not None:
            raise SessionLimitReached(exchange.visit.room.max_sessions or 0)
        if closed.away is not None:
            return Committed(respond=unavailable(exchange, closed.away.retry_after))
        return Committed(self.set_cookie(exchange), lost=closed.outcome == "conflict")

    def set_cookie(self, exchange: Exchange) -> SetCookie | None:
        """The session cookie that this response has to carry, if any."""
        visit = exchange.visit
        if visit is None or visit.cookie is None or visit.room.signer is None:
            return None
        match visit.cookie:
            case Issue(id, max_age):
                return self.cookie.give(visit.room.signer.sign(id), max_age)
            case Withdraw():
                return self.cookie.withdraw()

    def fields(self, exchange: Exchange) -> list[tuple[str, str]]:
        """The fields that tell of the limits, for whatever response the request gets."""
        return exchange.tally.fields() if exchange.tally is not None else []

    def finishes(self, exchange: Exchange) -> bool:
        """Whether ``finish`` has anything to do."""
        return exchange.after is not None or (exchange.tally is not None and exchange.tally.took)

    def finish(self, exchange: Exchange) -> Flow[None]:
        """Clean up after the response, and settle the limits; never awaited by it, always run. May be run again."""
        after, exchange.after = exchange.after, None
        flows: list[Flow[Any]] = [after()] if after is not None else []
        if exchange.tally is not None:
            flows.append(exchange.tally.settle(exchange.status, exchange.answer))
        if flows:
            _ = yield from together(*flows)


def _is_preflight(request: Request) -> bool:
    """Whether a browser asks what another origin's page may do (Fetch, section 3.2.2): no request of anybody's yet."""
    return request.method == "OPTIONS" and request.headers.get("access-control-request-method") is not None
