"""A request's session cookie on its way in and out: unsigned for Django, signed for the browser.

Pure translation between Django's request and response and the layer; no flow is run here.
"""

import sys
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from copy import copy
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings as django_settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from msgspec import structs

from redis_mw.caching.rules.invalidation import SAFE
from redis_mw.errors import SessionLimitReached, SessionUnavailable
from redis_mw.faces.holding import Holding
from redis_mw.http.request import Request
from redis_mw.layer.exchange import Exchange, Opened, Proceed
from redis_mw.policy.marks import Placed
from redis_mw.sessions.ids import is_id
from redis_mw.sessions.visit import Issue, Visit
from redis_mw_django.incoming import of_request
from redis_mw_django.routes import NOWHERE, Found, find

if TYPE_CHECKING:
    from redis_mw_django.application import Application

ATTRIBUTE = "_redis_mw_arrival"
"""Where a request keeps its arrival."""

CARRIED = "redis_mw.arrival"
"""Where the environment or the scope of a request carries it from ``outermost`` to the middleware."""

saved_by_tests: deque[str] = deque(maxlen=4096)
"""Ids of the sessions that tests saved last outside of any request, as ``Client.login`` and ``Client.session`` do."""


class Arrival:
    """One request that came through ``RedisMiddleware``, or to ``outermost``, until its response leaves.

    ``native`` is Django's own request, or what becomes one when it is looked at, ``cookie`` that of the session.
    ``ours`` says that the site's session engine is ours: another one's cookies are none of our business.
    """

    def __init__(
        self,
        application: "Application",
        request: Request,
        native: Any,
        cookie: str | None,
        *,
        ours: bool,
        urlconf: Any = None,
    ) -> None:
        self.application = application
        self.ours = ours
        self.refused: SessionUnavailable | SessionLimitReached | None = None
        """What a session that could not be had, or stored, raised, while Django's own middleware ran perhaps."""
        self.holding: Holding | None = None
        """What cancels an async view when its lock is lost, where that is possible."""
        self.reached = False
        """Whether the view with the idempotency that holds for the request was called."""
        self.opened: Opened | None = None
        """What was said when all was asked, if it was."""
        self.broken: Exception | None = None
        """What was raised instead."""
        self.met = False
        """Whether Django's own request is there."""
        self.led = False
        """Whether a task of its own answers, and sees to the end of the request."""
        self.noted = False
        """Whether the exchange knows the head of the response as the application made it."""
        self._works = 0
        self._rests: list[Callable[[], None]] = []
        self._lock = Lock()
        self._taken = False
        self._name = django_settings.SESSION_COOKIE_NAME
        self.session_key: str | None = None
        """The key of the session as Django sees it, if the cookie is good."""
        layer = application.layer
        self.found = find(request, urlconf, needed=layer.needs_routes) if layer.reads_marks else NOWHERE
        """The view that will answer, as far as it can be known before other middleware runs."""
        self._read = request, urlconf
        if not ours:
            self.exchange = _begun(application, request, native, self.found, None)
            self.exchange.visit = None
        else:
            self._begin_session(request, native, cookie)
        if request.method not in SAFE:
            self.exchange.views = self._marks_of

    def _begin_session(self, request: Request, native: Any, cookie: str | None) -> None:
        application = self.application
        admitted, unsigned = _admitted(application, cookie)
        self.exchange = _begun(application, request, native, self.found, admitted)
        visit = self.exchange.visit
        if visit is not None and visit.id is not None:
            self.session_key = visit.id
            visit.stale = visit.stale or unsigned  # once read, the cookie is sent again, signed

    def _marks_of(self, path: str) -> tuple[Placed, ...]:
        """The marks of the view that would answer a GET for a path."""
        request, urlconf = self._read
        return find(structs.replace(request, method="GET", path=path), urlconf, needed=True).marks

    def meet(self, request: HttpRequest) -> None:
        """Django's own request is there: what it sees of the session is the bare key."""
        self.met, self.exchange.native = True, request
        setattr(request, ATTRIBUTE, self)
        if not self.ours:
            return
        if self.session_key is not None:
            request.COOKIES[self._name] = self.session_key
        else:
            _ = request.COOKIES.pop(self._name, None)

    def refresh(self) -> "Arrival | None":
        """The arrival of the request that makes the page anew which is being served, None where that need not be."""
        exchange = self.application.layer.refresh(self.exchange)
        if exchange is None:
            return None
        other = copy(self)
        other.exchange, other.opened, other.session_key, other.holding = exchange, Proceed(), None, None
        other.met = other.noted = other.led = other._taken = False
        other._rests, other._works, other._lock = [], 0, Lock()
        if not self.ours:
            exchange.visit = None
        return other

    @property
    def asks(self) -> bool:
        """Whether something is to be asked of Redis before the view runs."""
        visit = self.exchange.visit
        if self.exchange.asks:
            return True
        return self.exchange.policy.mode == "require" and visit is not None and visit.id is not None

    def work(self) -> None:
        """Something goes on with the response, whoever has left."""
        with self._lock:
            self._works += 1

    def rest(self) -> None:
        """It does not any more."""
        with self._lock:
            self._works -= 1
            rests, self._rests = ([], self._rests) if self._works else (self._rests, [])
        for then in rests:
            then()

    def at_rest(self, then: Callable[[], None]) -> None:
        """Do it as soon as nothing goes on with the response."""
        with self._lock:
            if self._works:
                self._rests.append(then)
                return
        then()

    def attend(self) -> None:
        """See to what the request has left to do in this process."""
        self.application.attend(self.exchange)

    def take(self, id: str | None) -> Visit | None:
        """The visit that was begun for this request, if the session with this id is meant and nobody took it yet."""
        visit = self.exchange.visit
        if self._taken or visit is None or self.session_key != id:
            return None
        self._taken = True
        return visit

    def sign(self, response: HttpResponseBase) -> None:
        """Sign the session cookie that Django's middleware has set on the response, if any."""
        morsel = response.cookies.get(self._name)
        room = self.application.room
        if morsel is not None and room.signer is not None and is_id(morsel.value):
            response.cookies[self._name] = room.signer.sign(morsel.value)  # the attributes stay

    def due(self, visit: Visit) -> str | None:
        """The id whose cookie has to be sent although nothing was saved: signed anew, or with a longer life."""
        return visit.cookie.id if visit.record is not None and isinstance(visit.cookie, Issue) else None

    def hand_cookie(self, response: HttpResponseBase, other: HttpResponseBase) -> None:
        """Let the response that takes the place of another carry the session cookie that this one has."""
        morsel = response.cookies.get(self._name)
        if morsel is not None:
            other.cookies[self._name] = morsel

    def keep(self, response: HttpResponseBase) -> None:
        """Let the browser keep the cookie it has: nobody knows whether it is still good."""
        _ = response.cookies.pop(self._name, None)


