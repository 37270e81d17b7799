"""``outermost``: pages are answered before Django's handler runs, which costs more than all else that a hit needs.

``outermost(get_wsgi_application())`` and ``outermost(get_asgi_application())`` ask what ``RedisMiddleware`` would ask,
by the same code. What is no page of the cache goes on into Django, with what was asked already: nothing is asked twice.
"""

import asyncio
from collections.abc import Callable, Iterable
from copy import copy
from functools import lru_cache
from http.client import responses
from io import BytesIO
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string

from redis_mw.events import log
from redis_mw.http.request import Headers, Request
from redis_mw.layer.exchange import Replay, Response
from redis_mw_django.application import application
from redis_mw_django.arrival import ARRIVAL, CARRIED, Arrival
from redis_mw_django.behind import FAILED, WITHIN_S
from redis_mw_django.departure import Departure
from redis_mw_django.hiding import OF_A_BODY
from redis_mw_django.incoming import of_environ, of_scope
from redis_mw_django.keeping import give_due
from redis_mw_django.middleware import RedisMiddleware
from redis_mw_django.refusals import replayed
from redis_mw_django.sessions import engine_is_ours

SERVED = frozenset({"GET", "HEAD"})
Pairs = list[tuple[str, str]]


def around(app: Any) -> Any:
    """Django's WSGI or ASGI application with the cache around it; around several of these, too, it works once.

    ``ImproperlyConfigured`` where ``RedisMiddleware`` is not in MIDDLEWARE: it is what keeps pages.
    """
    if not any(_is_ours(import_string(path)) for path in django_settings.MIDDLEWARE):
        raise ImproperlyConfigured(
            "outermost(...) serves what redis_mw_django.middleware.RedisMiddleware keeps: put that first in MIDDLEWARE"
        )
    is_async = iscoroutinefunction(app) or iscoroutinefunction(type(app).__call__)  # pyright: ignore[reportDeprecated]
    return OutermostASGI(app) if is_async else OutermostWSGI(app)


def _is_ours(middleware: object) -> bool:
    return isinstance(middleware, type) and issubclass(middleware, RedisMiddleware)


class OutermostWSGI:
    """Around a WSGI application."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        arrival = _begun(environ, of_environ, _wsgi_request) if environ["REQUEST_METHOD"] in SERVED else None
        if arrival is None:
            return self._app(environ, start_response)
        page = _page_here(arrival)
        if page is not None:
            start_response(_line(page), [*page.headers])
            return [page.body]
        environ[CARRIED] = arrival
        try:
            if _is_for_a_page(arrival):
                _open(arrival)
                if isinstance(arrival.opened, Replay):
                    return self._answer(environ, start_response, arrival, arrival.opened.response)
            return self._app(environ, start_response)
        finally:
            if not arrival.met:  # nobody else will see to its end
                Departure(arrival).at_once()

    def _answer(
        self, environ: dict[str, Any], start_response: Callable[..., Any], arrival: Arrival, page: Response
    ) -> list[bytes]:
        fields = _fields(arrival, page)
        refreshing = arrival.refresh() if arrival.application.behind.has_thread else None
        if refreshing is not None:
            self._refresh(environ, refreshing)
        start_response(_line(page), fields)
        return [page.body]

    def _refresh(self, environ: dict[str, Any], refreshing: Arrival) -> None:
        """Have the page made anew through all of Django."""
        nobodys = {name: value for name, value in environ.items() if name not in OF_A_BODY}
        nobodys |= {"REQUEST_METHOD": "GET", "wsgi.input": BytesIO(), CARRIED: refreshing}

        def refresh() -> None:
            body = self._app(nobodys, lambda *_: None)
            try:
                for _ in body:
                    pass
            finally:
                close = getattr(body, "close", None)
                if close is not None:
                    close()
                Departure(refreshing).at_once()  # does nothing where that was done

        refreshing.application.behind.on_thread(refresh, Departure(refreshing).at_once)


class OutermostASGI:
    """Around an ASGI application."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        is_asked = scope["type"] == "http" and scope["method"] in SERVED and not _in_pieces(scope["headers"])
        arrival = _begun(scope, of_scope, _asgi_request) if is_asked else None
        if arrival is None:
            await self._app(scope, receive, send)
            return
        page = _page_here(arrival)
        if page is not None:
            await _send(page, page.headers, send)
            return
        scope[CARRIED] = arrival
        try:
            if _is_for_a_page(arrival):
                await _aopen(arrival)
                if isinstance(arrival.opened, Replay):
                    await self._answer(scope, send, arrival, arrival.opened.response)
                    return
            await self._app(scope, receive, send)
        finally:
            if not arrival.met:
                Departure(arrival).at_once()

    async def _answer(self, scope: dict[str, Any], send: Callable[..., Any], arrival: Arrival, page: Response) -> None:
        fields = _fields(arrival, page)
        refreshing = arrival.refresh() if arrival.application.behind.has_task else None
        if refreshing is not None:
            self._refresh(scope, refreshing)
        await _send(page, fields, send)

    def _refresh(self, scope: dict[str, Any], refreshing: Arrival) -> None:
        """Have the page made anew through all of Django."""
        unsent: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]
        headers = [(name, value) for name, value in scope["headers"] if name not in OF_A_BODY_RAW]
        nobodys = {**scope, "method": "GET", "headers": headers, "extensions": {}, CARRIED: refreshing}

        async def receive() -> dict[str, Any]:
            if not unsent:
                _ = await asyncio.Event().wait()  # this client never leaves
            return unsent.pop()

        async def nowhere(message: dict[str, Any]) -> None:
            return None

        async def refresh() -> None:
            try:
                async with asyncio.timeout(2 * WITHIN_S):  # the view, and then its body
                    await self._app(nobodys, receive, nowhere)
            except Exception:
                log.exception(FAILED)
            finally:
                Departure(refreshing).at_once()  # does nothing where that was done

        _ = refreshing.application.behind.in_task(refresh())


