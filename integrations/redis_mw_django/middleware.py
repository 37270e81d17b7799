"""``RedisMiddleware``: the first of MIDDLEWARE, around Django's own SessionMiddleware, which stays."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib.sessions.backends.base import UpdateError
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.functional import SimpleLazyObject

from redis_mw.errors import LeaseLost, Refusal, SessionLimitReached, SessionUnavailable
from redis_mw.events import log
from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.faces.caching import RequestCache
from redis_mw.faces.holding import Holding
from redis_mw.faces.limits import AsyncRequestLimits, RequestLimits
from redis_mw.faces.locks import RequestLocks
from redis_mw.faces.sync import RedisMW
from redis_mw.layer.exchange import Replay, Respond
from redis_mw.policy.current import CURRENT, GATE, Context
from redis_mw.policy.marks import Placed
from redis_mw_django.application import application
from redis_mw_django.arrival import ARRIVAL, ATTRIBUTE, Arrival, arrival_before, arrival_of
from redis_mw_django.behind import FAILED, WITHIN_S, read, read_to_end
from redis_mw_django.body import read_into
from redis_mw_django.departure import Departure
from redis_mw_django.gate import Gate
from redis_mw_django.hiding import hide, of_nobody
from redis_mw_django.keeping import completed, give, give_due, saves_errors
from redis_mw_django.recording import judge, packed, recorded, replaced
from redis_mw_django.refusals import aanswered, answered, arefusal, refusal, replayed
from redis_mw_django.routes import marks_for
from redis_mw_django.sessions import SessionStore, engine_is_ours, session_of

GetResponse = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class RedisMiddleware:
    """Asks what holds for a request (limits, locks, its idempotency key, its page), signs session cookies on their way
    out and unsigns them on their way in, answers for what was refused, and with what was answered before or is stored;
    what the view answers it keeps, where that may be.

    ``request.redis_mw`` and ``redis_mw.current()`` are the request's ``Context``. An engine that is not ours keeps its
    cookies as they are. Settings that cannot be used raise here, when Django loads its middleware.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self._ours = engine_is_ours()
        layer = application().layer
        if self._ours and layer.room is None:
            raise ImproperlyConfigured("SESSION_ENGINE is redis_mw_django.sessions, but REDIS_MW turns sessions off")
        self._async = iscoroutinefunction(get_response)  # pyright: ignore[reportDeprecated]
        # Of the colour that Django will call it in: another would cost every request a change of threads.
        self.process_view: Callable[..., Any] = self._before_view_async if self._async else self._before_view
        if self._async:
            _ = markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        return self._around_async(request) if self._async else self._around(request)

    def _around(self, request: HttpRequest) -> HttpResponseBase:
        with self._arrived(request, application().sync) as arrival:
            answer = self._opened(request, arrival)
            if answer is None:
                answer = self._answer(request, arrival)
            if _refreshes(arrival) and arrival.application.behind.has_thread:
                self._refresh(request, arrival)
            return _left(answer, arrival)

    async def _around_async(self, request: HttpRequest) -> HttpResponseBase:
        with self._arrived(request, application().aio) as arrival:
            answer = await self._opened_async(request, arrival)
            if arrival.exchange.refreshing:  # through ``outermost``: what goes on inside Django is ended from here only
                async with asyncio.timeout(WITHIN_S):
                    return _left(await self._answer_async(request, arrival), arrival)
            if answer is None and arrival.exchange.leads and arrival.application.stays:
                return await self._lead(request, arrival)
            if answer is None:
                answer = await self._answer_async(request, arrival)
            if _refreshes(arrival) and arrival.application.behind.has_task:
                self._refresh_async(request, arrival)
            return _left(answer, arrival)

    async def _lead(self, request: HttpRequest, arrival: Arrival) -> HttpResponseBase:
        """Have the view make a page for others as well, to its end, though the client may leave meanwhile."""
        left = False

        async def answer() -> HttpResponseBase:
            try:
                response = _left(await self._answer_async(request, arrival), arrival)
            except BaseException:
                Departure(arrival).at_once()
                raise
            if left:
                await read_to_end(response)
            return response

        arrival.led, behind = True, arrival.application.behind
        task = behind.in_task(answer())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            left = True
            if task.done() and not task.cancelled() and task.exception() is None:
                _ = behind.in_task(read_to_end(task.result()))
            raise

    def _opened(self, request: HttpRequest, arrival: Arrival) -> HttpResponseBase | None:
        """Ask what has to be asked before the view may run; what is answered in its place, if anything is."""
        if arrival.opened is None and arrival.broken is None and arrival.asks:
            _read_body(arrival)
            arrival.opened = arrival.application.open(arrival.exchange)
        return refusal(request, opened.refusal) if isinstance(opened := _told(arrival), Respond) else opened

    async def _opened_async(self, request: HttpRequest, arrival: Arrival) -> HttpResponseBase | None:
        """The same on the event loop."""
        if arrival.opened is None and arrival.broken is None and arrival.asks:
            _read_body(arrival)
            arrival.opened = await arrival.application.aopen(arrival.exchange)
        return await arefusal(request, opened.refusal) if isinstance(opened := _told(arrival), Respond) else opened

    def _answer(self, request: HttpRequest, arrival: Arrival) -> HttpResponseBase:
        """What the application answers, or what is answered in its place."""
        _hide(request, arrival)
        response = cast(HttpResponseBase, self.get_response(request))
        session = session_of(request)
        if session is not None and saves_errors(arrival, response, session):
            try:
                session.save()
            except (SessionUnavailable, SessionLimitReached, UpdateError):
                pass  # the error page goes out either way
            else:
                give(response, session.session_key, session)
        is_refused = _is_to_be_refused(arrival, response)
        if is_refused:
            response = refusal(request, cast(Refusal, arrival.refused))
        judge(arrival, request, response)
        if not is_refused:
            response = completed(response, arrival, session)
        recording = recorded(arrival, request, response)
        if recording is not None:
            arrival.application.run(recording)
        return replaced(arrival, response)

    async def _answer_async(self, request: HttpRequest, arrival: Arrival) -> HttpResponseBase:
        """The same on the event loop."""
        _hide(request, arrival)
        arrival.holding = Holding(arrival.exchange)
        try:
            response, session, is_refused = await arrival.holding.around(self._answered_async(request, arrival))
        except LeaseLost as lost:
            response, session, is_refused = await arefusal(request, lost), None, True
        judge(arrival, request, response)
        if not is_refused:
            response = completed(response, arrival, session)
        await packed(arrival, response)
        recording = recorded(arrival, request, response)
        if recording is not None:
            await arrival.application.arun(recording)
        return replaced(arrival, response)

    async def _answered_async(
        self, request: HttpRequest, arrival: Arrival
    ) -> tuple[HttpResponseBase, SessionStore | None, bool]:
        response = await cast(Awaitable[HttpResponseBase], self.get_response(request))
        session = session_of(request)
        if session is not None and saves_errors(arrival, response, session):
            try:
                await session.asave()
            except (SessionUnavailable, SessionLimitReached, UpdateError):
                pass  # the error page goes out either way
            else:
                give(response, session.session_key, session)
        if _is_to_be_refused(arrival, response):
            return await arefusal(request, cast(Refusal, arrival.refused)), session, True
        return response, session, False

    def _refresh(self, request: HttpRequest, arrival: Arrival) -> None:
        """Have the page that is being served made anew, by a request that nobody has sent."""
        refreshing = arrival.refresh()
        if refreshing is None:
            return
        nobodys = of_nobody(request)

        def refresh() -> None:
            with self._arrived(nobodys, refreshing.application.sync, refreshing):
                response = _left(self._answer(nobodys, refreshing), refreshing)
            try:
                read(response)
            finally:
                response.close()

        refreshing.application.behind.on_thread(refresh, Departure(refreshing).at_once)

    def _refresh_async(self, request: HttpRequest, arrival: Arrival) -> None:
        """The same on the event loop."""
        refreshing = arrival.refresh()
        if refreshing is None:
            return
        nobodys = of_nobody(request)

        async def refresh() -> None:
            try:
                async with asyncio.timeout(WITHIN_S):
                    with self._arrived(nobodys, refreshing.application.aio, refreshing):
                        response = _left(await self._answer_async(nobodys, refreshing), refreshing)
                    await read_to_end(response)
            except Exception:
                log.exception(FAILED)

        _ = refreshing.application.behind.in_task(refresh())

    def _before_view(self, request: HttpRequest, view: Any, *arguments: object) -> HttpResponseBase | None:
        """Ask for the marks of a view that another middleware chose; one trip more."""
        late = _unasked(request, view)
        if late:
            try:
                cast(Gate, GATE.get()).ask(*late)
            except Exception as error:
                answer = answered(request, error)
                if answer is None:
                    raise
                return answer
        return None

    async def _before_view_async(self, request: HttpRequest, view: Any, *arguments: object) -> HttpResponseBase | None:
        """The same on the event loop. A view that is to run in a thread finds the faces for threads there."""
        late, arrival = _unasked(request, view), cast(Arrival, getattr(request, ATTRIBUTE))
        if late:
            try:
                await cast(Gate, GATE.get()).aask(*late)
            except Exception as error:
                answer = await aanswered(request, error)
                if answer is None:
                    raise
                return answer
        if not iscoroutinefunction(view):  # pyright: ignore[reportDeprecated]
            _ = CURRENT.set(_shown(request, arrival, arrival.application.sync))
        elif arrival.holding is not None:
            arrival.holding.watch()
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Answer for a view that was refused something (a limit's leave, a lock, Redis while it was away, another
        session), or that was not run because its request has run before.
        """
        return answered(request, exception)

    @contextmanager
    def _arrived(
        self, request: HttpRequest, face: RedisMW | AsyncRedisMW, arrival: Arrival | None = None
    ) -> Generator[Arrival]:
        """Hold the request's context while it is answered; where no response comes out of it, end it."""
        arrival = arrival or arrival_before(request)
        if arrival is None:
            arrival = arrival_of(application(), request, ours=self._ours)
        else:
            arrival.meet(request)
        here, there = CURRENT.set(_shown(request, arrival, face)), ARRIVAL.set(arrival)
        before = GATE.set(Gate(arrival))
        try:
            yield arrival
        except BaseException:
            if not arrival.led:
                Departure(arrival).at_once()
            raise
        finally:
            GATE.reset(before)
            ARRIVAL.reset(there)
            CURRENT.reset(here)


