"""What the layer refuses, as exceptions of werkzeug's, so that ``@app.errorhandler`` sees them.

Each is also the error of the core that says the same, and handlers of either see it.

Handlers show visitors the ``description`` of such an exception: it is the text of the default answer. Where Redis is,
and what went wrong with it, is only in ``reason``, for logs.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import (
    Conflict,
    Forbidden,
    HTTPException,
    ServiceUnavailable,
    TooManyRequests,
    default_exceptions,
)

from redis_mw.errors import (
    LeaseLost,
    LimitExceeded,
    RedisMWError,
    RedisUnavailable,
    Refusal,
    Refused,
    SessionLimitReached,
    SessionUnavailable,
)
from redis_mw.layer import exchange


class StoreUnavailable(SessionUnavailable, ServiceUnavailable):  # type: ignore[misc]  # both say retry_after
    """The request needs its session and Redis is away: a 503 that carries ``retry_after``, in seconds.

    Handlers of 503, of ``ServiceUnavailable`` and of ``SessionUnavailable`` see it; without one it is answered with
    problem details or a plain text, as the request's Accept has it (RFC 9457). A handler cannot use the session.
    """

    def __init__(self, answer: exchange.Response, reason: str = "the session store is unavailable") -> None:
        super().__init__(reason)
        self.description = exchange.detail_of(self)
        self.retry_after = int(dict(answer.headers)["retry-after"])
        self.response = _response(answer)


class RedisAway(RedisUnavailable, ServiceUnavailable):  # type: ignore[misc]  # both say retry_after
    """What becomes of a ``RedisUnavailable`` that a view lets pass (``mw.sessions.of_user(...)``): a 503 likewise."""

    def __init__(self, answer: exchange.Response, reason: str) -> None:
        super().__init__(reason)
        self.description = exchange.detail_of(self)
        self.retry_after = int(dict(answer.headers)["retry-after"])
        self.response = _response(answer)


class TooManySessions(SessionLimitReached, Conflict):
    """A login was refused because its user has ``limit`` sessions already: a 409, answered in the same manner.

    Handlers of 409, of ``Conflict`` and of ``SessionLimitReached`` see it. Nothing was stored and no cookie is given.
    """

    def __init__(self, answer: exchange.Response, limit: int) -> None:
        super().__init__(limit)
        self.description = exchange.detail_of(self)
        self.response = _response(answer)


class _Limited(LimitExceeded):
    """What the answers to a used up limit have in common: ``retry_after`` in whole seconds, and ``verdicts``."""

    def __init__(self, answer: exchange.Response, refusal: LimitExceeded) -> None:
        super().__init__(refusal.status, None, refusal.problem, refusal.verdicts)
        seconds = dict(answer.headers).get("retry-after")
        self.retry_after = int(seconds) if seconds is not None else None
        self.description = exchange.detail_of(refusal)
        self.response = _response(answer)


class RateLimited(_Limited, TooManyRequests):  # type: ignore[misc]  # both say retry_after
    """A rate limit is used up, or the client is banned for a while: a 429.

    Handlers of 429, of ``TooManyRequests`` and of ``LimitExceeded`` see it; without one it is answered with problem
    details or a plain text, as the request's Accept has it (RFC 9457).
    """


class LimitClosed(_Limited, ServiceUnavailable):  # type: ignore[misc]  # both say retry_after
    """Nobody can count just now and the limit is ``on_outage="closed"``, or it has the status 503: likewise."""


class ClientDenied(_Limited, Forbidden):  # type: ignore[misc]
    """The client is on the deny list: a 403."""


def raised(answer: exchange.Respond | exchange.Replay) -> HTTPException:
    """What takes the place of a view that must not run, as an exception."""
    if isinstance(answer, exchange.Replay):
        return HTTPException(response=_response(answer.response))
    return _raised(answer.refusal, answer.response)


def answer_refusals(app: Flask, seal: Callable[[Response], None]) -> None:
    """Have what redis-mw refuses answered by the application's handlers, wherever it was raised.

    Flask makes a bare 500 of what is raised after the view, when the session is saved, or in an ``after_request``
    function (Flask-Login has one that reads the session). The functions then run once more for the answer, as Flask
    runs them for its 500.

    ``seal`` is shown the response that is sent.
    """
    handle, process = app.handle_user_exception, app.process_response

    def handle_user_exception(error: Exception) -> object:
        return handle(_as_http(error))

    def processed(response: Response) -> Response:
        try:
            return process(response)
        except RedisMWError as error:
            answer = app.make_response(app.handle_user_exception(_as_http(error)))
        response.close()
        try:
            return process(answer)
        except RedisMWError:
            return answer

    def process_response(response: Response) -> Response:
        sent = response
        try:
            sent = processed(response)
        finally:
            seal(sent)  # if that failed while Flask answers an error: it sends what it has
        return sent

    app.handle_user_exception = handle_user_exception  # type: ignore[method-assign,assignment]
    app.process_response = process_response  # type: ignore[method-assign]


def _as_http(error: Exception) -> Exception:
    """The same error, as one that has an answer; any other as it is."""
    if isinstance(error, HTTPException):
        return error
    if isinstance(error, (RedisUnavailable, SessionLimitReached, LimitExceeded)):
        return _raised(error, exchange.refused(error, request.headers.get("Accept")))
    return error


def _raised(refusal: Refusal, answer: exchange.Response) -> HTTPException:
    match refusal:
        case LimitExceeded():
            limited: HTTPException = _limited(refusal.status)(answer, refusal)
            return limited
        case Refused():
            error = HTTPException(exchange.detail_of(refusal), _response(answer))
            error.code = refusal.status
            return error
        case SessionUnavailable():
            return StoreUnavailable(answer, refusal.reason)
        case RedisUnavailable():
            return RedisAway(answer, refusal.reason)
        case SessionLimitReached():
            return TooManySessions(answer, refusal.limit)
        case LeaseLost():
            lost = HTTPException(exchange.detail_of(refusal), _response(answer))
            lost.code = refusal.status
            return lost


@cache
def _limited(status: int) -> Any:
    """The exception for a limit of this status; the application may have chosen any of 400 to 599."""
    for named in (RateLimited, LimitClosed, ClientDenied):
        if named.code == status:
            return named
    return type(f"Limited{status}", (_Limited, default_exceptions.get(status, HTTPException)), {"code": status})


def _response(answer: exchange.Response) -> Response:
    return Response(answer.body, answer.status, list(answer.headers))
