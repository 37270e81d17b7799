"""The layer itself: the features of one application, opened and closed around each of its requests.

It hands flows back and runs none; an integration or a face does, on the driver of its colour.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from redis_mw.caching.pages.entry import Entry as Cached
from redis_mw.caching.pages.hidden import Hidden
from redis_mw.caching.pages.served import Served
from redis_mw.errors import SessionLimitReached
from redis_mw.flows import Flow, begun, done, together
from redis_mw.http.address import shortened
from redis_mw.http.cookies import SetCookie
from redis_mw.http.request import Request
from redis_mw.idempotency.attempt import Attempt
from redis_mw.idempotency.entry import Entry as Claimed
from redis_mw.idempotency.response import Stored
from redis_mw.layer.closing import Closing
from redis_mw.layer.cookie import SessionCookie
from redis_mw.layer.entries import Entries
from redis_mw.layer.exchange import (
    Committed,
    Exchange,
    Follow,
    Opened,
    Proceed,
    Replay,
    Respond,
    Response,
    of_page,
    replayed,
    respond,
    unavailable,
)
from redis_mw.layer.opening import Answer, Opening
from redis_mw.layer.rooms import Rooms
from redis_mw.layer.senders import Senders
from redis_mw.limits.entry import Entry as Limited
from redis_mw.limits.tally import Tally
from redis_mw.limits.verdict import Explanation
from redis_mw.locks.entry import Entry as Locked
from redis_mw.policy.caller import Caller
from redis_mw.policy.marks import Placed
from redis_mw.policy.table import NO_PARAMETERS
from redis_mw.sessions.agent import Agent
from redis_mw.sessions.room import Room
from redis_mw.sessions.visit import Closed, Issue, Visit, Withdraw
from redis_mw.settings import Settings

NO_ROOMS = Rooms()


class Layer:
    """What one application has of redis-mw: its rules, its sessions (``room``, with their cookie) or none, and the
    ``rooms`` of its other features.

    ``csrf_cookies`` are those by which the framework knows who has sent a form: their use is told by ``csrf`` of the
    exchange. ``kept_fields`` are the forwarding fields that it makes the URL of a request of.
    """

    def __init__(
        self,
        settings: Settings,
        room: Room | None,
        cookie: SessionCookie,
        rooms: Rooms = NO_ROOMS,
        *,
        csrf_cookies: Iterable[str] = (),
        kept_fields: Iterable[str] = (),
    ) -> None:
        self.settings = settings
        self.room = room
        self.cookie = cookie
        self.rooms = rooms
        self._entries = Entries(settings, rooms)
        self.closing = Closing(rooms.caching, self._entries)
        self._senders = Senders(settings.trusted_proxies)
        self._opening = Opening(
            rooms,
            self._senders,
            apart=settings.url_of("locks") != settings.url_of("sessions"),
            own_cookies=frozenset((cookie.name, *csrf_cookies)),
            kept_fields=frozenset(kept_fields),
        )

    @property
    def needs_routes(self) -> bool:
        """Whether a rule depends on the route, so that it has to be known before the application runs."""
        return self._entries.needs_routes

    @property
    def reads_marks(self) -> bool:
        """Whether there is anything that the marks of a view could ask for."""
        rooms = self.rooms
        return any(room is not None for room in rooms)

    def caches(self, path: str, marks: Iterable[Placed]) -> bool:
        """Whether responses to a GET for this path may be kept, which a view with these marks would answer."""
        return self._entries.caches(path, marks)

    def begin(
        self,
        request: Request,
        *cookies: str | None,
        marks: Iterable[Placed] = (),
        native: Any = None,
        route: str = "",
        parameters: Mapping[str, str] = NO_PARAMETERS,
    ) -> Exchange:
        """Verify the session cookie and say which policies hold. Costs no command; a junk cookie never does.

        Where several cookies of the name came, the first that verifies counts: junk planted by a sibling domain hides
        nothing. ``marks`` are those of the view that will answer, ``native`` the framework's own request, ``route`` the
        framework's name for the place the request goes to, ``parameters`` what it reads in the path.
        """
        policies = self._entries.of_rules(request.method, request.path)
        session = policies.session
        exchange = Exchange(request, session, native=native)
        if not _is_preflight(request):
            exchange.entries, exchange.ruled = policies.limits, policies
        self.routed(exchange, marks, route, parameters)
        if self.room is None:
            return exchange

        def agent() -> Agent:
            address = self._senders.address(request)
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

    def routed(
        self,
        exchange: Exchange,
        marks: Iterable[Placed],
        route: str,
        parameters: Mapping[str, str] = NO_PARAMETERS,
    ) -> None:
        """Say which view will answer, where that was not known yet when the exchange began; before ``open``, or, for
        marks that nobody saw in time, before ``hold``.
        """
        exchange.route, exchange.parameters = route, parameters
        late = [each for each in marks if each.mark not in exchange.held and each.mark not in exchange.seen]
        if not late or _is_preflight(exchange.request):
            exchange.held.update(each.mark for each in late)
            return
        for placed in late:
            match self._entries.of_mark(placed, route):
                case Limited() as entry:
                    exchange.entries += (entry,)
                case Locked() as entry if entry.holds_for(exchange.request.method):
                    exchange.locks += (entry,)
                case Claimed() as entry if entry.holds_for(exchange.request.method):
                    exchange.claims += (entry,)
                case Cached() as entry if entry.holds_for(exchange.request.method):
                    exchange.pages += (entry,)
                case _:
                    exchange.held.add(placed.mark)  # it asks nothing of this request
                    continue
            exchange.seen.add(placed.mark)

    def attempt_of(self, exchange: Exchange) -> Attempt | None:
        """What the request's idempotency key asks for: the adapter reads its body into it before ``open`` or ``hold``.

        None where there is no key, or nobody asked for one; costs no command.
        """
        return self._opening.attempt_of(exchange)

    def local(self, exchange: Exchange) -> Response | None:
        """The page that this process has in its memory, where nothing else is to be asked; no command. Then ``open``
        need not be run.
        """
        served = self._opening.local(exchange)
        if served is None:
            return None
        exchange.turned = of_page(served)
        return exchange.turned.response

    def open(self, exchange: Exchange, *, eager: bool) -> Flow[Opened]:
        """Ask Redis for what the request needs, in one trip. ``eager`` loads the session although nobody asked yet.

        Where anything is asked, a session with a good cookie rides along. What is told apart by the user, and lists of
        the settings that name users, need the session first: one trip more.
        """
        if exchange.asks:
            answer = yield from self._turned(exchange, self._opening.ask(exchange))
            if answer is not None:
                return answer
        return (yield from self._opened(exchange, eager=eager))

    def follow(self, exchange: Exchange, *, ended: bool, eager: bool) -> Flow[Opened]:
        """Go on after a ``Follow``: its flight has ``ended``, or the time for that is over."""
        answer = yield from self._turned(exchange, self._opening.go_on(exchange, ended=ended))
        return answer if answer is not None else (yield from self._opened(exchange, eager=eager))

    def _opened(self, exchange: Exchange, *, eager: bool) -> Flow[Opened]:
        visit, required = exchange.visit, exchange.policy.mode == "require"
        if exchange.lookup is not None and exchange.lookup.follows is not None:
            return Follow(exchange.lookup.follows, exchange.lookup.room.wait_s)
        if visit is not None and (eager or required):
            if not visit.loaded and visit.away is None:
                _ = yield from together(visit.load())
            if required and visit.away is not None:
                exchange.turned = unavailable(exchange, visit.away.retry_after)
                return exchange.turned
        return Proceed()

    def refresh(self, exchange: Exchange) -> Exchange | None:
        """The request by which the page that has just been served is made anew, None where it need not be.

        Nobody has sent it: it has no cookies and no credentials, nothing is asked for it, and its response goes nowhere
        but into the cache. To be answered by the application, in the background; once.
        """
        lookup = exchange.lookup
        if lookup is None or not lookup.refreshes:
            return None
        visit = Visit(self.room, None) if self.room is not None else None
        refreshing = lookup.refresh()
        return Exchange(
            refreshing.request,
            exchange.policy,
            visit,
            native=exchange.native,
            route=exchange.route,
            parameters=exchange.parameters,
            lookup=refreshing,
            refreshing=True,
        )

    def hidden(self, exchange: Exchange) -> Hidden | None:
        """What the application must not see of the request, once it may run; None where it may see all of it."""
        return self._opening.hidden(exchange)

    def hold(self, exchange: Exchange, *placed: Placed, unseen: bool = False) -> Flow[Respond | Replay | None]:
        """Enforce the marks of a view that nobody saw in time; what is answered instead of by the view, or None.

        Whoever asks again, once the request was turned away, is told the same: nothing runs because it was tried
        twice. ``unseen`` says that nobody has looked at the session yet: then it is read again under a lock.
        """
        if exchange.broken is not None:
            raise exchange.broken
        if exchange.turned is not None or exchange.refreshing:
            return exchange.turned
        self.routed(exchange, placed, exchange.route, exchange.parameters)
        return (yield from self._turned(exchange, self._opening.ask(exchange, late=not unseen, begun=True)))

    def _turned(self, exchange: Exchange, asking: Flow[Answer | None]) -> Flow[Respond | Replay | None]:
        try:
            answer = yield from asking
        except BaseException as error:
            exchange.broken = error
            raise
        exchange.held |= exchange.seen
        exchange.seen.clear()
        match answer:
            case None:
                pass
            case Stored():
                exchange.turned = replayed(answer)
            case Served():
                exchange.turned = of_page(answer)
            case _:
                exchange.turned = respond(exchange, answer)
        return exchange.turned

    def caller_of(self, exchange: Exchange) -> Caller:
        """Who sent this request, in all the ways in which limits tell clients apart."""
        return self._senders.caller(exchange)

    def explain(self, exchange: Exchange) -> Flow[list[Explanation]]:
        """What each limit would say of this request; nothing is counted, and no list or policy of an outage asked."""
        visit = exchange.visit
        room = self.rooms.limits
        if room is None:
            return []
        if visit is not None and not visit.loaded and visit.away is None:
            yield from visit.load()
        tally = Tally(room, self._senders.caller(exchange))
        return (yield from tally.explain(exchange.entries, exchange.request.method))

    def commit(self, exchange: Exchange, data: Mapping[str, Any] | None, whole: bytes | None = None) -> Flow[Committed]:
        """Write what the request did to its session; ``data`` as the handler left it, None if never looked at.

        ``whole`` is the body of the response, if all of it is known and it has to be recorded: then that is done in the
        same batch, and so is all else that ``closing.close`` does. Raises ``SessionTooLarge``, ``CannotEncode`` and
        ``SessionLimitReached``; nothing was written then.
        """
        visit = exchange.visit
        closing: list[Flow[Any]] = []
        if visit is not None:
            # What cannot be written is no reason for saying that the request has run: known before anything is sent.
            binds = visit.binds(data)
            closing.append(begun(visit.close(data)))
            if binds:  # that may be refused
                closing = [done(_written(exchange, (yield from closing[0])))]
        if whole is not None or self.closing.closes(exchange):
            closing.append(self.closing.close(exchange, whole))
        if visit is None:
            _ = yield from together(*closing)
            return Committed()
        closed = _written(exchange, (yield from together(*closing))[0])
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
        """The fields that tell of the limits and of the cache, for whatever response the request gets."""
        limits = exchange.tally.fields() if exchange.tally is not None else []
        return [*limits, *self.closing.fields(exchange)]

    def finishes(self, exchange: Exchange) -> bool:
        """Whether ``finish`` has anything to do."""
        tally, attempt = exchange.tally, exchange.attempt
        return (
            exchange.after is not None
            or (tally is not None and tally.took)
            or (attempt is not None and attempt.settles)
            or any(turn.settles for turn in exchange.turns)
            or (exchange.lookup is not None and exchange.lookup.settles)
        )

    def finish(self, exchange: Exchange) -> Flow[None]:
        """Clean up after the response, settle the limits, give back locks; never awaited by it, always run.

        A key whose response was cut off is completed without its body; that of a request which never answered is given
        back. May be run again.
        """
        after, exchange.after = exchange.after, None
        flows: list[Flow[Any]] = [after()] if after is not None else []
        if exchange.tally is not None:
            flows.append(exchange.tally.settle(exchange.status, exchange.answer))
        flows += [turn.settle() for turn in exchange.turns if turn.settles]
        if exchange.lookup is not None and exchange.lookup.settles:
            flows.append(exchange.lookup.settle())
        if exchange.attempt is not None and exchange.attempt.settles:
            flows.append(self._settled(exchange, exchange.attempt))
        if flows:
            _ = yield from together(*flows)

    def _settled(self, exchange: Exchange, attempt: Attempt) -> Flow[None]:
        if exchange.started and exchange.attempt is not None and not exchange.stopped:
            yield from exchange.attempt.complete(exchange.status, exchange.headers, None)
        yield from attempt.settle()


def _written(exchange: Exchange, closed: Closed) -> Closed:
    exchange.after = closed.after
    if closed.outcome == "refused" and exchange.visit is not None:
        raise SessionLimitReached(exchange.visit.room.max_sessions or 0)
    return closed


def _is_preflight(request: Request) -> bool:
    """Whether a browser asks what another origin's page may do (Fetch, section 3.2.2): no request of anybody's yet."""
    return request.method == "OPTIONS" and request.headers.get("access-control-request-method") is not None
