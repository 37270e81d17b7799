"""What a limit says of a request, as values: for the application, and for what has to be settled afterwards."""

import msgspec

from redis_mw.limits.ledger import Ask


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What was taken by one question, so that it can be given back, once for its ``id``.

    ``mark`` is the sub-window or window the units were counted in (under gcra the moment), ``lives_us`` how long they
    count there.
    """

    ask: Ask
    mark: int
    cost: int
    id: str
    lives_us: int = 0

    @property
    def is_slot(self) -> bool:
        """Whether it is a place among the requests in flight."""
        return self.ask.quota.kind == "c"

    @property
    def reserved(self) -> bool:
        """Whether Redis keeps the id until this is settled."""
        return "r" in self.ask.quota.flags


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
