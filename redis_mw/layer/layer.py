"""The layer itself: the features of one application, opened and closed around each of its requests.

It hands flows back and runs none; an integration or a face does, on the driver of its colour. Of the features only
sessions are built yet, so ``together`` merges one flow here; the others join it in ``open`` and ``commit``.
"""

from collections.abc import Mapping
from typing import Any

from redis_mw.errors import SessionLimitReached
from redis_mw.flows import Flow, together
from redis_mw.http.address import Proxies, client_address, shortened
from redis_mw.http.cookies import SetCookie
from redis_mw.http.request import Request
from redis_mw.layer.cookie import SessionCookie
from redis_mw.layer.exchange import Committed, Exchange, Proceed, Respond, unavailable
from redis_mw.policy.table import Table
from redis_mw.sessions.agent import Agent
from redis_mw.sessions.room import Room
from redis_mw.sessions.visit import Closed, Issue, Visit, Withdraw
from redis_mw.settings import Settings


class Layer:
    """What one application has of redis-mw: its rules, its sessions (``room``, with their cookie) or none."""

    def __init__(self, settings: Settings, room: Room | None, cookie: SessionCookie) -> None:
        self.settings = settings
        self.table = Table(settings)
        self.room = room
        self.cookie = cookie
        self._proxies = Proxies.of(settings.trusted_proxies)

    def begin(self, request: Request, *cookies: str | None) -> Exchange:
        """Verify the session cookie and say which policies hold. Costs no command; a junk cookie never does.

        Where several cookies of the name came, the first that verifies counts: junk planted by a sibling domain hides
        nothing.
        """
        policy = self.table.session_policy(request.method, request.path)
        if self.room is None:
            return Exchange(request, policy)

        def agent() -> Agent:
            address = client_address(request.client, request.headers, self._proxies)
            return Agent(request.headers.get("user-agent") or "", shortened(address) if address else "")

        if policy.mode == "skip":
            visit = Visit(self.room, None, agent=agent)
            visit.skipped = True
            return Exchange(request, policy, visit)
        id, stale = None, False
        if any(cookies) and self.room.signer is not None:
            verified = next(filter(None, map(self.room.signer.verify, filter(None, cookies))), None)
            if verified is None:
                self.room.store.events.emit("session.rejected", outcome="signature")
            else:
                id, stale = verified.id, verified.stale
        return Exchange(request, policy, Visit(self.room, id, stale=stale, agent=agent, touch=policy.touch))

    def open(self, exchange: Exchange, *, eager: bool) -> Flow[Proceed | Respond]:
        """Ask Redis for what the request needs, in one trip. ``eager`` loads the session although nobody asked yet."""
        visit, required = exchange.visit, exchange.policy.mode == "require"
        if visit is not None and (eager or required):
            _ = yield from together(visit.load())
            if required and visit.away is not None:
                return unavailable(exchange.request, visit.away.retry_after)
        return Proceed()

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
            return Committed(respond=unavailable(exchange.request, closed.away.retry_after))
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

    def finish(self, exchange: Exchange) -> Flow[None]:
        """Clean up after the response; never awaited by it, always run."""
        if exchange.after is not None:
            _ = yield from exchange.after()
