"""The names of everything redis-mw stores: ``<prefix>:<feature><layout>:{<tag>}:<part>``.

The braces are Redis Cluster's hash tag: all keys with one tag live in one slot, so one script may touch them. Prefix
and feature never stand inside them. What a user supplies is hashed, hence short and free of braces.
"""

from hashlib import sha256


def digest(text: str) -> str:
    """The SHA-256 of a text as 64 hexadecimal digits; lone surrogates (a mangled cookie) are bytes of their own."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def key(prefix: str, feature: str, tag: str, part: str) -> str:
    """A key; ``feature`` carries its layout version (``s1``)."""
    return f"{prefix}:{feature}:{{{tag}}}:{part}"
