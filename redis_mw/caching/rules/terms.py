"""What the rule of a route gives its responses: lifetimes for those that say nothing of it themselves.

There is no default: without terms, a response that names no lifetime is never reused. All times are microseconds.
"""

from collections.abc import Mapping

import msgspec

HEURISTIC = frozenset({200, 203, 204, 300, 301, 404, 405, 410, 414, 501, 308})
"""Statuses that may be given a lifetime by us (RFC 9110 section 15.1); 206 is left out, it is never stored."""

SHORTEST_US = 2_000_000
"""Lifetimes under this are not jittered: there is nothing in them to spread."""


class Terms(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The terms a rule sets: ``ttl_us`` for answers (0: they have to say it themselves), ``negative_us`` by status for
    refusals and failures.

    ``stale_us`` and ``error_us`` are the windows of RFC 5861 that it grants. ``public``: as if each response said so.
    ``jitter``: the largest share by which a lifetime is shortened, 0 to 1.
    """

    ttl_us: int
    stale_us: int = 0
    error_us: int = 0
    negative_us: Mapping[int, int] = {}
    public: bool = False
    jitter: float = 0.0

    def lifetime_us(self, status: int, *, public: bool) -> int | None:
        """The lifetime of a response of this status, None where the terms give it none.

        What is 400 or above only where it is named, so that no failure is kept by accident; other statuses where
        RFC 9111 section 4.2.2 allows it: they are heuristically cacheable, or the response is ``public``.
        """
        if status >= 400:
            return self.negative_us.get(status)
        return self.ttl_us or None if status in HEURISTIC or public or self.public else None


def jittered(lifetime_us: int, jitter: float, u: float) -> int:
    """A lifetime that we chose, spread so that what was stored together does not end together; never longer.

    ``u`` is random in [0, 1): ``lifetime * (1 - jitter * u)``.
    """
    if lifetime_us < SHORTEST_US:
        return lifetime_us
    return int(lifetime_us * (1 - jitter * u))
