"""What Redis knows of a session, as frozen values; nothing here changes and nothing asks for anything."""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec


class Meta(msgspec.Struct, frozen=True, gc=False):
    """The short text that stands beside a session's fields. Times are server time, in microseconds since the epoch.

    ``birth`` names the session for life: it stays when the id is regenerated, and sealed values are bound to it.
    ``own_idle_us`` is a lifetime of its own (``set_expiry``, a permanent session), 0 where the settings decide.
    """

    birth: str
    created_us: int
    seen_us: int
    deadline_us: int
    own_idle_us: int
    user: str | None


class Record(msgspec.Struct, frozen=True):
    """A session as it was read. ``fields`` holds the encoded, unsealed value of each key, to compare with on saving."""

    name: str
    meta: Meta
    fields: Mapping[str, bytes]
    now_us: int
    renewed: bool = False
    read_only: bool = False


class Absent(msgspec.Struct, frozen=True, gc=False):
    """There is no such session: it ended (``gone``), or what stands there cannot be read (``damaged``)."""

    reason: str


class Away(msgspec.Struct, frozen=True, gc=False):
    """Redis is away, or refused: nothing is known about the session and nothing may be assumed."""

    reason: str
    retry_after: float = 1.0


class Written(msgspec.Struct, frozen=True, gc=False):
    """The write was done; the session now lives under ``name``, until ``deadline_us`` at the latest."""

    name: str
    now_us: int
    deadline_us: int


class Ended(msgspec.Struct, frozen=True, gc=False):
    """Nothing was left in the session, so the write ended it."""


class Conflict(msgspec.Struct, frozen=True, gc=False):
    """Nothing was written: the session ended (``gone``) or was regenerated (``old``) while the request ran."""

    reason: str


class LimitReached(msgspec.Struct, frozen=True, gc=False):
    """Nothing was written: the user has as many sessions as the settings allow."""

    limit: int


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One of a user's sessions, for a page that lists them. Times are seconds since the epoch.

    ``handle`` names the session in ``revoke``; it is a hash and gives no access. ``address`` is shortened to a network.
    """

    handle: str
    created: float
    last_seen: float
    user_agent: str
    address: str


Loaded: TypeAlias = Record | Absent | Away
Saved: TypeAlias = Written | Ended | Conflict | LimitReached | Away


def parse_meta(text: bytes) -> Meta | None:
    """Read the meta text, or None when it is not one of this version."""
    parts = text.decode("utf-8", "surrogateescape").split("|", 6)
    if len(parts) != 7 or parts[0] != "1" or not all(part.isascii() and part.isdigit() for part in parts[2:6]):
        return None
    created, seen, deadline, own_idle = map(int, parts[2:6])
    return Meta(parts[1], created, seen, deadline, own_idle, parts[6] or None)
