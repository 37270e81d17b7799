"""Round trips to Redis, counted exactly and without a clock."""

from collections.abc import Generator
from contextlib import contextmanager

from redis_mw.engine import trips


class RoundTrips:
    """What was counted so far. ``commands`` are the names of the commands sent, in order (``EVALSHA`` for a script)."""

    def __init__(self) -> None:
        self.awaited = 0
        """Trips that somebody waited for."""
        self.detached = 0
        """Trips in the background: what follows a response, or undoes an interrupted request."""
        self.commands: list[str] = []

    @property
    def total(self) -> int:
        return self.awaited + self.detached

    def __repr__(self) -> str:
        return f"RoundTrips(awaited={self.awaited}, detached={self.detached}, commands={self.commands})"

    def _note(self, endpoint: str, commands: tuple[trips.Words, ...], detached: bool) -> None:
        if detached:
            self.detached += 1
        else:
            self.awaited += 1
        for words in commands:
            name = words[0]
            self.commands.append(name.decode() if isinstance(name, bytes) else str(name))


@contextmanager
def count_round_trips() -> Generator[RoundTrips]:
    """Count every round trip of this process inside the block, whichever driver or thread makes it.

    One batch to one server is one trip. Handshakes, script loads, the breaker's probes and subscriptions are not
    counted. What the block sent into the background may still be under way when it ends, and is then not counted.
    """
    counted = RoundTrips()
    stop = trips.observe(counted._note)  # pyright: ignore[reportPrivateUsage]
    try:
        yield counted
    finally:
        stop()
