"""What the layer refuses, as exceptions of werkzeug's, so that ``@app.errorhandler`` sees them.

Each is also the error of the core that says the same, and handlers of either see it.

Handlers show visitors the ``description`` of such an exception: it is the text of the default answer. Where Redis is,
and what went wrong with it, is only in ``reason``, for logs.
"""

from functools import cache
from typing import Any

from flask import Response
from werkzeug.exceptions import (
    BadRequest,
    Conflict,
    Forbidden,
    HTTPException,
    RequestEntityTooLarge,
    ServiceUnavailable,
    TooManyRequests,
    UnprocessableEntity,
    default_exceptions,
)

from redis_mw.errors import (
    IdempotencyError,
    LeaseLost,
    LimitExceeded,
    LockTimeout,
    QueueFull,
    RedisUnavailable,
    Refusal,
    Refused,
    SessionLimitReached,
    SessionUnavailable,
)
from redis_mw.layer import exchange
from redis_mw_flask.pages import response_of


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
        self.retry_after = _seconds(answer)
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


class LockBusy(LockTimeout, Conflict):
    """The locks ``names`` were not free in time: a 409 that carries ``retry_after``, in seconds.

    Handlers of 409, of ``Conflict`` and of ``LockTimeout`` see it. The names are for logs, not for visitors.
    """

    def __init__(self, answer: exchange.Response, refusal: LockTimeout) -> None:
        super().__init__(refusal.names)
        self.retry_after = _seconds(answer)
        self.description = exchange.detail_of(refusal)
        self.response = _response(answer)


class LockQueueFull(QueueFull, TooManyRequests):  # type: ignore[misc]  # both say retry_after
    """As many wait for one of the locks ``names`` as may: a 429, answered in the same manner."""

    def __init__(self, answer: exchange.Response, refusal: QueueFull) -> None:
        super().__init__(refusal.names)
        self.retry_after = _seconds(answer)
        self.description = exchange.detail_of(refusal)
        self.response = _response(answer)


class LockLost(LeaseLost, ServiceUnavailable):  # type: ignore[misc]  # both say retry_after
    """The locks ``names`` were lost while a view was at work under them, and it let ``LeaseLost`` pass: a 503."""

    def __init__(self, answer: exchange.Response, refusal: LeaseLost) -> None:
        super().__init__(refusal.names)
        self.retry_after = _seconds(answer) or LeaseLost.retry_after
        self.description = exchange.detail_of(refusal)
        self.response = _response(answer)


class _OfKey(IdempotencyError, HTTPException):
    """What the answers have in common that a request gets because of its idempotency key: its ``reason``."""

    def __init__(self, answer: exchange.Response, refusal: IdempotencyError) -> None:
        super().__init__(refusal.status, None, refusal.problem)
        self.retry_after = _seconds(answer)
        self.description = exchange.detail_of(refusal)
        self.response = _response(answer)


class KeyInvalid(_OfKey, BadRequest):
    """The idempotency key is missing where it is required, or malformed: a 400.

    Handlers of 400, of ``BadRequest`` and of ``IdempotencyError`` see it, and so for its siblings; without one it is
    answered with problem details or a plain text, as the request's Accept has it (RFC 9457).
    """


class KeyBusy(_OfKey, Conflict):
    """Another request with the key is under way, or its answer is not known, or was not kept: a 409."""


class KeyedBodyTooLarge(_OfKey, RequestEntityTooLarge):
    """The body of a request with a key is larger than may be compared: a 413."""


class KeyReused(_OfKey, UnprocessableEntity):
    """The key was used for another request: a 422."""


class KeyUnavailable(_OfKey, ServiceUnavailable):  # type: ignore[misc]  # both say retry_after
    """Redis is away, so nobody knows whether the request has run before: a 503."""


class Replayed(HTTPException):
    """The request has run before, and this carries what it was answered past the view. It is no error: no handler sees
    it, while ``after_request`` functions see its response as any other.
    """

    def __init__(self, answer: exchange.Response) -> None:
        super().__init__("The request has run before.", response_of(answer))


def raised(answer: exchange.Respond | exchange.Replay) -> HTTPException:
    """What takes the place of a view that must not run, as an exception."""
    if isinstance(answer, exchange.Replay):
        return Replayed(answer.response)
    return exception(answer.refusal, answer.response)


def exception(refusal: Refusal, answer: exchange.Response) -> HTTPException:
    """A refusal of the core's as an exception that has an answer."""
    match refusal:
        case LimitExceeded():
            limited: HTTPException = _limited(refusal.status)(answer, refusal)
            return limited
        case LockTimeout():
            return LockBusy(answer, refusal)
        case QueueFull():
            return LockQueueFull(answer, refusal)
        case IdempotencyError():
            of_key: HTTPException = _OF_KEY[refusal.status](answer, refusal)
            return of_key
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
            return LockLost(answer, refusal)


_OF_KEY: dict[int, Any] = {400: KeyInvalid, 409: KeyBusy, 413: KeyedBodyTooLarge, 422: KeyReused, 503: KeyUnavailable}


@cache
def _limited(status: int) -> Any:
    """The exception for a limit of this status; the application may have chosen any of 400 to 599."""
    for named in (RateLimited, LimitClosed, ClientDenied):
        if named.code == status:
            return named
    return type(f"Limited{status}", (_Limited, default_exceptions.get(status, HTTPException)), {"code": status})


def _seconds(answer: exchange.Response) -> int | None:
    """When to ask again, as the answer says it."""
    seconds = dict(answer.headers).get("retry-after")
    return int(seconds) if seconds is not None else None


def _response(answer: exchange.Response) -> Response:
    return Response(answer.body, answer.status, list(answer.headers))
