"""Session ids: how they are made, named in Redis, and signed into cookies. Values and pure functions only.

An id is 47 characters of base64url: 4 that place the session (regenerating keeps them, so the old and the new key share
a slot) and 43 with 256 random bits. Redis, logs and handles show only its ``name_of``.

A cookie is ``<id>.<signature>``, 91 characters: the HMAC-SHA256 of the id in base64url without padding, as itsdangerous
makes it. The key is the HMAC-SHA256 of the salt under the secret (itsdangerous' derivation ``"hmac"``; its default is a
bare hash of both). For whoever reads or makes these cookies elsewhere, a test vector::

    secret  "0123456789abcdef0123456789abcdef"
    salt    "redis-mw.session.v1"
    id      "AAAABBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
    cookie  "AAAABBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB.Lh4sFdxQW2_zUSHzcU6FotN71gH_UD-v9PyaXtARdLk"
"""

import hmac
import re
import secrets as randomness
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import itsdangerous

from redis_mw.keys import digest

SALT: Final = "redis-mw.session.v1"
PLACE: Final = 4
COOKIE_LENGTH: Final = 91
REMEMBERED: Final = 4096

_ID: Final = re.compile(r"[A-Za-z0-9_-]{47}")
_COOKIE: Final = re.compile(r"([A-Za-z0-9_-]{47})\.([A-Za-z0-9_-]{43})")

Token = Callable[[int], str]


def new_id(token: Token = randomness.token_urlsafe) -> str:
    """A fresh id; ``token`` gives the base64url text of so many random bytes."""
    return token(35)


def renewed_id(old: str, token: Token = randomness.token_urlsafe) -> str:
    """A fresh id in the place of ``old``: 256 new bits behind the same first characters."""
    return old[:PLACE] + token(32)


def is_id(text: str) -> bool:
    """Whether a text has exactly the shape of an id, whatever its size."""
    return _ID.fullmatch(text) is not None


def name_of(id: str) -> str:
    """The session's name, and its public handle: 8 hexadecimal digits of its place, then 64 of the whole id."""
    return digest(id[:PLACE])[:8] + digest(id)


class Verified(NamedTuple):
    """An id whose signature is good; ``stale`` if by an old secret, so that the cookie should be sent again."""

    id: str
    stale: bool


class Signer:
    """Signs ids with the first secret and verifies with any; put a new secret in front to rotate."""

    def __init__(self, secrets: Sequence[str | bytes], salt: str = SALT) -> None:
        if isinstance(secrets, (str, bytes)) or not secrets or not all(secrets):
            raise ValueError("cookies are signed with a list of secrets, newest first, none of them empty")
        # One signer a secret, not one with a list: only so it is known which secret it was.
        self._signers = tuple(
            itsdangerous.Signer(secret, salt, key_derivation="hmac", digest_method=sha256) for secret in secrets
        )
        # Good cookies only, and these have one length: about a megabyte when full.
        self._remembered: dict[str, Verified] = {}

    def sign(self, id: str) -> str:
        """The cookie text of an id."""
        return self._signers[0].sign(id).decode("ascii")

    def verify(self, cookie: str) -> Verified | None:
        """Whose cookie this is; None for any text that ``sign`` did not make with one of the secrets.

        The signature's text is compared, not the bytes it stands for, so an id has one cookie under each secret.
        """
        if len(cookie) != COOKIE_LENGTH:  # before a text of any size is hashed
            return None
        known = self._remembered.get(cookie)
        if known is not None:
            return known
        shape = _COOKIE.fullmatch(cookie)
        if shape is None:
            return None
        id, signature = shape.groups()
        for age, signer in enumerate(self._signers):
            if hmac.compare_digest(signer.get_signature(id), signature.encode("ascii")):
                return self._remember(cookie, Verified(id, stale=age > 0))
        return None

    def _remember(self, cookie: str, verified: Verified) -> Verified:
        # Threads may pass the check together; the bound then stretches by their number, no more.
        if len(self._remembered) >= REMEMBERED:
            self._remembered.clear()
        self._remembered[cookie] = verified
        return verified
