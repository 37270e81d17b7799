"""The settings of the features beside sessions: cache, limits, locks, idempotency."""

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from redis_mw.errors import Problem
from redis_mw.settings.durations import microseconds
from redis_mw.settings.must import Count, CountOrZero, Fraction, Lasting, Must, NotNegative, Positive, between
from redis_mw.settings.part import Part
from redis_mw.settings.policies import Limit
from redis_mw.settings.texts import ListedClient, Token

Ipv6Prefix: TypeAlias = Annotated[int, Must(between(1, 128))]


class Cache(Part, frozen=True, kw_only=True):
    """The shared cache of responses and of data; sizes in bytes, ``l1_bytes`` 0 keeps nothing in the process."""

    max_body: Count = 1048576
    chunks: bool = False
    compress_from: CountOrZero = 1024
    max_value: Count = 1048576
    jitter: Fraction = 0.1
    wait: NotNegative = 3.0
    origin_cap: Count = 8
    variants: Count = 32
    l1_bytes: CountOrZero = 16777216
    l1_age: NotNegative = 5
    honour_client_no_cache: bool = False
    store_set_cookie: bool = False


class Limits(Part, frozen=True, kw_only=True):
    """Rate limits: those with a name, those that hold everywhere, and who is never or always refused."""

    named: dict[Token, Limit | str] = {}
    default: list[Limit | str] = []
    allow: list[ListedClient] = []
    deny: list[ListedClient] = []
    shadow: bool = False
    headers: Literal["standard", "legacy", "both", "none"] = "standard"
    one_header: bool = False
    ipv6_prefix: Ipv6Prefix = 64


class Locks(Part, frozen=True, kw_only=True):
    """Request-level locks."""

    ttl: Lasting = 30
    wait: NotNegative = 1
    queue: CountOrZero = 64
    max_hold: Lasting = 300
    patience: Positive = 1.0
    on_outage: Literal["closed", "open"] = "closed"

    def contradictions(self, path: str) -> Iterator[Problem]:
        if microseconds(self.ttl) > microseconds(self.max_hold):
            yield Problem(f"{path}.ttl", f"is longer than {path}.max_hold", "raise max_hold, or lower ttl")


class Idempotency(Part, frozen=True, kw_only=True):
    """Requests that may be sent again and run once."""

    header: Token = "Idempotency-Key"
    ttl: Positive = 86400
    lease: Lasting = 30
    patience: Positive = 1.0
    max_body: Count = 1048576
    max_response: Count = 1048576
    dead: Literal["retry", "unknown"] = "retry"
    store_5xx: bool = False
    on_outage: Literal["closed", "open"] = "closed"

    def contradictions(self, path: str) -> Iterator[Problem]:
        if microseconds(self.lease) > microseconds(self.ttl):
            yield Problem(f"{path}.lease", f"is longer than {path}.ttl", "raise ttl, or lower lease")
