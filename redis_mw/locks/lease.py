"""What whoever holds locks has in hand."""

from typing import Any

from redis_mw.locks.hold import Hold
from redis_mw.settings import Duration


class Lease:
    """Locks that are held: ours until they are given back, or ``lost``.

    ``nested`` says that the request held them before: they are given back with what it took first. ``beneath`` are the
    holds of those that it held before, beside ``hold``.
    """

    __slots__ = ("beneath", "hold", "nested")

    def __init__(self, hold: Hold, *, nested: bool = False, beneath: tuple[Hold, ...] = ()) -> None:
        self.hold = hold
        self.nested = nested
        self.beneath = beneath

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the locks, in order."""
        return self.hold.ask.wanted.names

    @property
    def fence(self) -> int:
        """The fencing token: above that of everybody who held one of these locks before, so that what we write can be
        told from what comes late (``WHERE fence <= :fence``). Below 2^53; 0 if the lease is ``degraded``.
        """
        return max(hold.fence for hold in (self.hold, *self.beneath))

    @property
    def shared(self) -> bool:
        """Whether others may hold a shared lease beside this one."""
        return self.hold.ask.wanted.shared

    @property
    def lost(self) -> bool:
        """Whether somebody else may have the locks by now: what is under way under them should stop."""
        return any(hold.over for hold in (self.hold, *self.beneath))

    @property
    def degraded(self) -> bool:
        """Whether something is not locked at all: Redis was away, and ``locks.on_outage`` is ``"open"``."""
        return any(hold.degraded for hold in (self.hold, *self.beneath))

    def extend(self, ttl: Duration) -> Any:
        """Have the lease last so long from now on, and be renewed for as long; ``LeaseLost`` if it is over.

        Awaited where the lock was. It may last beyond ``max_hold``, which bounds only what is renewed unasked.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        state = "degraded" if self.degraded else "lost" if self.lost else "held"
        return f"<{type(self).__name__} {', '.join(self.names)}: {state}, fence {self.fence}>"
