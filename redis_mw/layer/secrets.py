"""Which secrets sign the session cookie: those of the settings, else the framework's own."""

import logging
from collections.abc import Sequence

from redis_mw.errors import Problem, SettingsError
from redis_mw.settings import Settings

SHORTEST = 32
log = logging.getLogger("redis_mw.sessions")


def signing_secrets(settings: Settings, own: Sequence[str | bytes], *, named: str) -> list[str | bytes]:
    """The secrets, newest first; raises ``SettingsError`` where there is none, or an empty one.

    ``own`` are the framework's (its key, then the older ones), used when ``settings.secret`` is empty; ``named`` says
    in messages what the framework calls them. A short one of those is the framework's user's choice: a warning.
    """
    if settings.secret:
        return [settings.secret, *settings.old_secrets]
    must_sign(own, named=named)
    if len(own[0]) < SHORTEST:
        log.warning("%s signs the session cookie and has fewer than %d characters", named, SHORTEST)
    return [*own, *settings.old_secrets]


def must_sign(own: Sequence[str | bytes | None], *, named: str) -> None:
    """Raise ``SettingsError`` unless each of the framework's secrets, and at least one, is there to sign with."""
    if not own or not own[0]:
        raise SettingsError(
            [Problem("secret", "is empty, and session cookies are signed", f"set it, or {named}: 32 random characters")]
        )
    empty = [
        Problem(f"{named} fallbacks[{at}]", "is empty", "leave it out: anybody can sign with an empty secret")
        for at, secret in enumerate(own[1:])
        if not secret
    ]
    if empty:
        raise SettingsError(empty)
