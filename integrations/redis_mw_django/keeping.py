"""What a response still needs of its session where Django's own middleware does not see to it."""

from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from typing import cast

from django.conf import settings as django_settings
from django.http import FileResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from redis_mw.errors import SessionClosed
from redis_mw_django.arrival import Arrival
from redis_mw_django.sessions import SessionStore


def completed(response: HttpResponseBase, arrival: Arrival, session: SessionStore | None) -> HttpResponseBase:
    """What the response still needs of its session: a signed cookie, or a watch over what is streamed."""
    if session is None or not arrival.ours:
        return response
    if session.lost:
        arrival.keep(response)
        return response
    if django_settings.SESSION_COOKIE_NAME not in response.cookies:
        id = arrival.due(session.visit)
        if id is not None:
            give(response, id, session)
    arrival.sign(response)
    if isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse):
        _watch(response, session)
    return response


def give_due(response: HttpResponseBase, arrival: Arrival) -> None:
    """Set the session cookie that is due on a response of ours; no view and no middleware of Django's has run."""
    visit = arrival.exchange.visit
    id = arrival.due(visit) if visit is not None else None
    if id is not None:
        engine = import_module(django_settings.SESSION_ENGINE)
        give(response, id, engine.SessionStore(arrival.session_key))
        arrival.sign(response)


def saves_errors(arrival: Arrival, response: HttpResponseBase, session: SessionStore) -> bool:
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


def give(response: HttpResponseBase, id: str | None, session: SessionStore) -> None:
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
