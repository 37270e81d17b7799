"""What a limit says of a request, as the application sees it."""

import msgspec

from redis_mw.limits.asks import Taken


class Verdict(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one limit says. It is true if the request may pass; under ``shadow`` it says so and nothing is refused.

    ``limit`` is the number of requests in a period, of which ``remaining`` are left. ``reset_after`` (all of it is
    there again) and ``retry_after`` (asking again may help; 0 when allowed) are in seconds. ``degraded``: Redis was
    away, and the policy of the limit decided.
    """

    allowed: bool
    limit: int
    name: str
    remaining: int
    reset_after: float = 0.0
    retry_after: float = 0.0
    degraded: bool = False
    shadow: bool = False
    banned: bool = False
    taken: Taken | None = None

    def __bool__(self) -> bool:
        return self.allowed


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What a limit would say of a request, without counting it: ``by`` is what it counts by, ``client`` whom it takes
    the request for, ``place`` where the limit stands. ``key`` is the name of its numbers in Redis.
    """

    name: str
    place: str
    by: str
    client: str
    key: str
    verdict: Verdict
