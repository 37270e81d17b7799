"""A request as the layer has it, made of Django's own request, or of what a server hands to Django, which is faster.

Both give the same, so a page that was stored by the one is found by the other: host and scheme are what Django believes
(USE_X_FORWARDED_HOST, SECURE_PROXY_SSL_HEADER), fields are as in ``request.META``, the path is the one it routes on.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from django.conf import settings as django_settings
from django.core.handlers.asgi import get_script_prefix
from django.core.handlers.wsgi import get_path_info, get_script_name
from django.http import HttpRequest

from redis_mw.http.request import Headers, Request

BARE = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})
"""Fields that stand in META under their own names (CGI)."""


@lru_cache(1024)
def meta_name(name: str) -> str:
    """Where META has a field; an underscore in its name leads nowhere, or it might be taken for another one."""
    if "_" in name:
        return ""
    upper = name.upper().replace("-", "_")
    return upper if upper in BARE else f"HTTP_{upper}"


@lru_cache(1024)
def meta_names(names: frozenset[str]) -> frozenset[str]:
    """The same of several; nothing is in META under "", so what leads nowhere is not there."""
    return frozenset(map(meta_name, names))


class MetaFields(msgspec.Struct, frozen=True, gc=False):
    """The header fields in ``request.META``, or in the environment of a WSGI server."""

    meta: Mapping[str, Any]

    def get(self, name: str) -> str | None:
        """The value of that name."""
        value = self.meta.get(meta_name(name))
        return value if value is None or isinstance(value, str) else str(value)

    def get_all(self, name: str) -> tuple[str, ...]:
        """The same: META has one of each name."""
        value = self.get(name)
        return () if value is None else (value,)

    def has_any(self, names: frozenset[str]) -> bool:
        """Whether there is a field of one of these names, which are in lower case."""
        return not self.meta.keys().isdisjoint(meta_names(names))


@lru_cache(1024)
def scope_name(name: str) -> bytes:
    """Where a scope has a field; an underscore in its name leads nowhere, here as in META."""
    return b"" if "_" in name else name.lower().encode("latin-1")


@lru_cache(1024)
def scope_names(names: frozenset[str]) -> frozenset[bytes]:
    """The same of several."""
    return frozenset(map(scope_name, names))


class ScopeFields(msgspec.Struct, frozen=True, gc=False):
    """The header fields of an ASGI scope as Django puts them into META: several of one name are one."""

    fields: dict[bytes, bytes]

    @classmethod
    def of(cls, raw: Iterable[tuple[bytes, bytes]]) -> "ScopeFields":
        """Those of a scope, whose names are in lower case."""
        fields: dict[bytes, bytes] = {}
        for name, value in raw:
            fields[name] = fields[name] + b"," + value if name in fields else value
        return cls(fields)

    def get(self, name: str) -> str | None:
        """The value of that name."""
        value = self.fields.get(scope_name(name))
        return value if value is None else value.decode("latin-1")

    def get_all(self, name: str) -> tuple[str, ...]:
        """The same."""
        value = self.get(name)
        return () if value is None else (value,)

    def has_any(self, names: frozenset[str]) -> bool:
        """Whether there is a field of one of these names, which are in lower case."""
        return not self.fields.keys().isdisjoint(scope_names(names))


def of_request(request: HttpRequest) -> Request:
    """Of Django's request; what is changed in that later changes nothing here."""
    meta = dict(request.META)
    headers = MetaFields(meta)
    scheme = request.scheme or "http"
    return Request(
        request.method or "GET",
        request.path_info,
        query=meta.get("QUERY_STRING", ""),
        scheme=scheme,
        host=_host(headers, scheme, meta.get("SERVER_NAME", ""), meta.get("SERVER_PORT", "")),
        headers=headers,
        client=meta.get("REMOTE_ADDR"),
        root=request.path.removesuffix(request.path_info),
    )


def of_environ(environ: dict[str, Any]) -> Request:
    """Of the environment that a WSGI server makes; ``UnicodeDecodeError`` where Django raises it, too."""
    meta = dict(environ)
    headers = MetaFields(meta)
    scheme = _scheme(headers, environ.get("wsgi.url_scheme", "http"), meta)
    return Request(
        environ["REQUEST_METHOD"].upper(),
        get_path_info(environ) or "/",
        query=meta.get("QUERY_STRING", ""),
        scheme=scheme,
        host=_host(headers, scheme, meta.get("SERVER_NAME", ""), meta.get("SERVER_PORT", "")),
        headers=headers,
        client=meta.get("REMOTE_ADDR"),
        root=get_script_name(environ).rstrip("/"),
    )


def of_scope(scope: dict[str, Any]) -> Request:
    """Of an ASGI scope; ``UnicodeDecodeError`` where Django answers 400."""
    headers = ScopeFields.of(scope.get("headers", ()))
    scheme = _scheme(headers, scope.get("scheme", "http"), {})
    name, port = scope.get("server") or ("unknown", 0)
    path: str = scope["path"]
    path_info = path.removeprefix(get_script_prefix(scope))
    client = scope.get("client")
    return Request(
        scope["method"].upper(),
        path_info,
        query=scope.get("query_string", b"").decode(),
        scheme=scheme,
        host=_host(headers, scheme, name, str(port)),
        headers=headers,
        client=client[0] if client else None,
        root=path.removesuffix(path_info),
    )


def kept_fields() -> tuple[str, ...]:
    """The forwarding fields that Django itself makes the URL of a request of."""
    fields = ["x-forwarded-host"] if django_settings.USE_X_FORWARDED_HOST else []
    fields += ["x-forwarded-port"] if django_settings.USE_X_FORWARDED_PORT else []
    secure: Any = django_settings.SECURE_PROXY_SSL_HEADER
    fields += [secure[0].removeprefix("HTTP_").replace("_", "-").lower()] if secure else []
    return tuple(fields)


def _scheme(headers: Headers, served: str, meta: Mapping[str, Any]) -> str:
    """As ``HttpRequest.scheme`` has it."""
    if not django_settings.SECURE_PROXY_SSL_HEADER:
        return served
    name, secure = django_settings.SECURE_PROXY_SSL_HEADER
    value = headers.get(name[5:].replace("_", "-")) if name.startswith("HTTP_") else meta.get(name)
    if value is None:
        return served
    return "https" if value.partition(",")[0].strip() == secure else "http"


def _host(headers: Headers, scheme: str, name: str, port: str) -> str:
    """As ``HttpRequest.get_host`` has it, which refuses some; whether this one is allowed is asked elsewhere."""
    forwarded = headers.get("x-forwarded-host") if django_settings.USE_X_FORWARDED_HOST else None
    host = headers.get("host") if forwarded is None else forwarded
    if host is not None:
        return host
    if django_settings.USE_X_FORWARDED_PORT:
        port = headers.get("x-forwarded-port") or port
    return name if port == ("443" if scheme == "https" else "80") else f"{name}:{port}"