def arrival_of(application: "Application", request: HttpRequest, *, ours: bool) -> Arrival:
    """A request that Django has made; it is met at once."""
    cookie = request.COOKIES.get(django_settings.SESSION_COOKIE_NAME)
    urlconf = getattr(request, "urlconf", None)
    arrival = Arrival(application, of_request(request), request, cookie, ours=ours, urlconf=urlconf)
    arrival.meet(request)
    return arrival


def arrival_before(request: HttpRequest) -> Arrival | None:
    """What ``outermost`` has begun for this request, once."""
    carrier: dict[str, Any] = getattr(request, "environ", None) or getattr(request, "scope", None) or {}
    return cast("Arrival | None", carrier.pop(CARRIED, None))


def exchange_of(application: "Application", request: HttpRequest) -> Exchange:
    """The exchange of a request on its way, or, for one that is not, one that was never begun; changes nothing."""
    arrival: Arrival | None = getattr(request, ATTRIBUTE, None)
    if arrival is not None and arrival.application is application:
        return arrival.exchange
    ours = of_request(request)
    found = find(ours, getattr(request, "urlconf", None), needed=True)
    cookie, _ = _admitted(application, request.COOKIES.get(django_settings.SESSION_COOKIE_NAME))
    return _begun(application, ours, request, found, cookie)


def _begun(application: "Application", request: Request, native: Any, found: Found, cookie: str | None) -> Exchange:
    return application.layer.begin(
        request, cookie, marks=found.marks, native=native, route=found.route, parameters=found.parameters
    )


def _admitted(application: "Application", cookie: str | None) -> tuple[str | None, bool]:
    """The cookie, and whether it came as a bare id; such a one is signed here if it may pass."""
    room = application.layer.room
    if cookie is None or room is None or not is_id(cookie):
        return cookie, False
    allowed = getattr(django_settings, "REDIS_MW_ACCEPT_UNSIGNED", False) is True or cookie in saved_by_tests
    return (room.signer.sign(cookie), True) if allowed and room.signer is not None else (cookie, False)


ARRIVAL: ContextVar[Arrival | None] = ContextVar("redis_mw_django.arrival", default=None)


def note_saved(id: str | None) -> None:
    """Remember a session that a test saved: Django's test clients hand its bare id to the browser they play."""
    if id is not None and ARRIVAL.get() is None and _under_test() and id not in saved_by_tests:
        saved_by_tests.append(id)


def _under_test() -> bool:
    """Whether Django's test environment is set up in this process; nothing of it is imported to find out."""
    state = getattr(sys.modules.get("django.test.utils"), "_TestState", None)
    return hasattr(state, "saved_data")
