"""``RedisMiddleware``: the first of MIDDLEWARE, around Django's own SessionMiddleware, which stays."""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings as django_settings
from django.contrib.sessions.backends.base import UpdateError
from django.core.exceptions import ImproperlyConfigured
from django.http import FileResponse, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.functional import SimpleLazyObject

from redis_mw.errors import Refusal, Refused, SessionClosed, SessionLimitReached, SessionUnavailable
from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.faces.limits import AsyncRequestLimits, RequestLimits
from redis_mw.faces.sync import RedisMW
from redis_mw.flows import Flow
from redis_mw.layer.exchange import Proceed, Replay, Respond
from redis_mw.policy.current import CURRENT, GATE, Context
from redis_mw.policy.marks import Placed
from redis_mw_django.application import application
from redis_mw_django.arrival import ARRIVAL, ATTRIBUTE, Arrival
from redis_mw_django.departure import Departure
from redis_mw_django.gate import Gate
from redis_mw_django.refusals import arefusal, refusal, replayed
from redis_mw_django.routes import marks_for
from redis_mw_django.sessions import SessionStore

GetResponse = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class RedisMiddleware:
    """Counts a request by the limits that hold for it, signs session cookies on their way out and unsigns them on their
    way in, and answers for what was refused.

    ``request.redis_mw`` and ``redis_mw.current()`` are the request's ``Context``. An engine that is not ours keeps its
    cookies as they are. Settings that cannot be used raise here, when Django loads its middleware.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        engine = import_module(django_settings.SESSION_ENGINE)
        self._ours = issubclass(engine.SessionStore, SessionStore)
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
            opened = arrival.application.run(_open(arrival)) if arrival.asks else Proceed()
            arrival.attend()
            if isinstance(opened, (Respond, Replay)):
                answer = replayed(opened) if isinstance(opened, Replay) else refusal(request, opened.refusal)
                return _left(answer, arrival)
            response = cast(HttpResponseBase, self.get_response(request))
            session = _session_of(request)
            if session is not None and _saves_errors(arrival, response, session):
                try:
                    session.save()
                except (SessionUnavailable, SessionLimitReached, UpdateError):
                    pass  # the error page goes out either way
                else:
                    _give(response, session.session_key, session)
            if _is_to_be_refused(arrival, response):
                return _left(refusal(request, cast(Refusal, arrival.refused)), arrival)
            return _left(_completed(response, arrival, session), arrival)

    async def _around_async(self, request: HttpRequest) -> HttpResponseBase:
        with self._arrived(request, application().aio) as arrival:
            opened = await arrival.application.arun(_open(arrival)) if arrival.asks else Proceed()
            arrival.attend()
            if isinstance(opened, (Respond, Replay)):
                answer = replayed(opened) if isinstance(opened, Replay) else await arefusal(request, opened.refusal)
                return _left(answer, arrival)
            response = await cast(Awaitable[HttpResponseBase], self.get_response(request))
            session = _session_of(request)
            if session is not None and _saves_errors(arrival, response, session):
                try:
                    await session.asave()
                except (SessionUnavailable, SessionLimitReached, UpdateError):
                    pass  # the error page goes out either way
                else:
                    _give(response, session.session_key, session)
            if _is_to_be_refused(arrival, response):
                return _left(await arefusal(request, cast(Refusal, arrival.refused)), arrival)
            return _left(_completed(response, arrival, session), arrival)

    def _before_view(self, request: HttpRequest, view: Any, *arguments: object) -> HttpResponseBase | None:
        """Count the marks of a view that another middleware chose; one trip more."""
        late = _uncounted(request, view)
        if late:
            try:
                cast(Gate, GATE.get()).hold(*late)
            except Refused as refused:
                return refusal(request, refused)
        return None

    async def _before_view_async(self, request: HttpRequest, view: Any, *arguments: object) -> HttpResponseBase | None:
        """The same on the event loop. A view that is to run in a thread finds the faces for threads there."""
        late = _uncounted(request, view)
        if late:
            try:
                await cast(Gate, GATE.get()).ahold(*late)
            except Refused as refused:
                return await arefusal(request, refused)
        if not iscoroutinefunction(view):  # pyright: ignore[reportDeprecated]
            arrival: Arrival = getattr(request, ATTRIBUTE)
            _ = CURRENT.set(_shown(request, arrival, arrival.application.sync))
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Answer for a view that was refused something: a limit's leave, Redis while it was away, another session."""
        return refusal(request, exception) if isinstance(exception, Refusal) else None

    @contextmanager
    def _arrived(self, request: HttpRequest, face: RedisMW | AsyncRedisMW) -> Generator[Arrival]:
        """Hold the request's context while it is answered; where no response comes out of it, end it."""
        arrival = Arrival(application(), request, ours=self._ours)
        setattr(request, ATTRIBUTE, arrival)
        here, there = CURRENT.set(_shown(request, arrival, face)), ARRIVAL.set(arrival)
        before = GATE.set(Gate(arrival))
        try:
            yield arrival
        except BaseException:
            Departure(arrival).at_once()
            raise
        finally:
            GATE.reset(before)
            ARRIVAL.reset(there)
            CURRENT.reset(here)