def _told(arrival: Arrival) -> HttpResponseBase | Respond | None:
    """What comes of the asking: a response that was given before, a refusal, or nothing: then the view may run."""
    if arrival.broken is not None:
        raise arrival.broken
    arrival.attend()
    if isinstance(arrival.opened, Replay):
        response = replayed(arrival.opened.response)
        give_due(response, arrival)
        return response
    return arrival.opened if isinstance(arrival.opened, Respond) else None


def _hide(request: HttpRequest, arrival: Arrival) -> None:
    exchange, layer = arrival.exchange, arrival.application.layer
    hidden = layer.hidden(exchange) if exchange.lookup is not None else None
    if hidden is not None and hidden.changes(exchange.request.headers):
        hide(request, hidden)


def _refreshes(arrival: Arrival) -> bool:
    lookup = arrival.exchange.lookup
    return lookup is not None and lookup.refreshes


def _read_body(arrival: Arrival) -> None:
    """A request with an idempotency key is asked for by what its body says."""
    attempt = arrival.application.layer.attempt_of(arrival.exchange)
    if attempt is not None:
        read_into(attempt, arrival.exchange.native)


def _unasked(request: HttpRequest, view: Any) -> tuple[Placed, ...]:
    """The marks of the view that Django has chosen, where it is not the one that was expected."""
    arrival: Arrival = getattr(request, ATTRIBUTE)
    if view is arrival.found.view or not arrival.application.layer.reads_marks:
        return ()
    if arrival.exchange.pages:  # asked for a page of the view that was expected, which this one does not make
        RequestCache(arrival.exchange).skip()
    return marks_for(view, request.method or "GET")


