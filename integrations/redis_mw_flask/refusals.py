"""What the layer refuses, as exceptions of werkzeug's, so that ``@app.errorhandler`` sees them.

Handlers show visitors the ``description`` of such an exception: it is the text of the default answer. Where Redis is,
and what went wrong with it, is only in ``reason``, for logs.
"""

from flask import Flask, Response, request
from werkzeug.exceptions import Conflict, HTTPException, ServiceUnavailable

from redis_mw.errors import RedisMWError, RedisUnavailable, SessionLimitReached, SessionUnavailable
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


def answer_refusals(app: Flask) -> None:
    """Have what redis-mw refuses answered by the application's handlers, wherever it was raised.

    Flask makes a bare 500 of what is raised after the view, when the session is saved, or in an ``after_request``
    function (Flask-Login has one that reads the session). The functions then run once more for the answer, as Flask
    runs them for its 500.
    """
    handle, process = app.handle_user_exception, app.process_response

    def handle_user_exception(error: Exception) -> object:
        return handle(_as_http(error))

    def process_response(response: Response) -> Response:
        try:
            return process(response)
        except RedisMWError as error:
            answer = app.make_response(app.handle_user_exception(_as_http(error)))
        response.close()
        try:
            return process(answer)
        except RedisMWError:
            return answer

    app.handle_user_exception = handle_user_exception  # type: ignore[method-assign,assignment]
    app.process_response = process_response  # type: ignore[method-assign]


def _as_http(error: Exception) -> Exception:
    """The same error, as one that has an answer; any other as it is."""
    if isinstance(error, HTTPException):
        return error
    accept = request.headers.get("Accept")
    match error:
        case RedisUnavailable():
            return RedisAway(exchange.refused(error, accept), error.reason)
        case SessionLimitReached():
            return TooManySessions(exchange.refused(error, accept), error.limit)
        case _:
            return error


def _response(answer: exchange.Response) -> Response:
    return Response(answer.body, answer.status, list(answer.headers))
