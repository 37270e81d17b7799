"""What all sessions of one application share: the store, the signer, the limits; made once from the settings."""

import secrets as randomness
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from redis_mw.events import Events
from redis_mw.sessions.codec import Codec
from redis_mw.sessions.commands import Commands, Lifetimes
from redis_mw.sessions.encryption import Sealer
from redis_mw.sessions.ids import Signer, new_id, renewed_id
from redis_mw.sessions.store import Store
from redis_mw.settings import Sessions, Settings, is_default, microseconds, resolve

LONGEST_USER = 255


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """The session feature, configured. ``signer`` is None where ids travel bare (Django's engine on its own).

    ``lifetime_us`` is a framework's own session lifetime, if its user set one: cookies then live and are renewed with
    it. ``user_of`` finds the user in a session's data, where a framework keeps it there.
    """

    store: Store
    signer: Signer | None = None
    new_id: Callable[[], str] = new_id
    renewed_id: Callable[[str], str] = renewed_id
    new_birth: Callable[[], str] = lambda: randomness.token_hex(8)
    user_of: Callable[[Mapping[str, Any]], object] | None = None
    lifetime_us: int | None = None
    persistent: bool = True
    anonymous_in_outage: bool = False
    max_bytes: int = 65536
    max_fields: int = 128
    max_sessions: int | None = None
    refuse_more: bool = False

    def user(self, user_id: object) -> str:
        """A user's id as text; raises ValueError for what could not name anybody, such as an object's repr."""
        text = str(user_id) if isinstance(user_id, (str, int, UUID)) and not isinstance(user_id, bool) else ""
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            size = 0
        if not 0 < size <= LONGEST_USER:
            raise ValueError(
                f"a user id must be a text (1 to {LONGEST_USER} bytes), an int or a UUID, not {user_id!r:.80}"
            )
        return text

    def user_in(self, data: Mapping[str, Any]) -> str | None:
        """The user that the session's own data name (Django's and Flask-Login's way), if the settings say where."""
        found = self.user_of(data) if self.user_of is not None else None
        return None if found is None or found == "" else self.user(found)


def furnish(
    settings: Settings,
    sessions: Sessions,
    secrets: Sequence[str | bytes],
    events: Events,
    *,
    lifetime_us: int | None = None,
    user_of: Callable[[Mapping[str, Any]], object] | None = None,
) -> Room:
    """Make the room that the settings describe.

    A ``lifetime_us`` of the framework counts where the settings leave ``idle`` (and ``anonymous_idle``) at its
    default; the longest life is then at least as long. Without ``secrets`` no cookie is signed.
    """
    idle_us, anonymous_us = microseconds(sessions.idle), microseconds(sessions.anonymous_idle)
    longest_us = microseconds(sessions.absolute)
    if lifetime_us is not None and is_default(sessions.idle):
        idle_us = lifetime_us
        anonymous_us = lifetime_us if is_default(sessions.anonymous_idle) else anonymous_us
        longest_us = max(longest_us, lifetime_us) if is_default(sessions.absolute) else longest_us
    else:
        lifetime_us = None
    lifetimes = Lifetimes(
        idle_us=idle_us,
        anonymous_us=min(anonymous_us, idle_us) if is_default(sessions.anonymous_idle) else anonymous_us,
        longest_us=longest_us,
        touch_permille=round(sessions.touch_after * 1000),
        grace_ms=microseconds(sessions.grace) // 1000,
    )
    keys = [b64decode(key) for key in sessions.encryption_keys]
    store = Store(
        Commands(settings.prefix, lifetimes, microseconds(sessions.patience)),
        Codec(Sealer(keys) if keys else None),
        events,
        longest_us=longest_us,
    )
    return Room(
        store=store,
        signer=Signer(secrets) if secrets else None,
        user_of=resolve(sessions.user_of) if sessions.user_of is not None else user_of,
        lifetime_us=lifetime_us,
        persistent=sessions.cookie.persistent,
        anonymous_in_outage=sessions.on_outage == "anonymous",
        max_bytes=sessions.max_bytes,
        max_fields=sessions.max_fields,
        max_sessions=sessions.max_sessions,
        refuse_more=sessions.on_max == "refuse",
    )
