"""How a refusal is answered: by its status (429, 503, 403, 409), or by what ``REDIS_MW_HANDLER`` makes of it."""

from typing import cast

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from redis_mw.errors import Refusal, SessionLimitReached, SessionUnavailable
from redis_mw.layer.exchange import Replay, refused


class SessionAway(SessionUnavailable, BadRequest):
    """``SessionUnavailable`` where ``RedisMiddleware`` is mounted.

    What Django's own middleware raises is turned into a response on the spot: into a 500 with an alarm, but for errors
    of a few kinds that it takes for the client's. This is one of those, so that ``RedisMiddleware`` is handed a quiet
    400, which it replaces.
    """


class TooManySessions(SessionLimitReached, BadRequest):
    """``SessionLimitReached`` where ``RedisMiddleware`` is mounted; likewise."""


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


def replayed(replay: Replay) -> HttpResponse:
    """What was answered before to the same request."""
    response = HttpResponse(replay.response.body, status=replay.response.status)
    for name, value in replay.response.headers:
        response.headers[name] = value
    return response