OF_A_BODY_RAW = frozenset({b"content-length", b"content-type", b"transfer-encoding"})


def _begun(
    carrier: dict[str, Any],
    read: Callable[[dict[str, Any]], Request],
    native: Callable[[dict[str, Any]], HttpRequest],
) -> Arrival | None:
    """The arrival of this request, None where it is another one's, or Django's alone."""
    here = application()
    if CARRIED in carrier or here.rooms.caching is None:
        return None
    try:
        request = read(carrier)
    except UnicodeDecodeError:
        return None  # Django has an answer to that
    if _has_body(request.headers):
        return None  # what is told apart by it would have to read it, and Django could not any more
    carried = copy(carrier)
    lazy = SimpleLazyObject(lambda: native(carried))
    name = django_settings.SESSION_COOKIE_NAME
    cookies = request.cookies(name)
    # Of several Django takes the last.
    return Arrival(here, request, lazy, cookies[-1] if cookies else None, ours=engine_is_ours())


def _in_pieces(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether cookies came in several lines (HTTP/2): versions of Django read these in ways of their own."""
    return sum(name == b"cookie" for name, _ in headers) > 1


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length") not in (None, "", "0") or headers.get("transfer-encoding") is not None


def _wsgi_request(environ: dict[str, Any]) -> HttpRequest:
    return WSGIRequest({**environ, "wsgi.input": BytesIO()})


def _asgi_request(scope: dict[str, Any]) -> HttpRequest:
    return ASGIRequest(scope, BytesIO())


def _is_for_a_page(arrival: Arrival) -> bool:
    """Whether something may be stored that is the answer; bodies are read by the middleware only."""
    exchange = arrival.exchange
    if not exchange.pages and exchange.ruled.cache is None:
        return False
    return arrival.opened is None and arrival.broken is None and arrival.application.layer.attempt_of(exchange) is None


def _page_here(arrival: Arrival) -> Response | None:
    """What is in this process's memory, if that is the answer: then nothing is opened, and nothing to be departed."""
    try:
        return arrival.application.page_here(arrival.exchange)
    except Exception as error:
        arrival.broken = error  # Django tells of it
        return None


def _open(arrival: Arrival) -> None:
    try:
        arrival.opened = arrival.application.open(arrival.exchange)
        arrival.attend()
    except Exception as error:
        arrival.broken = error  # Django tells of it


async def _aopen(arrival: Arrival) -> None:
    try:
        arrival.opened = await arrival.application.aopen(arrival.exchange)
        arrival.attend()
    except Exception as error:
        arrival.broken = error


def _line(page: Response) -> str:
    """The status line of an answer."""
    return f"{page.status} {responses.get(page.status, 'Unknown')}"


async def _send(page: Response, fields: Iterable[tuple[str, str]], send: Callable[..., Any]) -> None:
    await send({"type": "http.response.start", "status": page.status, "headers": [*_lines(tuple(fields))]})
    await send({"type": "http.response.body", "body": page.body})


@lru_cache(maxsize=256)
def _lines(fields: tuple[tuple[str, str], ...]) -> tuple[tuple[bytes, bytes], ...]:
    """Fields as ASGI has them; remembered, since pages in memory have the same ones for a second."""
    return tuple([(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields])


def _fields(arrival: Arrival, page: Response) -> Pairs:
    """The fields of a page that is sent, with what is told of the limits, and the session cookie that is due."""
    exchange = arrival.exchange
    exchange.status, exchange.started = page.status, True
    visit = exchange.visit
    is_due = visit is not None and arrival.due(visit) is not None
    limits = arrival.application.layer.fields(exchange)
    if not is_due and exchange.tally is None:
        return [*page.headers, *limits]
    response: HttpResponseBase = replayed(page)
    before = ARRIVAL.set(arrival)
    try:
        give_due(response, arrival)
    finally:
        ARRIVAL.reset(before)
    for name, value in limits:
        response.headers[name] = value
    exchange.answer = response
    cookies = [("Set-Cookie", morsel.OutputString()) for morsel in response.cookies.values()]
    return [*((str(name), str(value)) for name, value in response.headers.items()), *cookies]
