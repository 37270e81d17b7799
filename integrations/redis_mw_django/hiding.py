"""What the view of a cached page does not see of a request: nothing of one visitor is to get into everybody's page."""

from io import BytesIO
from typing import Any, cast

from django.conf import settings as django_settings
from django.http import HttpRequest

from redis_mw.caching.pages.hidden import Hidden, cookies_left
from redis_mw_django.incoming import meta_name

CSRF_LENGTHS = (32, 64)
"""Of Django's CSRF secret, bare and masked."""
MADE_OF_META = ("headers", "COOKIES", "accepted_types", "accepted_types_by_precedence", "_current_scheme_host")
"""What Django's request remembers of its fields."""
OF_ANY_REQUEST = frozenset(
    {"path", "path_info", "script_name", "scope", "content_type", "content_params", "_encoding", "_post_parse_error"}
    | {"urlconf"}
)
"""What is the same for everybody who asks for a page; what middleware has found out of its visitor is not."""
OF_A_BODY = ("CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING")


def hide(request: HttpRequest, hidden: Hidden) -> None:
    """Let the rest of Django see the request without what is hidden. What the server has is left as it is."""
    meta = dict(request.META)
    for name in hidden.names:
        _ = meta.pop(meta_name(name), None)
    if hidden.cookie is not None and "HTTP_COOKIE" in meta:
        meta["HTTP_COOKIE"] = cookies_left(meta["HTTP_COOKIE"], lambda name: _stays(request, hidden, name))
        if not meta["HTTP_COOKIE"]:
            del meta["HTTP_COOKIE"]
    for name, value in hidden.more:
        meta[meta_name(name)] = value
    left = {name: value for name, value in request.COOKIES.items() if _stays(request, hidden, name)}
    _give(request, meta)
    request.COOKIES = left
    scope = getattr(request, "scope", None)
    if scope is not None:
        pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        shown = hidden.fields(pairs)
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in shown]
        request.scope = {**scope, "headers": fields}  # type: ignore[attr-defined]


def of_nobody(request: HttpRequest) -> HttpRequest:
    """A request for the same page that nobody has sent; cookies and credentials are to be hidden from it."""
    copied: Any = type(request).__new__(type(request))
    copied.__dict__.update({name: value for name, value in request.__dict__.items() if name in OF_ANY_REQUEST})
    meta = {name: value for name, value in request.META.items() if name not in OF_A_BODY}
    copied.environ = {}
    _give(copied, {**meta, "REQUEST_METHOD": "GET"})
    copied.method = "GET"
    copied._stream, copied._read_started, copied.resolver_match = BytesIO(), False, None
    return cast(HttpRequest, copied)


def _give(request: Any, meta: dict[str, Any]) -> None:
    request.META = meta
    if hasattr(request, "environ"):
        request.environ = meta
    for name in MADE_OF_META:
        _ = request.__dict__.pop(name, None)


def _stays(request: HttpRequest, hidden: Hidden, name: str) -> bool:
    """Whether a cookie stays. One that cannot be Django's CSRF cookie does not: Django sends another one in its place,
    so that whoever makes up such a cookie would keep a page from being stored.
    """
    if "cookie" in hidden.names or (hidden.cookie is not None and not hidden.cookie(name)):
        return False
    if name != django_settings.CSRF_COOKIE_NAME or hidden.cookie is None:
        return True
    value = request.COOKIES.get(name, "")
    return len(value) in CSRF_LENGTHS and value.isascii() and value.isalnum()
