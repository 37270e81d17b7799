"""How long what is made is kept: jitter, so that not all ends at once, and early refreshes, so that nobody waits.

Pure. ``luck`` is a random number, at least 0 and under 1.
"""

from math import log

import msgspec

from redis_mw.settings import Duration, microseconds

NO_JITTER_US = 2_000_000
"""What lasts no longer is not shortened, and nothing is shortened below it."""
SHORTEST_US = 1_000
"""Redis ends keys by the millisecond."""
LONGEST_US = 30 * 86_400 * 1_000_000
"""How long what is given no time is kept, if there is room."""


class Lifetime(msgspec.Struct, frozen=True, gc=False):
    """Fresh for ``ttl_us``, and then stale but usable for ``stale_us``."""

    ttl_us: int
    stale_us: int = 0

    def shortened(self, jitter: float, luck: float) -> "Lifetime":
        """The same, up to ``jitter`` of it shorter; fresh and stale alike."""
        if not jitter or self.ttl_us <= NO_JITTER_US:
            return self
        ttl_us = max(NO_JITTER_US, round(self.ttl_us * (1 - jitter * luck)))
        return Lifetime(ttl_us, round(self.stale_us * ttl_us / self.ttl_us))


def lifetime(ttl: Duration | None, stale: Duration = 0) -> Lifetime:
    """What users write; ValueError if nothing could be kept for so long."""
    ttl_us, stale_us = LONGEST_US if ttl is None else microseconds(ttl), microseconds(stale)
    if ttl_us < SHORTEST_US:
        raise ValueError(f"ttl is {ttl}: give {SHORTEST_US / 1e6:g} seconds or more")
    if stale_us < 0:
        raise ValueError(f"stale is {stale}: give 0 seconds or more")
    return Lifetime(ttl_us, stale_us)


def fraction(jitter: float) -> float:
    """A jitter as users write it; ValueError unless it is a part of the whole."""
    if not 0 <= jitter <= 1:
        raise ValueError(f"jitter is {jitter}: give 0 to 1")
    return jitter


def haste(luck: float) -> float:
    """How many times what it cost to make a thing before its end it is made anew by whoever asks now (XFetch, beta 1).

    Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015.
    """
    return -log(1 - luck)
