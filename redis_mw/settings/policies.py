"""The policies that rules and decorators name: one frozen value each, the same in both places.

Values only. Which of them holds for a request is compiled in ``policy``; what each does stands in its feature's room.
Lists may be given where tuples are named; inside ``Settings`` they are tuples.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, TypeAlias, cast

import msgspec

from redis_mw.errors import Problem
from redis_mw.settings.defaults import DefaultFlag, DefaultText
from redis_mw.settings.durations import microseconds
from redis_mw.settings.must import Count, CountOrZero, Fraction, Must, NotNegative, Positive, between
from redis_mw.settings.part import Part
from redis_mw.settings.paths import PathPattern
from redis_mw.settings.rates import By, Counted, Name, Rate
from redis_mw.settings.texts import Method, Token

Refusal: TypeAlias = Annotated[int, Must(between(400, 599))]
OnSession: TypeAlias = Literal["auto", "skip", "require"]


class Strikes(Part, frozen=True, kw_only=True):
    """After so many denials in a row a client is banned, each time ``factor`` times as long, up to ``cap``."""

    after: Count = 5
    ban: Positive = 60
    factor: Count = 2
    cap: Positive = 86400

    def contradictions(self, path: str) -> Iterator[Problem]:
        if microseconds(self.ban) > microseconds(self.cap):
            yield Problem(f"{path}.ban", "is longer than cap", "raise cap, or lower ban")


# What may be given without its name stands in a base of its own: msgspec's kw_only holds for the fields of one class.
class _Rated(Part, frozen=True):
    rate: Rate


class Limit(_Rated, frozen=True, kw_only=True):
    """At most so many requests, of whom and in which time: ``Limit("5/minute", by="user")``."""

    shorthand: ClassVar[str] = "rate"

    name: Token | None = None
    by: By | Sequence[By] = "client"
    cost: Count = 1
    algorithm: Literal["sliding", "gcra", "fixed", "concurrency"] = "sliding"
    burst: Count | None = None
    strict: bool = False
    methods: Sequence[Method] | None = None
    on_deny: Literal["free", "charge"] = "free"
    on_outage: Literal["local", "open", "closed"] = "local"
    count: Counted = "all"
    shadow: bool = False
    strikes: Strikes | None = None
    lease: CountOrZero = 0
    status: Refusal = 429


class _Lasting(Part, frozen=True):
    ttl: Positive


def _negative() -> Mapping[int, NotNegative] | NotNegative:
    return {404: 10, 410: 60}


class Cached(_Lasting, frozen=True, kw_only=True):
    """Responses are kept and shared for ``ttl``."""

    shorthand: ClassVar[str] = ""

    tags: Sequence[str] = ()
    vary: Sequence[Token] = ()
    key: Name | None = None
    stale: NotNegative = 0
    stale_if_error: NotNegative = 0
    negative: Mapping[int, NotNegative] | NotNegative = msgspec.field(default_factory=_negative)
    jitter: Fraction | None = None
    public: bool = False
    methods: Sequence[Method] = ("GET",)
    host_any: bool = False
    cookies: Sequence[Token] | Literal["all"] = ()


class _Named(Part, frozen=True):
    name: Name


class Lock(_Named, frozen=True, kw_only=True):
    """One request at a time (or, shared, any number of readers) for each value of the name's template."""

    shorthand: ClassVar[str] = "name"

    ttl: Positive | None = None
    wait: NotNegative | None = None
    shared: bool = False
    cancel_when_lost: bool = False
    methods: Sequence[Method] | None = None


class Idempotent(Part, frozen=True, kw_only=True):
    """A request that is sent again with the same key runs once; its first answer is replayed."""

    required: bool = False
    scope: Name | None = None
    wait: NotNegative = 0
    methods: Sequence[Method] = ("POST", "PATCH")


class _Placed(Part, frozen=True):
    path: PathPattern


class Rule(_Placed, frozen=True, kw_only=True):
    """What holds for the requests whose path, and method if any are named, match.

    ``session`` and ``touch`` at their defaults are *not set*: a later rule that matches may set them. Written out,
    ``session="auto"`` or ``touch=True`` are set, and no later rule changes them.
    """

    methods: Sequence[Method] | None = None
    limits: Sequence[Limit | str] = ()
    cache: Cached | None = None
    lock: Lock | None = None
    idempotency: Idempotent | None = None
    session: OnSession = cast(OnSession, DefaultText("auto"))
    touch: bool = cast(bool, DefaultFlag(True))
