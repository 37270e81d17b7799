"""WSGI environments: the URL in one, what the application sees of one, and one that nobody has sent."""

from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

from redis_mw.caching.pages.made import Hidden

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

KEY = "redis_mw.passage"
"""Where the WSGI environment of a request has its ``Passage``."""

Asked: TypeAlias = tuple[Any, ...]

URL = ("REQUEST_METHOD", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING")
FIELD = "HTTP_"
OF_A_BODY = ("CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "wsgi.input_terminated")
OF_A_VISIT = (
    "werkzeug.request",
    "werkzeug.debug.preserve_context",
    "werkzeug.socket",
    "gunicorn.socket",
    "wsgi.early_hints",
)
"""What servers and clients leave for the one request that they have sent."""


def asked(environ: "WSGIEnvironment") -> Asked:
    """What a request is for: if two have the same, they are for the same page."""
    return tuple(environ.get(name) for name in URL)


def path_of(environ: "WSGIEnvironment") -> str:
    """The path that Flask routes on."""
    path: str = environ.get("PATH_INFO", "")
    return "/" + path.encode("latin-1").decode(errors="replace").lstrip("/")


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
