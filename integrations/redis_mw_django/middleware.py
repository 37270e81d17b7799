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

from redis_mw.errors import Refusal, SessionClosed, SessionLimitReached, SessionUnavailable
from redis_mw.layer.exchange import Proceed, Respond
from redis_mw.policy.current import CURRENT, Context
from redis_mw_django.application import application
from redis_mw_django.arrival import ARRIVAL, Arrival
from redis_mw_django.refusals import refusal
from redis_mw_django.sessions import SessionStore

GetResponse = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class RedisMiddleware:
    """Signs session cookies on their way out and unsigns them on their way in, and answers for what was refused.

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
        if self._async:
            _ = markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        return self._around_async(request) if self._async else self._around(request)

    def _around(self, request: HttpRequest) -> HttpResponseBase:
        with self._arrived(request, application().sync) as arrival:
            if arrival is None:
                return cast(HttpResponseBase, self.get_response(request))
            opened = arrival.application.run(self._open(arrival)) if _required(arrival) else Proceed()
            if isinstance(opened, Respond):
                return refusal(request, opened.refusal)
            response = cast(HttpResponseBase, self.get_response(request))
            session = _session_of(request)
            if session is not None and _saves_errors(arrival, response, session):
                try:
                    session.save()
                except (SessionUnavailable, SessionLimitReached, UpdateError):
                    pass  # the error page goes out either way
                else:
                    _give(response, session.session_key, session)
            return self._leave(request, response, arrival, session)

    async def _around_async(self, request: HttpRequest) -> HttpResponseBase:
        with self._arrived(request, application().aio) as arrival:
            if arrival is None:
                return await cast(Awaitable[HttpResponseBase], self.get_response(request))
            opened = await arrival.application.arun(self._open(arrival)) if _required(arrival) else Proceed()
            if isinstance(opened, Respond):
                return refusal(request, opened.refusal)
            response = await cast(Awaitable[HttpResponseBase], self.get_response(request))
            session = _session_of(request)
            if session is not None and _saves_errors(arrival, response, session):
                try:
                    await session.asave()
                except (SessionUnavailable, SessionLimitReached, UpdateError):
                    pass  # the error page goes out either way
                else:
                    _give(response, session.session_key, session)
            return self._leave(request, response, arrival, session)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Answer for a view that needed Redis while it was away, or a session too many."""
        return refusal(request, exception) if isinstance(exception, Refusal) else None

    @contextmanager
    def _arrived(self, request: HttpRequest, face: Any) -> Generator[Arrival | None]:
        """Hold the request's context while it is answered."""
        context = Context(face, SimpleLazyObject(lambda: cast(Any, request).session))
        cast(Any, request).redis_mw = context
        arrival = Arrival(application(), request) if self._ours else None
        here, there = CURRENT.set(context), ARRIVAL.set(arrival)
        try:
            yield arrival
        finally:
            ARRIVAL.reset(there)
            CURRENT.reset(here)

    @staticmethod
    def _open(arrival: Arrival) -> Any:
        return arrival.application.layer.open(arrival.exchange, eager=False)

    def _leave(
        self, request: HttpRequest, response: HttpResponseBase, arrival: Arrival, session: SessionStore | None
    ) -> HttpResponseBase:
        """What the response still needs: a refusal in its place, a signed cookie, or a watch over what is streamed."""
        if arrival.refused is not None and response.status_code == 400:
            return refusal(request, arrival.refused)
        if session is None:
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


def _required(arrival: Arrival) -> bool:
    """Whether a rule asks for the session before the view runs."""
    visit = arrival.exchange.visit
    return arrival.exchange.policy.mode == "require" and visit is not None and visit.id is not None


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
