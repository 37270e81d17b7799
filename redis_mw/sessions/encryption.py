"""Encryption at rest: one field sealed with AES-GCM, bound to the place it stands in. Pure but for the nonce.

A sealed field is ``e``, four bytes that name the key (the first of its SHA-256), a nonce of twelve random bytes, then
the ciphertext with its tag of sixteen. It is encrypted under a key of the session's own, derived from the named one,
and the field is authenticated with it: a value copied into another field or another session does not open.
"""

import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from hmac import digest
from typing import Final

from redis_mw.errors import MissingExtra
from redis_mw.sessions.values import DamagedValue

SEALED: Final = b"e"
_NAME: Final = slice(1, 5)
_NONCE: Final = slice(5, 17)
_REST: Final = slice(17, None)
_TAG_LENGTH: Final = 16


class Sealer:
    """Seals with the first key, opens with any of them; put a new key in front to rotate.

    ``keys`` are of 16, 24 or 32 bytes, newest first. ``random`` gives the nonces. Random nonces are good for some 2**32
    seals under one key (NIST SP 800-38D, 8.3); each session has its own, so no site comes near that.
    """

    def __init__(self, keys: Sequence[bytes], random: Callable[[int], bytes] = os.urandom) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as problem:
            raise MissingExtra("encryption", "the encryption of sessions") from problem
        if not keys or any(len(key) not in (16, 24, 32) for key in keys):
            raise ValueError("sessions are encrypted with keys of 16, 24 or 32 bytes, at least one")
        self._keys = [(sha256(key).digest()[:4], key) for key in keys]
        self._cipher = AESGCM
        self._random = random
        self._invalid = InvalidTag

    def seal(self, plain: bytes, context: bytes, field: str) -> bytes:
        """Encrypt one field's bytes for this session (``context``) and this field; never the same bytes twice."""
        name, key = self._keys[0]
        nonce = self._random(12)
        return SEALED + name + nonce + self._cipher(_own(key, context)).encrypt(nonce, plain, _place(field))

    def open(self, data: bytes, context: bytes, field: str) -> bytes:
        """What was sealed for this place; ``DamagedValue`` when the key is unknown or any byte is not as it was."""
        if data[:1] != SEALED or len(data) < _REST.start + _TAG_LENGTH:
            raise DamagedValue("not a sealed value")
        for name, key in self._keys:
            if name == data[_NAME]:
                try:
                    return self._cipher(_own(key, context)).decrypt(data[_NONCE], data[_REST], _place(field))
                except self._invalid:
                    continue  # two keys may share a name, once in four thousand million
        raise DamagedValue("sealed with an unknown key, for another place, or damaged")


def _own(key: bytes, context: bytes) -> bytes:
    """The session's own key, as long as the one it is derived from."""
    return digest(key, b"redis-mw.session.e1" + context, "sha256")[: len(key)]


def _place(field: str) -> bytes:
    return field.encode("utf-8", "surrogatepass")
