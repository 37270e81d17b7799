"""How long a Flask session lives: what ``session.permanent`` and PERMANENT_SESSION_LIFETIME mean to the core.

A session that is not permanent gets a cookie that ends with the browser, and the lifetimes of the settings. A permanent
one gets a Max-Age; PERMANENT_SESSION_LIFETIME, where the application changed it and did not set ``sessions.idle``, is
then its idle time. (Flask's own 31 days cannot be told from a lifetime that nobody chose, and are not used.)
"""

from collections.abc import Mapping
from typing import Any

from flask import Flask

from redis_mw.errors import Problem, SettingsError
from redis_mw.sessions.visit import Visit
from redis_mw.settings import Sessions, is_default, microseconds

PERMANENT = "_permanent"
LIFETIME = "PERMANENT_SESSION_LIFETIME"
SHORTEST_US = 1_000_000
"""0 would mean the settings' lifetimes to the core; to Flask it means none at all."""


def own_idle_us(
    app: Flask, sessions: Sessions, visit: Visit, values: Mapping[str, Any], *, modified: bool
) -> int | None:
    """The lifetime that the session gets of its own: None leaves it as it is, 0 takes it away.

    It is told together with a change, never because of a mere read: two applications that share their sessions and have
    different lifetimes would else write at each turn.
    """
    before, now = bool(visit.initial.get(PERMANENT)), bool(values.get(PERMANENT))
    if not now:
        return 0 if before else None
    if before and not modified:
        return None
    if not is_default(sessions.idle) or app.config[LIFETIME] == app.default_config[LIFETIME]:
        return None
    return lifetime_us(app)


def lifetime_us(app: Flask) -> int:
    """PERMANENT_SESSION_LIFETIME in microseconds; raises ``SettingsError`` for what is no time."""
    try:
        return max(microseconds(app.permanent_session_lifetime), SHORTEST_US)
    except (TypeError, ValueError, OverflowError) as error:
        raise SettingsError([Problem(LIFETIME, str(error), "give seconds or a timedelta")]) from None


def outlives_the_browser(visit: Visit, values: Mapping[str, Any] | None) -> bool:
    """Whether the cookie gets a Max-Age: the session is permanent, or another framework gave it a lifetime."""
    if not visit.persistent:
        return False
    return bool(values and values.get(PERMANENT)) or (visit.record is not None and visit.record.meta.own_idle_us > 0)
