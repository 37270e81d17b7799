"""What a response tells of its limits: RateLimit and RateLimit-Policy, or what was usual before.

By draft-ietf-httpapi-ratelimit-headers-11: lists of strings with parameters (RFC 9651). ``t`` is true under the draft
before it, too: for a denied request the seconds until asking again may help, else until all of the quota is there, so
no client is told that it may spend a day's quota in ten seconds. Names are tokens, so nothing has to be escaped.
"""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Literal

from redis_mw.limits.quota import Quota
from redis_mw.limits.verdict import Verdict

EXPOSED = (
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
)
"""For ``Access-Control-Expose-Headers``, so that scripts of other origins may read them."""


def fields(
    verdicts: Iterable[Verdict],
    quotas: dict[str, Quota],
    *,
    style: Literal["standard", "legacy", "both", "none"],
    one: bool,
) -> list[tuple[str, str]]:
    """The fields of a response; ``quotas`` by the names of their verdicts. Nothing of shadow or degraded limits.

    ``one`` tells in RateLimit and the legacy fields of the limit that is nearest to its end only.
    """
    verdicts = tuple(verdicts)
    told = [verdict for verdict in verdicts if not verdict.shadow and not verdict.degraded]
    if not told or style == "none":
        return []
    found: list[tuple[str, str]] = []
    if style != "legacy":
        left_out = {verdict.name for verdict in verdicts if verdict.degraded}
        policies = [each for each in quotas.items() if not each[1].limit.shadow and each[0] not in left_out]
        found.append(("RateLimit-Policy", ", ".join([policy(name, quota) for name, quota in policies])))
        shown = [nearest(told)] if one else told
        found.append(("RateLimit", ", ".join([_limit(verdict, quotas.get(verdict.name)) for verdict in shown])))
    if style != "standard":
        verdict = nearest(told)
        found.append(("X-RateLimit-Limit", str(verdict.limit)))
        found.append(("X-RateLimit-Remaining", str(verdict.remaining)))
        found.append(("X-RateLimit-Reset", str(_seconds(verdict))))
    return found


def policy(name: str, quota: Quota) -> str:
    """One member of RateLimit-Policy."""
    if quota.kind == "c":
        return f'"{name}";q={quota.amount};qu="concurrent-requests"'
    return f'"{name}";q={quota.amount};w={ceil(quota.period_us / 1_000_000)}'


def nearest(verdicts: Sequence[Verdict]) -> Verdict:
    """The one that denies for the longest, else the one with the smallest share left."""
    return max(verdicts, key=lambda verdict: (not verdict, verdict.retry_after, -verdict.remaining / verdict.limit))


def _limit(verdict: Verdict, quota: Quota | None) -> str:
    left = verdict.remaining if verdict else 0
    if quota is not None and quota.kind == "c":
        return f'"{verdict.name}";r={left}'
    return f'"{verdict.name}";r={left};t={_seconds(verdict)}'


def _seconds(verdict: Verdict) -> int:
    return max(1, ceil(verdict.reset_after if verdict else verdict.retry_after))
