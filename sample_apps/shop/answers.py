"""What the shop answers, as a value, and how it looks: HTML for browsers, JSON for whoever asks for it."""

import json
from collections.abc import Mapping
from math import ceil
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

HTML = "text/html; charset=utf-8"
JSON = "application/json"


class Answer(NamedTuple):
    """``data`` is the JSON, and what the page named ``page`` is made from. ``then`` is where a browser goes next,
    ``retry_after`` how many seconds to wait before asking again. ``public``: it is the same for every visitor, so it
    may be kept. ``changed`` are the groups of pages that are wrong from now on.
    """

    page: str
    data: Mapping[str, Any]
    status: int = 200
    then: str | None = None
    retry_after: float | None = None
    public: bool = False
    changed: tuple[str, ...] = ()


class Message(NamedTuple):
    """An answer as HTTP sends it."""

    status: int
    headers: dict[str, str]
    body: bytes


def message(answer: Answer, accept: str | None) -> Message:
    """The answer in the form that the request's Accept field asks for."""
    headers = {"Content-Type": HTML, "Vary": "Accept"}
    if not answer.public:
        headers["Cache-Control"] = "no-store"
    if answer.changed:
        headers["Cache-Group-Invalidation"] = ", ".join(f'"{group}"' for group in answer.changed)  # RFC 9875
    if answer.retry_after is not None:
        headers["Retry-After"] = str(ceil(answer.retry_after))
    if JSON in (accept or ""):
        return Message(answer.status, {**headers, "Content-Type": JSON}, json.dumps(answer.data).encode())
    if answer.then is not None:
        return Message(303, {**headers, "Location": answer.then}, b"")
    return Message(answer.status, headers, _templates.get_template(f"{answer.page}.html").render(answer.data).encode())


def euros(cents: int) -> str:
    """A price to read."""
    return f"€ {cents // 100}.{cents % 100:02}"


_templates = Environment(
    loader=PackageLoader("sample_apps.shop"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["euros"] = euros
