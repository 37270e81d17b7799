"""WSGI environments: the URL in one, what the application sees of one, and one that nobody has sent."""

from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from redis_mw.caching.pages.hidden import Hidden
from redis_mw.http.request import Request

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

KEY = "redis_mw.passage"
"""Where the WSGI environment of a request has its ``Passage``."""

Asked: TypeAlias = tuple[Any, ...]

URL = ("REQUEST_METHOD", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING")
NAMES = 256
"""So many names of fields are remembered as they stand in an environment."""
FIELD = "HTTP_"
PLAIN = ("CONTENT_TYPE", "CONTENT_LENGTH")
"""Header fields that have no such prefix."""
OF_A_BODY = ("CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "wsgi.input_terminated")
OF_A_VISIT = (
    "werkzeug.request",
    "werkzeug.debug.preserve_context",
    "werkzeug.socket",
    "gunicorn.socket",
    "wsgi.early_hints",
)
"""What servers and clients leave for the one request that they have sent."""


class EnvironFields(msgspec.Struct, frozen=True, gc=False):
    """The header fields of a request, as they were when it came; by the names that they have in an environment."""

    fields: dict[str, str]

    @classmethod
    def of(cls, environ: "WSGIEnvironment") -> "EnvironFields":
        """Those of a request; servers have joined the lines of a name."""
        fields = {name[len(FIELD) :]: value for name, value in environ.items() if name[:5] == FIELD}
        for name in PLAIN:
            _ = fields.pop(name, None)
            if environ.get(name):
                fields[name] = environ[name]
        return cls(fields)

    def get(self, name: str) -> str | None:
        """The value of that name."""
        return self.fields.get(_named(name))

    def get_all(self, name: str) -> tuple[str, ...]:
        """The same, as far as there is one."""
        value = self.get(name)
        return () if value is None else (value,)

    def has_any(self, names: frozenset[str]) -> bool:
        """Whether there is a field of one of these names, which are in lower case."""
        return not self.fields.keys().isdisjoint(_all_named(names))


@lru_cache(maxsize=NAMES)
def _named(name: str) -> str:
    return name.replace("-", "_").upper()


@lru_cache(maxsize=NAMES)
def _all_named(names: frozenset[str]) -> frozenset[str]:
    return frozenset(map(_named, names))


def asked(environ: "WSGIEnvironment") -> Asked:
    """What a request is for: if two have the same, they are for the same page."""
    return tuple(environ.get(name) for name in URL)


def request_of(environ: "WSGIEnvironment") -> Request:
    """A request as the layer has it, as ``passage.translated`` makes it of Flask's own class of requests."""
    headers = EnvironFields.of(environ)
    return Request(
        method=environ["REQUEST_METHOD"].upper(),
        path=path_of(environ),
        query=environ.get("QUERY_STRING", ""),
        scheme=environ.get("wsgi.url_scheme", "http"),
        host=headers.get("host") or "",
        headers=headers,
        client=environ.get("REMOTE_ADDR"),
        root=_decoded(environ.get("SCRIPT_NAME") or "").rstrip("/"),
    )


def path_of(environ: "WSGIEnvironment") -> str:
    """The path that Flask routes on."""
    return "/" + _decoded(environ.get("PATH_INFO") or "").lstrip("/")


def _decoded(text: str) -> str:
    """A part of a URL, of which servers give the bytes as Latin-1."""
    return text.encode("latin-1").decode(errors="replace")


def shown(environ: "WSGIEnvironment", hidden: Hidden) -> "WSGIEnvironment":
    """The environment as the application is to see it; a copy, since servers go on using theirs."""
    fields = [(name[len(FIELD) :].replace("_", "-"), value) for name, value in environ.items() if name[:5] == FIELD]
    seen = {name: value for name, value in environ.items() if name[:5] != FIELD}
    for name, value in hidden.fields(fields):
        seen[FIELD + name.upper().replace("-", "_")] = value
    return seen


def of_nobody(environ: "WSGIEnvironment") -> "WSGIEnvironment":
    """A request for the same page that nobody has sent; what it may say of a visitor is hidden later."""
    left = {name: value for name, value in environ.items() if name not in (KEY, *OF_A_BODY, *OF_A_VISIT)}
    return {**left, "REQUEST_METHOD": "GET", "wsgi.input": BytesIO()}
