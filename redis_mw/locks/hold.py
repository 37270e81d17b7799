"""Locks that are held: until when, and how it is known that they are not any more."""

import logging
import threading
from collections.abc import Callable
from typing import Literal, TypeAlias

from redis_mw.locks.ask import Ask

log = logging.getLogger("redis_mw")

Loss: TypeAlias = Literal["taken", "silence", "max_hold"]
"""Why a lease was lost: the server says that it is over (or somebody else's), it could not be renewed in time, or it
was held for as long as it may be.
"""


_told = threading.Lock()


class Hold:
    """The locks of one attempt, from when it got them. ``clock`` is monotonic and in seconds.

    ``ends`` is when the lease may be over if it is not renewed, never later than the server says; ``until`` is when
    renewing stops. ``fence`` is 0 and ``degraded`` true where Redis was away and the settings let it pass.
    """

    __slots__ = (
        "__weakref__", "ask", "clock", "degraded", "ends", "fence", "lost", "on_lost", "released", "ttl_us", "until",
    )  # fmt: skip

    def __init__(
        self, ask: Ask, fence: int, ends: float, until: float, clock: Callable[[], float], *, degraded: bool = False
    ) -> None:
        self.ask = ask
        self.fence = fence
        self.ends = ends
        self.until = until
        self.clock = clock
        self.degraded = degraded
        self.ttl_us = ask.wanted.ttl_us
        self.lost: Loss | None = None
        self.on_lost: Callable[[], object] | None = None
        """Called once when it is noticed that it is lost, by whoever notices."""
        self.released = False
        """Whether it was given back: time that passes is of no matter any more."""

    @property
    def over(self) -> bool:
        """Whether somebody else may have the locks, although they were not given back."""
        return self.lost is not None or (not self.released and self.clock() >= self.ends)

    @property
    def cause(self) -> Loss:
        """Why it is lost, if it is."""
        if self.lost is not None or self.clock() < self.ends:
            return self.lost or "taken"
        return "max_hold" if self.ends >= self.until else "silence"

    def lasts(self, until: float) -> None:
        """It was renewed, and is ours until then at least."""
        self.ends = until

    def lose(self, why: Loss) -> bool:
        """Note that it is lost; False if that is known, or it was given back before."""
        with _told:  # seldom, so one for all
            if self.lost is not None or self.released:
                return False
            self.lost = why
        if self.on_lost is not None:
            try:
                _ = self.on_lost()
            except Exception:  # whoever noticed has other leases to see to
                log.exception("what was to be done when a lock is lost failed")
        return True

    def close(self) -> None:
        """It was given back."""
        self.released = True
