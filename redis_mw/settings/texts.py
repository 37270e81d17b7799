"""Texts with a shape: addresses, hosts, origins, header and cookie words, keys, dotted paths. Each a check."""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from ipaddress import ip_network
from typing import Annotated, TypeAlias

from redis_mw.settings.must import Must, Wrong

SHORTEST_SECRET = 32

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A token of RFC 9110 section 5.6.2: what names of fields, methods and cookies are made of."""

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_HOST = re.compile(r"(\.?[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*\.?|\[[0-9A-Fa-f:.]+\]|\*)(:[0-9]{1,5})?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([0-9a-z_-]+(\.[0-9a-z_-]+)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_DOMAIN = re.compile(r"\.?[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*")
_COOKIE_PATH = re.compile(r"/[\x20-\x3a\x3c-\x7e]*")
_KEY_PREFIX = re.compile(r"[^\s{}*?\[\]\\\x00-\x1f\x7f]{1,64}")


def _secret(text: str) -> Wrong | None:
    if not text or len(text) >= SHORTEST_SECRET:
        return None
    return Wrong(
        f"has {len(text)} characters", f"give at least {SHORTEST_SECRET} random ones: python -c 'import secrets; "
        "print(secrets.token_urlsafe(32))'"
    )  # fmt: skip


def _old_secret(text: str) -> Wrong | None:
    return None if text else Wrong("is empty", "leave it out: anybody can sign with an empty secret")


def _encryption_key(text: str) -> Wrong | None:
    try:
        if len(b64decode(text, validate=True)) in (16, 24, 32):
            return None
    except (NotBase64, ValueError):
        pass
    return Wrong(
        "is not the base64 of 16, 24 or 32 bytes", "make one: python -c 'import base64, secrets; "
        "print(base64.b64encode(secrets.token_bytes(32)).decode())'"
    )  # fmt: skip


def _key_prefix(text: str) -> Wrong | None:
    if _KEY_PREFIX.fullmatch(text):
        return None
    return Wrong(
        f"{text!r} cannot start a key", "use 1 to 64 characters, no white space and none of { } [ ] * ? and backslash"
    )


def _cidr(text: str) -> Wrong | None:
    try:
        _ = ip_network(text)
    except ValueError:
        pass
    else:
        return None
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        return Wrong(f"{text!r} is not a network", 'write it like "10.0.0.0/8", "2001:db8::/32" or "127.0.0.1"')
    return Wrong(f"{text!r} has bits set outside its network", f'write "{meant}"')


def _listed_client(text: str) -> Wrong | None:
    kind, colon, rest = text.partition(":")
    if colon and kind.isidentifier() and rest and not rest.startswith(":") and not _is_network(text):
        return None
    return None if _is_network(text) else Wrong(f"{text!r} names no client", 'write a network or "user:42"')


def _is_network(text: str) -> bool:
    return _cidr(text) is None


def _host(text: str) -> Wrong | None:
    return None if _HOST.fullmatch(text) else Wrong(f"{text!r} is not a host", 'write it like "shop.example"')


def _origin(text: str) -> Wrong | None:
    if _ORIGIN.fullmatch(text):
        return None
    return Wrong(f"{text!r} is not an origin", 'write scheme://host[:port] in small letters: "https://shop.example"')


def _token(text: str) -> Wrong | None:
    return None if TOKEN.fullmatch(text) else Wrong(f"{text!r} is not a token", "use letters, digits, - and _")


def _method(text: str) -> Wrong | None:
    if not TOKEN.fullmatch(text):
        return _token(text)
    return None if text == text.upper() else Wrong(f"{text!r} never matches", f'write "{text.upper()}"')


def _cookie_path(text: str) -> Wrong | None:
    if _COOKIE_PATH.fullmatch(text):
        return None
    return Wrong(f"{text!r} is not a cookie path", 'it starts with "/" and holds no ";" and no control character')


def _cookie_domain(text: str) -> Wrong | None:
    return None if _DOMAIN.fullmatch(text) else Wrong(f"{text!r} is not a domain", 'write it like "shop.example"')


def _dotted(text: str) -> Wrong | None:
    path = text.removeprefix("call:")
    return None if _DOTTED.fullmatch(path) else Wrong(f"{text!r} is not a dotted path", "write package.module.function")


def call_path(text: str) -> Wrong | None:
    """The check of a ``"call:package.module.function"``, for texts that may also mean something else."""
    return _dotted(text) if text.startswith("call:") else None


Secret: TypeAlias = Annotated[str, Must(_secret)]
OldSecret: TypeAlias = Annotated[str, Must(_old_secret)]
EncryptionKey: TypeAlias = Annotated[str, Must(_encryption_key)]
KeyPrefix: TypeAlias = Annotated[str, Must(_key_prefix)]
Network: TypeAlias = Annotated[str, Must(_cidr)]
ListedClient: TypeAlias = Annotated[str, Must(_listed_client)]
Host: TypeAlias = Annotated[str, Must(_host)]
Origin: TypeAlias = Annotated[str, Must(_origin)]
Token: TypeAlias = Annotated[str, Must(_token)]
Method: TypeAlias = Annotated[str, Must(_method)]
CookiePath: TypeAlias = Annotated[str, Must(_cookie_path)]
CookieDomain: TypeAlias = Annotated[str, Must(_cookie_domain)]
DottedPath: TypeAlias = Annotated[str, Must(_dotted)]