def _shown(request: HttpRequest, arrival: Arrival, face: RedisMW | AsyncRedisMW) -> Context:
    """The context that the request's code sees."""
    limits: RequestLimits | AsyncRequestLimits | None = None
    if arrival.application.rooms.limits is not None:
        layer, exchange = arrival.application.layer, arrival.exchange
        if isinstance(face, AsyncRedisMW):
            limits = AsyncRequestLimits(face.limits, layer, exchange)
        else:
            limits = RequestLimits(face.limits, layer, exchange)
    session = SimpleLazyObject(lambda: cast(Any, request).session)
    exchange = arrival.exchange
    context = Context(face, session, limits, RequestLocks(face.driver, exchange), RequestCache(exchange))
    cast(Any, request).redis_mw = context
    return context


def _is_to_be_refused(arrival: Arrival, response: HttpResponseBase) -> bool:
    """Whether Django has made a 400 of what a session could not do."""
    return arrival.refused is not None and response.status_code == 400


def _left(response: HttpResponseBase, arrival: Arrival) -> HttpResponseBase:
    """The response, whatever it is, with what is told of the request's limits; once closed, the request is over."""
    layer = arrival.application.layer
    for name, value in layer.fields(arrival.exchange):
        response.headers[name] = value
    varies = layer.closing.varies(arrival.exchange)
    if varies:
        patch_vary_headers(response, varies)
    Departure(arrival).follow(response)
    return response
