"""The policies that rules and decorators name: one frozen value each, the same in both places.

Values only. Which of them holds for a request is compiled in ``policy``; what each does stands in its feature's room.
Lists may be given where tuples are named; inside ``Settings`` they are tuples.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, Self, TypeAlias, cast

import msgspec

from redis_mw.errors import Problem, SettingsError
from redis_mw.settings.defaults import DefaultFlag, DefaultText
from redis_mw.settings.durations import microseconds
from redis_mw.settings.must import Count, CountOrZero, Fraction, Lasting, Must, NotNegative, Positive, between
from redis_mw.settings.part import Part
from redis_mw.settings.paths import PathPattern
from redis_mw.settings.rates import By, Cost, Counted, Name, Rate, RateText, parse_rate
from redis_mw.settings.reading import Reader
from redis_mw.settings.templates import template_problems
from redis_mw.settings.texts import Method, Token

Refusal: TypeAlias = Annotated[int, Must(between(400, 599))]
OnSession: TypeAlias = Literal["auto", "skip", "require"]


class Policy(Part, frozen=True):
    """What a rule or a decorator may ask for."""

    def checked(self, path: str) -> Self:
        """The same with its fields checked as those of ``Settings`` are; SettingsError lists what is wrong."""
        reader = Reader()
        policy = reader.read(type(self), self, path)
        if reader.problems:
            raise SettingsError(reader.problems)
        return cast(Self, policy)


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
class _Rated(Policy, frozen=True):
    rate: RateText


class Limit(_Rated, frozen=True, kw_only=True):
    """At most so many requests, of whom and in which time: ``Limit("5/minute", by="user")``."""

    shorthand: ClassVar[str] = "rate"

    name: Token | None = None
    by: By | Sequence[By] = "client"
    cost: Cost = 1
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

    @property
    def fixed_rate(self) -> Rate | None:
        """What the rate says; None where a callable says it for each request."""
        rate: object = self.rate
        return parse_rate(rate) if isinstance(rate, str) and not rate.startswith("call:") else None

    @property
    def conditional(self) -> bool:
        """Whether what a request costs is known only by its response."""
        return self.count != "all"

    def contradictions(self, path: str) -> Iterator[Problem]:
        rate, rated = self.fixed_rate, self.algorithm == "gcra"
        if not self.by and not isinstance(self.by, str):
            yield Problem(f"{path}.by", "is empty", 'give what it counts by; "global" counts all together')
        if self.strict and not rated:
            yield Problem(f"{path}.strict", "is for gcra only", "leave it out: the others are never above the rate")
        if self.burst is None and rated:
            yield Problem(f"{path}.burst", "is missing", "say how many may come at once under gcra")
        if self.burst is not None and not rated:
            yield Problem(f"{path}.burst", "is for gcra only", 'leave it out, or set algorithm="gcra"')
        if self.lease and (self.algorithm not in ("sliding", "fixed") or self.conditional or self.strikes):
            yield Problem(f"{path}.lease", "needs to know that what is taken counts", "leave out lease or the others")
        if rate is not None:
            yield from self.against(path, rate)

    def against(self, path: str, rate: Rate) -> Iterator[Problem]:
        """What is wrong with the other fields for this rate; a callable's is known only then."""
        if rate.in_flight:
            yield from self._slots(path)
            return
        if self.algorithm == "concurrency":
            yield Problem(f"{path}.rate", "is not a number in flight", 'write it like "20 in flight"')
        if isinstance(self.cost, int) and self.cost > rate.amount:
            yield Problem(f"{path}.cost", f"is over the limit of {rate.amount}", "nothing would ever pass: lower it")
        if self.lease > rate.amount:
            yield Problem(f"{path}.lease", f"is over the limit of {rate.amount}", "lower it")
        if self.algorithm == "gcra" and rate.amount > rate.period_us:
            yield Problem(f"{path}.rate", "is more than one in a microsecond", "lower it")
        if self.burst is not None and (self.burst > rate.amount or (self.strict and self.burst == rate.amount)):
            yield Problem(f"{path}.burst", f"leaves nothing of the {rate.amount} for the rest", "lower it")
        if isinstance(self.cost, int) and self.burst is not None and self.cost > self.burst:
            yield Problem(f"{path}.cost", f"is over the burst of {self.burst}", "nothing would ever pass: lower it")

    def _slots(self, path: str) -> Iterator[Problem]:
        """What makes no sense of requests in flight: they end by themselves and are counted by ones."""
        for name, wrong in (
            ("algorithm", self.algorithm not in ("sliding", "concurrency")),
            ("cost", self.cost != 1),
            ("count", self.conditional),
            ("on_deny", self.on_deny == "charge"),
            ("strikes", self.strikes is not None),
            ("lease", self.lease > 0),
        ):
            if wrong:
                yield Problem(f"{path}.{name}", "has no meaning for requests in flight", "leave it out")


class _Lasting(Policy, frozen=True):
    ttl: NotNegative


MOST_TAGS = 31
"""One more may hang on a page by itself."""
PERSONAL = {"cookie", "authorization", "*"}


def _negative() -> Mapping[int, NotNegative] | NotNegative:
    return {404: 10, 410: 60}


class Cached(_Lasting, frozen=True, kw_only=True):
    """Responses are kept and shared, for what they say themselves, else for ``ttl``; 0: only where they say it."""

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

    def contradictions(self, path: str) -> Iterator[Problem]:
        yield from template_problems(f"{path}.key", self.key)
        for index, tag in enumerate(self.tags):
            yield from template_problems(f"{path}.tags[{index}]", tag)
        if len(self.tags) > MOST_TAGS:
            yield Problem(f"{path}.tags", f"are {len(self.tags)}", f"a response has {MOST_TAGS} at most")
        if personal := sorted({name.lower() for name in self.vary} & PERSONAL):
            remedy = 'name cookies in "cookies", or tell visitors apart by "key"'
            yield Problem(f"{path}.vary", f"names {personal[0]}, by which nothing can be shared", remedy)
        if others := sorted({*self.methods} - {"GET", "HEAD"}):
            yield Problem(f"{path}.methods", f"names {others[0]}", "only answers to GET are kept, and given to HEAD")
        if "GET" not in self.methods:
            yield Problem(f"{path}.methods", "has no GET", "only answers to GET are kept, and given to HEAD")
        if isinstance(self.negative, Mapping):
            for status in self.negative:
                if not 400 <= status <= 599:
                    yield Problem(f"{path}.negative", f"names {status}", "give statuses from 400 to 599")


class _Named(Policy, frozen=True):
    name: Name


class Lock(_Named, frozen=True, kw_only=True):
    """One request at a time (or, shared, any number of readers) for each value of the name's template."""

    shorthand: ClassVar[str] = "name"

    ttl: Lasting | None = None
    wait: NotNegative | None = None
    shared: bool = False
    cancel_when_lost: bool = False
    methods: Sequence[Method] | None = None

    def contradictions(self, path: str) -> Iterator[Problem]:
        return template_problems(f"{path}.name", self.name)


class Idempotent(Policy, frozen=True, kw_only=True):
    """A request that is sent again with the same key runs once; its first answer is replayed."""

    required: bool = False
    scope: Name | None = None
    wait: NotNegative = 0
    methods: Sequence[Method] = ("POST", "PATCH")

    def contradictions(self, path: str) -> Iterator[Problem]:
        return template_problems(f"{path}.scope", self.scope)


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
