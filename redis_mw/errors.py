"""What can go wrong, as values that say it.

One root, few leaves; each carries what it knows (status, retry_after, key), so that an integration can answer
without reading a message. Two of them, ``CommandError`` and ``RedisUnavailable``, also travel as *replies*: a driver
hands them to the flow they belong to instead of raising them (see ``flows``).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias


class RedisMWError(Exception):
    """Every error that redis-mw raises on purpose is one of these."""


class Problem(NamedTuple):
    """One thing that is wrong with the settings: where it stands, what is wrong, what to do about it."""

    path: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}; {self.remedy}" if self.remedy else f"{self.path}: {self.message}"


class SettingsError(RedisMWError, ValueError):
    """The settings cannot be used; ``problems`` lists everything that is wrong with them, not just the first."""

    def __init__(self, problems: "list[Problem] | tuple[Problem, ...]") -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class LayerMissing(RedisMWError):
    """Something was asked of the request layer in a place where no layer is mounted."""


class MissingExtra(RedisMWError, ImportError):
    """A feature needs an optional dependency; ``extra`` names what to install: ``redis-mw[<extra>]``."""

    def __init__(self, extra: str, needed_for: str) -> None:
        self.extra = extra
        super().__init__(f'{needed_for} needs an optional dependency: pip install "redis-mw[{extra}]"')


class PolicyError(RedisMWError):
    """A policy cannot be applied as it was written."""


class CommandError(RedisMWError):
    """Redis answered one command with an error; ``code`` is its first word (``OOM``, ``WRONGTYPE``, ``READONLY``)."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code} {message}")


class RedisUnavailable(RedisMWError):
    """Redis gave no answer in time, or could not be reached; ``retry_after`` is in seconds.

    In a request it is answered with 503 and ``Retry-After`` unless handled.
    """

    status = 503

    def __init__(self, reason: str, retry_after: float = 1.0) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


class SessionUnavailable(RedisMWError):
    """The request needs its session and Redis is away; answered with 503 and ``Retry-After`` unless handled."""

    status = 503

    def __init__(self, reason: str = "the session store is unavailable", retry_after: float = 1.0) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


class SessionTooLarge(RedisMWError):
    """The session would exceed ``sessions.max_bytes`` or ``max_fields``; ``key`` is its largest. Nothing is written."""

    def __init__(self, key: str, size: int, limit: int, unit: str = "bytes") -> None:
        self.key = key
        self.size = size
        self.limit = limit
        super().__init__(f"the session is too large: {size} {unit}, limit {limit}; its largest key is {key!r}")


class SessionClosed(RedisMWError):
    """The session was changed after the response had started; ``await session.save()`` writes at such a time."""


class SessionLimitReached(RedisMWError):
    """The user has ``sessions.max_sessions`` sessions already and ``on_max`` is ``"refuse"``; nothing was written.

    Answered with 409 unless handled.
    """

    status = 409

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the user has {limit} sessions already")


class CannotEncode(RedisMWError, TypeError):
    """A value cannot be stored; ``type`` is its type's name and ``path`` where it stands (``cart.items[2]``)."""

    def __init__(self, type: str, path: str, remedy: str = "") -> None:
        self.type = type
        self.path = path
        super().__init__(f"{path}: a value of type {type} cannot be stored" + (f"; {remedy}" if remedy else ""))


class ValueTooLarge(RedisMWError, ValueError):
    """A value is larger than ``cache.max_value``, so nothing was stored; ``key`` is what it was to be stored under."""

    def __init__(self, key: str, size: int, limit: int) -> None:
        self.key = key
        self.size = size
        self.limit = limit
        super().__init__(
            f"the value for {key!r} is too large: {size} bytes, limit {limit}; raise cache.max_value, "
            "or set cache.chunks=True to have large values stored in chunks"
        )


class Refused(RedisMWError):
    """The layer does not let a request pass: answered with ``status``, and ``Retry-After`` unless that is None.

    ``problem`` are the members of the problem details (RFC 9457) of the answer: ``type``, ``title``, ``detail`` and
    what the kind of refusal adds.
    """

    def __init__(self, status: int, retry_after: float | None, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.retry_after = retry_after
        self.problem = problem
        super().__init__(str(problem.get("detail") or problem.get("title") or status))


class LimitExceeded(Refused):
    """A rate limit is used up, or the client is banned or on the deny list; ``verdicts`` (``Verdict`` each) are what
    the limits of the request said, as far as they were asked.
    """

    def __init__(
        self, status: int, retry_after: float | None, problem: Mapping[str, Any], verdicts: Sequence[Any] = ()
    ) -> None:
        self.verdicts = tuple(verdicts)
        super().__init__(status, retry_after, problem)


class LockTimeout(Refused):
    """The locks ``names`` were not free within the wait, or at once where it is 0; nothing is held, nobody is queued.

    Answered with 409 unless handled.
    """

    def __init__(self, names: Sequence[str], retry_after: float = 1.0) -> None:
        self.names = tuple(names)
        super().__init__(409, retry_after, {"title": "Conflict", "detail": "Another request is at work on this."})
        self.args = (f"not free in time: {', '.join(self.names)}",)


class QueueFull(Refused):
    """As many wait for one of the locks ``names`` as may (``locks.queue``); answered with 429 unless handled."""

    def __init__(self, names: Sequence[str], retry_after: float = 1.0) -> None:
        self.names = tuple(names)
        detail = "Too many requests wait for this already."
        super().__init__(429, retry_after, {"title": "Too Many Requests", "detail": detail})
        self.args = (f"too many wait already: {', '.join(self.names)}",)


class LeaseLost(RedisMWError):
    """The locks ``names`` were lost while they were held: what was done meanwhile may not have been done alone.

    Answered with 503 unless handled.
    """

    status = 503
    retry_after = 1.0

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(f"lost while they were held: {', '.join(self.names)}")


class NotOwner(RedisMWError):
    """What is to be given back is not held, or not any more; nobody else's lock was touched."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(f"not held: {', '.join(self.names)}")


class IdempotencyError(Refused):
    """A request must not run because of its idempotency key, or for want of one; ``reason`` is that of the problem.

    ``missing`` and ``malformed`` (400), ``in-progress``, ``unknown`` and ``not-kept`` (409), ``too-large`` (413),
    ``reused`` (422), ``unavailable`` (503).
    """

    @property
    def reason(self) -> str:
        return str(self.problem["reason"])


Refusal: TypeAlias = SessionUnavailable | RedisUnavailable | SessionLimitReached | LeaseLost | Refused
"""What is no bug but an answer, of this ``status``, unless the application handles it."""
