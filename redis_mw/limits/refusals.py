"""How a request that must not pass is told so: problem details by RFC 9457, with the types of the RateLimit draft.

Types: draft-ietf-httpapi-ratelimit-headers-11, section 6 (quota-exceeded, temporary-reduced-capacity,
abnormal-usage-detected).
"""

from collections.abc import Mapping

from redis_mw.errors import LimitExceeded
from redis_mw.http.problems import phrase
from redis_mw.limits.check import Checked
from redis_mw.limits.quota import Quota

TYPES = "https://iana.org/assignments/http-problem-types#"


def refusal(checked: Checked, quotas: Mapping[str, Quota]) -> LimitExceeded:
    """The error that says it; ``quotas`` are those that were asked, by the names of the verdicts."""
    denied = [verdict for verdict in checked.verdicts if not verdict]
    names = {"violated-policies": [verdict.name for verdict in denied]} if denied else {}
    match checked.refused:
        case "list":
            status = 403 if checked.retry_after is None else 429
            detail = "Requests from here are not served." if status == 403 else "Too many requests: banned for a while."
            kind = "abnormal-usage-detected"
        case "closed":
            status, detail, kind = 503, "A part of this service is unavailable.", "temporary-reduced-capacity"
        case _:
            status = _status(checked, quotas)
            if any(verdict.banned for verdict in denied):
                detail, kind = "Too many requests: banned for a while.", "abnormal-usage-detected"
            elif status == 503:
                detail, kind = "Too many requests are under way.", "temporary-reduced-capacity"
            else:
                detail, kind = "Too many requests.", "quota-exceeded"
    title = phrase(status)
    problem = {"type": TYPES + kind, "title": title, "detail": detail, **names}
    return LimitExceeded(status, checked.retry_after, problem, checked.verdicts)


def _status(checked: Checked, quotas: Mapping[str, Quota]) -> int:
    """The status of the limit that denies for the longest."""
    longest = max((each for each in checked.verdicts if not each), key=lambda verdict: verdict.retry_after)
    return quotas[longest.name].limit.status if longest.name in quotas else 429
