"""How a request is answered without its view: a refusal by its status (429, 503, 403, 409), or by what
``REDIS_MW_HANDLER`` makes of it; a repeat with what was answered before.
"""

from typing import cast

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from redis_mw.errors import Refusal, SessionLimitReached, SessionUnavailable
from redis_mw.layer.exchange import Replayed, Response, refused

BODILESS = (204, 304)
"""Statuses whose responses have no length (RFC 9110 section 8.6)."""


class SessionAway(SessionUnavailable, BadRequest):
    """``SessionUnavailable`` where ``RedisMiddleware`` is mounted.

    What Django's own middleware raises is turned into a response on the spot: into a 500 with an alarm, but for errors
    of a few kinds that it takes for the client's. This is one of those, so that ``RedisMiddleware`` is handed a quiet
    400, which it replaces.
    """


class TooManySessions(SessionLimitReached, BadRequest):
    """``SessionLimitReached`` where ``RedisMiddleware`` is mounted; likewise."""


def answered(request: HttpRequest, error: Exception) -> HttpResponseBase | None:
    """The answer that stands for a view which was refused something or was not run, None for any other error."""
    if isinstance(error, Replayed):
        return replayed(error.response)
    return refusal(request, error) if isinstance(error, Refusal) else None


async def aanswered(request: HttpRequest, error: Exception) -> HttpResponseBase | None:
    """The same on the event loop."""
    return await arefusal(request, error) if isinstance(error, Refusal) else answered(request, error)


async def arefusal(request: HttpRequest, error: Refusal) -> HttpResponseBase:
    """The same on the event loop; a handler may ask the database, so it is called where Django calls sync views."""
    if getattr(django_settings, "REDIS_MW_HANDLER", None) is None:
        return refusal(request, error)
    return await sync_to_async(refusal, thread_sensitive=True)(request, error)


def refusal(request: HttpRequest, error: Refusal) -> HttpResponseBase:
    """The answer to a request that was refused something; a handler that returns None leaves it to us."""
    path = getattr(django_settings, "REDIS_MW_HANDLER", None)
    if path is not None:
        answer = import_string(path)(request, error)
        if answer is not None:
            return cast(HttpResponseBase, answer)
    response = refused(error, request.headers.get("Accept"))
    return HttpResponse(response.body, status=response.status, headers=dict(response.headers))


def replayed(answer: Response) -> HttpResponse:
    """What was answered before, or is stored; nothing of it is Django's own.

    Django keeps one field of each name, so the values of one that was sent in several lines are joined as RFC 9110
    section 5.3 allows.
    """
    response = HttpResponse(answer.body, status=answer.status)
    del response.headers["Content-Type"]
    for name, value in answer.headers:
        if name.lower() == "set-cookie":
            response.cookies.load(value)
            continue
        before = response.headers.get(name)
        response.headers[name] = value if before is None else f"{before}, {value}"
    if not answer.complete and answer.status not in BODILESS:
        response.headers["Content-Length"] = str(len(answer.body))
    return response
