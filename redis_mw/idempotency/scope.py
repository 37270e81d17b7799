"""Whose key it is: two callers who send the same key never meet, and nobody reads another's stored response.

Unless a policy says otherwise the caller is told by the session id in its signed cookie, else by Authorization, else
by the address. A policy whose own way of telling them finds nothing falls back to these, so no key is ever shared by
leaving something out.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, TypeAlias

import msgspec

from redis_mw.errors import PolicyError
from redis_mw.http.request import Fields, Headers

Secret: TypeAlias = "str | bytes | Callable[[], str | bytes]"
"""A callable is asked when the first credential is to be hashed: a framework's own may be set late."""

NO_SECRET = (
    "tells callers by what may be a credential, which is hashed with a secret: set one of 32 random characters or more"
)

SIZE = 16
"""Bytes of the hash that stands in keys. A collision would hand out a stranger's response: no 64 bits here."""


class Sender(msgspec.Struct, frozen=True):
    """What is known of who sent a request. ``session`` is the hashed id of the cookie, ``native`` the framework's own
    request; ``user`` is known only once the session was read.
    """

    session: str | None = None
    address: str | None = None
    user: str | None = None
    headers: Headers = Fields()
    native: Any = None


class Scope(msgspec.Struct, frozen=True, gc=False):
    """One caller: ``kind`` says how it is told. What may be a ``credential`` is hashed with the secret."""

    kind: str
    value: str
    credential: bool = False


def default_scope(sender: Sender) -> Scope:
    """Whom a request is from when its policy does not say how to tell."""
    if sender.session:
        return Scope("session", sender.session)
    authorization = ", ".join(sender.headers.get_all("authorization"))
    if authorization:
        return Scope("authorization", authorization, credential=True)
    return Scope("client", sender.address or "")


class Names:
    """Names records by caller and key. With another ``secret`` callers told by a credential are others."""

    def __init__(self, secret: Secret = b"") -> None:
        self._secret = secret
        self._key: bytes | None = None

    def of(self, scope: Scope, key: str) -> str:
        """The name of the record, 32 hexadecimal digits."""
        value = scope.value.encode("utf-8", "surrogatepass")
        name = blake2b(digest_size=SIZE, key=self._secret_key() if scope.credential else b"")
        name.update(b"%s:%d:" % (scope.kind.encode(), len(value)))
        name.update(value)
        name.update(key.encode("utf-8", "surrogatepass"))
        return name.hexdigest()

    def _secret_key(self) -> bytes:
        if self._key is None:
            secret = self._secret if isinstance(self._secret, (str, bytes)) else self._secret()
            if not secret and self._secret:
                raise PolicyError(f"idempotency {NO_SECRET}")
            self._key = blake2b(secret.encode() if isinstance(secret, str) else secret).digest() if secret else b""
        return self._key
