"""Who sent a request: what policies tell senders apart by, limits and idempotency keys alike."""

from typing import Any

import msgspec

from redis_mw.http.request import Fields, Headers


class Caller(msgspec.Struct, frozen=True):
    """What is known of who sent a request. ``session`` is the hashed id of the cookie, ``native`` the framework's own
    request; ``user`` is known only once the session was read.
    """

    address: str | None = None
    headers: Headers = Fields()
    user: str | None = None
    session: str | None = None
    route: str = ""
    native: Any = None
