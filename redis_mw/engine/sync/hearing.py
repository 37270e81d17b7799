"""Somebody who listens on one channel of a cluster for ever, at whatever server there is to listen at."""

from collections.abc import Callable

from redis.crc import key_slot

from redis_mw.engine.sync.fleet import Fleet
from redis_mw.engine.sync.link import Link
from redis_mw.engine.sync.listener import Hearer, Listener
from redis_mw.errors import RedisUnavailable


class Hearing:
    """Calls ``heard`` for the wake-ups of a channel, from now on.

    What is published reaches every server of a cluster; one is listened to, the primary of the channel's slot. When
    that is another one from now on, ``heard`` is called once it listens there, for what was missed in between.
    """

    def __init__(
        self, fleet: Fleet, listener: Callable[[Link], Listener], channel: str, heard: Callable[[], None]
    ) -> None:
        self._fleet = fleet
        self._listener = listener
        self._channel = channel
        self._heard = heard
        self._slot = key_slot(channel.encode())
        self._at: tuple[Listener, Hearer] | None = None
        fleet.follows(self._follow)

    def _follow(self) -> None:
        """Called by the fleet, one call at a time."""
        link = self._fleet.primary(self._slot)
        if isinstance(link, RedisUnavailable):
            return
        listener, before = self._listener(link), self._at
        if before is None or before[0] is not listener:
            self._at = listener, listener.hear(self._channel, self._heard)
            if before is not None:
                before[0].unsubscribe(before[1])
