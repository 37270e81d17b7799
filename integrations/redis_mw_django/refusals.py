"""How a request that cannot have its session is answered: 503, or what ``REDIS_MW_HANDLER`` makes of it."""

from typing import cast

from django.conf import settings as django_settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from redis_mw.errors import SessionUnavailable
from redis_mw.http.request import Fields, Request
from redis_mw.layer.exchange import unavailable


class SessionAway(SessionUnavailable, BadRequest):
    """``SessionUnavailable`` where ``RedisMiddleware`` is mounted.

    What Django's own middleware raises is turned into a response on the spot: into a 500 with an alarm, but for errors
    of a few kinds that it takes for the client's. This is one of those, so that ``RedisMiddleware`` is handed a quiet
    400, which it replaces.
    """


def refusal(request: HttpRequest, error: SessionUnavailable) -> HttpResponseBase:
    """The answer to a request whose session is unavailable; a handler that returns None leaves it to us."""
    path = getattr(django_settings, "REDIS_MW_HANDLER", None)
    if path is not None:
        answer = import_string(path)(request, error)
        if answer is not None:
            return cast(HttpResponseBase, answer)
    asked = Request(request.method or "GET", request.path_info, headers=Fields(tuple(request.headers.items())))
    response = unavailable(asked, error.retry_after).response
    return HttpResponse(response.body, status=response.status, headers=dict(response.headers))
