"""How a request that must not run is told so: problem details (RFC 9457) with the draft's titles where it has one.

As in its examples the type leads to documentation, the draft itself, and is one for all; ``reason`` tells programs
which problem it is.
"""

from typing import Any, Literal, TypeAlias

from redis_mw.errors import IdempotencyError
from redis_mw.idempotency.outcomes import Away, Busy, Mismatch, Orphan, Unkept

TYPE = "https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07#section-2.7"

Reason: TypeAlias = Literal[
    "missing", "malformed", "in-progress", "unknown", "not-kept", "reused", "too-large", "unavailable"
]

AGAIN_S = 1.0
"""When to ask again while another one runs. It renews its lease, so what is left of that says nothing of its end."""


def missing(header: str) -> IdempotencyError:
    return _refused(400, "missing", f"{header} is missing", f"This operation needs the field {header}.")


def malformed(header: str, detail: str) -> IdempotencyError:
    return _refused(400, "malformed", f"{header} is malformed", detail)


def too_large(most: int) -> IdempotencyError:
    """The body of a request with a key is hashed before it runs, so it has to be read to its end."""
    detail = f"With an idempotency key the body of a request may have {most} bytes."
    return _refused(413, "too-large", "Content Too Large", detail)


def refusal(outcome: Unkept | Busy | Mismatch | Orphan | Away, header: str) -> IdempotencyError:
    """Why the request must not run."""
    match outcome:
        case Busy(left_us):
            title = f"A request is outstanding for this {header}"
            wait = min(AGAIN_S, left_us / 1e6)
            return _refused(409, "in-progress", title, "A request with this key is being processed.", wait)
        case Mismatch():
            detail = "This key was used for another request. It must not be used for different requests."
            return _refused(422, "reused", f"{header} is already used", detail)
        case Orphan():
            detail = "An earlier request with this key began, and it is not known how it ended."
            return _refused(409, "unknown", f"The outcome for this {header} is unknown", detail)
        case Unkept(response):
            more: dict[str, Any] = {"completed-status": response.status}
            if response.headers:
                more["location"] = response.headers[0][1]
            detail = "The request with this key has been processed; its response was too large to be kept."
            return _refused(409, "not-kept", f"The response for this {header} was not kept", detail, **more)
        case Away(_, retry_after):
            detail = "Whether this request has been processed before cannot be known now."
            return _refused(503, "unavailable", "Service Unavailable", detail, retry_after)


def _refused(
    status: int, reason: Reason, title: str, detail: str, retry_after: float | None = None, **more: Any
) -> IdempotencyError:
    problem = {"type": TYPE, "title": title, "detail": detail, "reason": reason, **more}
    return IdempotencyError(status, retry_after, problem)