def _open(arrival: Arrival) -> Flow[Proceed | Respond | Replay]:
    return arrival.application.layer.open(arrival.exchange, eager=False)


def _uncounted(request: HttpRequest, view: Any) -> tuple[Placed, ...]:
    """The marks of the view that Django has chosen, where it is not the one that was expected."""
    arrival: Arrival = getattr(request, ATTRIBUTE)
    if view is arrival.found.view or not arrival.application.layer.reads_marks:
        return ()
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
    context = Context(face, SimpleLazyObject(lambda: cast(Any, request).session), limits)
    cast(Any, request).redis_mw = context
    return context


def _is_to_be_refused(arrival: Arrival, response: HttpResponseBase) -> bool:
    """Whether Django has made a 400 of what a session could not do."""
    return arrival.refused is not None and response.status_code == 400


def _left(response: HttpResponseBase, arrival: Arrival) -> HttpResponseBase:
    """The response, whatever it is, with what is told of the request's limits; they are settled when it is closed."""
    for name, value in arrival.application.layer.fields(arrival.exchange):
        response.headers[name] = value
    Departure(arrival).follow(response)
    return response


def _completed(response: HttpResponseBase, arrival: Arrival, session: SessionStore | None) -> HttpResponseBase:
    """What the response still needs of its session: a signed cookie, or a watch over what is streamed."""
    if session is None or not arrival.ours:
        return response
    if session.lost:
        arrival.keep(response)
        return response
    if django_settings.SESSION_COOKIE_NAME not in response.cookies:
        id = arrival.due(session.visit)
        if id is not None:
            _give(response, id, session)
    arrival.sign(response)
    if isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse):
        _watch(response, session)
    return response


def _session_of(request: HttpRequest) -> SessionStore | None:
    session = getattr(request, "session", None)
    return session if isinstance(session, SessionStore) else None


def _saves_errors(arrival: Arrival, response: HttpResponseBase, session: SessionStore) -> bool:
    """Whether to save what Django's middleware does not: the session of a request that ended with a 5xx."""
    sessions = arrival.application.settings.sessions
    return (
        response.status_code >= 500
        and sessions is not None
        and sessions.save_on_5xx
        and not session.lost
        and session.modified
        and not session.is_empty()
    )


def _give(response: HttpResponseBase, id: str | None, session: SessionStore) -> None:
    """Set the session cookie as Django's own middleware does."""
    if id is None:
        return
    response.set_cookie(
        django_settings.SESSION_COOKIE_NAME,
        id,
        max_age=None if session.get_expire_at_browser_close() else session.get_expiry_age(),
        domain=django_settings.SESSION_COOKIE_DOMAIN,
        path=django_settings.SESSION_COOKIE_PATH,
        secure=django_settings.SESSION_COOKIE_SECURE or False,
        httponly=django_settings.SESSION_COOKIE_HTTPONLY or False,
        samesite=django_settings.SESSION_COOKIE_SAMESITE,
    )
    patch_vary_headers(response, ("Cookie",))


def _watch(response: StreamingHttpResponse, session: SessionStore) -> None:
    """Raise at the end of the body, rather than lose in silence what was written to the session meanwhile."""
    if session.unsaved:
        return  # not saved on purpose (a 5xx): that is nothing of the body's
    body = response.streaming_content

    def end() -> None:
        if session.unsaved:
            raise SessionClosed("the session was changed while the response was sent; call its save() there")

    async def watched_async(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in parts:
            yield part
        end()

    def watched(parts: Iterator[bytes]) -> Iterator[bytes]:
        yield from parts
        end()

    if response.is_async:
        response.streaming_content = watched_async(cast(AsyncIterator[bytes], body))
    else:
        response.streaming_content = watched(cast(Iterator[bytes], body))
