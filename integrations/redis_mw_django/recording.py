"""The response on its way to the client: judged as it leaves Django's middleware, kept for whoever sends the request
again, or the like of it, and replaced where something that is stored is the answer.

A whole one is stored before it leaves. A stream is kept as it passes (see ``stream``).
"""

import asyncio
from typing import Any, cast

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from redis_mw.flows import Flow
from redis_mw_django.arrival import Arrival
from redis_mw_django.behind import LARGE
from redis_mw_django.refusals import replayed
from redis_mw_django.sessions import session_of
from redis_mw_django.stream import Stream

NOT_LET_PASS = (401, 403)
TOKEN = "CSRF_COOKIE_NEEDS_UPDATE"
"""What Django leaves in META where a CSRF token was asked for; its middleware sets it to False, once that is sent."""


def noticed(arrival: Arrival, request: HttpRequest) -> None:
    """Note whether what is answered may be for this visitor only."""
    exchange = arrival.exchange
    session: Any = getattr(request, "session", None)
    accessed = bool(getattr(session, "accessed", False))
    ours, closing = session_of(request), arrival.application.layer.closing
    if ours is not None:
        closing.looked(exchange, accessed=accessed, read=ours.read, changed=ours.changed)
    else:
        exchange.accessed = accessed
    exchange.csrf = TOKEN in request.META


def judge(arrival: Arrival, request: HttpRequest, response: HttpResponseBase) -> None:
    """Take note of the head of the response, as the application made it."""
    exchange, closing = arrival.exchange, arrival.application.layer.closing
    if exchange.stopped or not closing.notes(exchange):
        return
    arrival.noted = True
    exchange.status = response.status_code
    fields = [(str(name), str(value)) for name, value in cast(Any, response).items()]
    cookies = [("Set-Cookie", morsel.OutputString()) for morsel in response.cookies.values()]
    exchange.headers = (*fields, *cookies)
    noticed(arrival, request)
    closing.judge(exchange)


def recorded(arrival: Arrival, request: HttpRequest, response: HttpResponseBase) -> Flow[None] | None:
    """What has to be run before this response leaves, None for nothing; a stream is watched from now on.

    A file is watched like any stream, so the server does not send it by itself.
    """
    exchange, closing = arrival.exchange, arrival.application.layer.closing
    if exchange.attempt is not None and closing.records(exchange) and _is_turned_away(arrival, response):
        return exchange.attempt.release()
    whole: bytes | None = None
    if closing.records(exchange):
        if isinstance(response, StreamingHttpResponse):
            Stream(arrival, lambda: noticed(arrival, request)).watch(response)
        else:
            whole = cast(Any, response).content
    if whole is not None or closing.closes(exchange):
        return closing.close(exchange, whole)
    return None


async def packed(arrival: Arrival, response: HttpResponseBase) -> None:
    """A large body is made ready beside the loop, which others need; before ``recorded``."""
    closing = arrival.application.layer.closing
    if isinstance(response, HttpResponse) and closing.records(arrival.exchange):
        body = response.content
        if len(body) >= LARGE:
            await asyncio.to_thread(closing.pack, arrival.exchange, body)


def replaced(arrival: Arrival, response: HttpResponseBase) -> HttpResponseBase:
    """The response, or what the client gets in its place; the session's cookie and what is to be closed stay.

    A stream whose client has a copy already is still read to its end, for the others.
    """
    instead = arrival.application.layer.closing.instead(arrival.exchange)
    if instead is None or arrival.exchange.stopped:
        return response
    answer = replayed(instead)
    arrival.hand_cookie(response, answer)
    cast(Any, answer)._resource_closers = cast(Any, response)._resource_closers
    return answer


def _is_turned_away(arrival: Arrival, response: HttpResponseBase) -> bool:
    """Whether somebody before the view has not let the request pass: it comes again with a fresh CSRF token, say, and
    must run then. Known where a decorator asks for the key; a rule does not see which view was called.
    """
    exchange = arrival.exchange
    is_of_view = exchange.attempt is not None and exchange.attempt.entry in exchange.claims
    return is_of_view and not arrival.reached and response.status_code in NOT_LET_PASS
