"""Whose key it is: two callers who send the same key never meet, and nobody reads another's stored response.

Unless a policy says otherwise the caller is told by the session id in its signed cookie, else by Authorization, else
by the address. A policy whose own way of telling them finds nothing falls back to these, so no key is ever shared by
leaving something out.
"""

from hashlib import blake2b

import msgspec

from redis_mw.keys import Secret, SecretKey
from redis_mw.policy.caller import Caller

NO_SECRET = (
    "tells callers by what may be a credential, which is hashed with a secret: set one of 32 random characters or more"
)

SIZE = 16
"""Bytes of the hash that stands in keys. A collision would hand out a stranger's response: no 64 bits here."""


class Scope(msgspec.Struct, frozen=True, gc=False):
    """One caller: ``kind`` says how it is told. What may be a ``credential`` is hashed with the secret."""

    kind: str
    value: str
    credential: bool = False


def default_scope(caller: Caller) -> Scope:
    """Whom a request is from when its policy does not say how to tell."""
    if caller.session:
        return Scope("session", caller.session)
    authorization = ", ".join(caller.headers.get_all("authorization"))
    if authorization:
        return Scope("authorization", authorization, credential=True)
    return Scope("client", caller.address or "")


class Names:
    """Names records by caller and key. With another ``secret`` callers told by a credential are others."""

    def __init__(self, secret: Secret = b"") -> None:
        self.secret_key = SecretKey(secret)

    def of(self, scope: Scope, key: str) -> str:
        """The name of the record, 32 hexadecimal digits."""
        value = scope.value.encode("utf-8", "surrogatepass")
        name = blake2b(
            digest_size=SIZE, key=self.secret_key.reveal(f"idempotency {NO_SECRET}") if scope.credential else b""
        )
        name.update(b"%s:%d:" % (scope.kind.encode(), len(value)))
        name.update(value)
        name.update(key.encode("utf-8", "surrogatepass"))
        return name.hexdigest()
