"""From a value to the bytes that are stored and back: the plain encoding, then, where it is configured, the seal.

The two steps are apart because changes are found by comparing *plain* bytes: a seal differs each time it is made.
"""

from redis_mw.sessions import values
from redis_mw.sessions.encryption import SEALED, Sealer
from redis_mw.sessions.values import DamagedValue


class Codec:
    """Values to stored bytes; without a sealer the stored bytes are the plain ones.

    ``context`` is the session the field belongs to (its hashed name), ``field`` the name of the hash field.
    """

    def __init__(self, sealer: Sealer | None = None) -> None:
        self._sealer = sealer

    def to_plain(self, key: str, value: object) -> bytes:
        """The plain encoding of the value under ``key``, equal for an unchanged value; or ``CannotEncode``."""
        return values.encode(value, key)

    def seal(self, plain: bytes, context: bytes, field: str) -> bytes:
        """What to store for a plain encoding."""
        return plain if self._sealer is None else self._sealer.seal(plain, context, field)

    def open(self, data: bytes, context: bytes, field: str) -> bytes:
        """The plain encoding of what is stored, or ``DamagedValue``.

        With a sealer a field that is not sealed passes all the same: it was written before encryption was switched on.
        """
        if data[:1] != SEALED:
            return data
        if self._sealer is None:
            raise DamagedValue("a sealed value, and no encryption key is configured")
        return self._sealer.open(data, context, field)

    def to_value(self, plain: bytes) -> object:
        """The value of a plain encoding, or ``DamagedValue``."""
        return values.decode(plain)
