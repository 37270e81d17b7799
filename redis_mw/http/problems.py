"""Refusals as bodies: problem details (RFC 9457), or a plain text for those who would rather read one."""

from http import HTTPStatus
from typing import Any

import msgspec

JSON = "application/problem+json"
TEXT = "text/plain; charset=utf-8"


def problem(
    status: int, title: str, *, detail: str = "", type: str = "about:blank", accept: str | None = None, **members: Any
) -> tuple[str, bytes]:
    """The content type and the body. ``accept`` is the request's Accept field; JSON unless it prefers text.

    ``members`` are what a type of problem has of its own; a text leaves them out.
    """
    if accept is not None and prefers_text(accept):
        return TEXT, f"{status} {title}\n{detail}\n".encode() if detail else f"{status} {title}\n".encode()
    body: dict[str, Any] = {"type": type, "title": title, "status": status}
    if detail:
        body["detail"] = detail
    body.update(members)
    return JSON, msgspec.json.encode(body)


def phrase(status: int) -> str:
    """The usual name of a status; of one that nobody has given a name, that of its class (RFC 9110 section 15)."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client Error" if status < 500 else "Server Error"


def prefers_text(accept: str) -> bool:
    """Whether an Accept field (RFC 9110 section 12.5.1) rates text or HTML above JSON, as browsers do."""
    weights = _weights(accept)
    json = max(_weight(weights, "application", subtype) for subtype in ("problem+json", "json"))
    text = max(_weight(weights, "text", subtype) for subtype in ("plain", "html"))
    return text > json


def _weight(weights: dict[str, float], kind: str, subtype: str) -> float:
    for range in (f"{kind}/{subtype}", f"{kind}/*", "*/*"):
        if range in weights:
            return weights[range]
    return 0.0


def _weights(accept: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for element in accept.lower().split(","):
        range, *parameters = (part.strip() for part in element.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                weight = _quality(value.strip())
        _ = weights.setdefault(range, weight)
    return weights


def _quality(text: str) -> float:
    """0 to 1; what is no quality counts as none given."""
    try:
        value = float(text)
    except ValueError:
        return 1.0
    return value if 0 <= value <= 1 else 1.0
