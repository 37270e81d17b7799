"""The names of everything redis-mw stores: ``<prefix>:<feature><layout>:{<tag>}:<part>``.

The braces are Redis Cluster's hash tag: all keys with one tag live in one slot, so one script may touch them. Prefix
and feature never stand inside them. What a user supplies is hashed, hence short and free of braces.
"""

from collections.abc import Callable
from hashlib import blake2b, sha256
from typing import TypeAlias

from redis_mw.errors import PolicyError

Secret: TypeAlias = "str | bytes | Callable[[], str | bytes]"
"""A callable is asked when the first credential is to be hashed: a framework's own may be set late."""


def digest(text: str) -> str:
    """The SHA-256 of a text as 64 hexadecimal digits; lone surrogates (a mangled cookie) are bytes of their own."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def key(prefix: str, feature: str, tag: str, part: str) -> str:
    """A key; ``feature`` carries its layout version (``s1``)."""
    return f"{prefix}:{feature}:{{{tag}}}:{part}"


class SecretKey:
    """The key of hashes that stand for what may be a credential; false where there is no secret to make it of."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._key: bytes | None = None

    def __bool__(self) -> bool:
        return bool(self._secret)

    def reveal(self, what: str) -> bytes:
        """64 bytes, or none where there is no secret; ``PolicyError`` says that ``what`` needs one where the framework
        has none after all.
        """
        if self._key is None:
            secret = self._secret if isinstance(self._secret, (str, bytes)) else self._secret()
            if not secret and self._secret:
                raise PolicyError(what)
            self._key = blake2b(secret.encode() if isinstance(secret, str) else secret).digest() if secret else b""
        return self._key
