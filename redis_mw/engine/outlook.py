"""When a cluster is to be asked for its chart, and for how long: what both drivers go by. Pure state, no I/O.

Seconds, of one monotonic clock.
"""

from collections.abc import Sequence

from redis_mw.engine.roll import nobody_tells
from redis_mw.events import log
from redis_mw.settings import Settings, seconds

CALM_S = 1.0
"""Seconds from one look at the whole cluster to the next, whatever is heard in between."""
AGAIN_S = 30.0
"""Seconds after which it is looked at again though nothing was heard: a replica may have come or gone."""
GRACE_S = 1.0
"""Seconds that an attempt has beyond the time to connect; the first has ``warm_up``."""


class Outlook:
    """After an attempt nobody is asked for ``CALM_S``, whatever came of it; after ``AGAIN_S`` what it told is old."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.connect_s = seconds(settings.connect_within)
        """After so long the next server is asked beside one that has not answered."""
        self._name = name
        self._within = seconds(settings.warm_up)
        self._calm_until = 0.0
        self._old_at = 0.0
        self._warned = False

    def begins(self) -> float:
        """An attempt begins; how long it may take."""
        within, self._within = self._within, self.connect_s + GRACE_S
        return within

    def ended(self, now: float, problems: Sequence[str]) -> None:
        """It has ended; if in vain with these problems, which are told once until one has not."""
        self._calm_until, self._old_at = now + CALM_S, now + AGAIN_S
        if problems and not self._warned:
            log.warning("%s", nobody_tells(self._name, problems))
        self._warned = bool(problems)

    def calm(self, now: float, *, waits: bool = False) -> float:
        """Seconds until the next attempt may begin, 0 or less if it may now; ``waits``: something is in its way."""
        return CALM_S if waits else self._calm_until - now

    def is_old(self, now: float) -> bool:
        """Whether something may have changed unheard since the last attempt."""
        return now >= self._old_at


def problem(server: str, error: Exception) -> str:
    """Why the server of this name has told nothing; who could not connect has named it."""
    return str(error) if str(error).startswith(server) else f"{server}: {error}"
