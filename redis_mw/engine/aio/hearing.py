"""Somebody who listens on one channel of a cluster for ever, at whatever server there is to listen at."""

from collections.abc import Callable

from redis.crc import key_slot

from redis_mw.engine.aio.fleet import Fleet
from redis_mw.engine.aio.station import Station
from redis_mw.engine.aio.wakes import Hearer, WakeUps
from redis_mw.errors import RedisUnavailable


class Hearing:
    """Calls ``heard`` for the wake-ups of a channel, from now on.

    What is published reaches every server of a cluster; one is listened to, the primary of the channel's slot. When
    that is another one from now on, ``heard`` is called once it listens there, for what was missed in between.
    """

    def __init__(
        self, fleet: Fleet, wake_ups: Callable[[Station], WakeUps], channel: str, heard: Callable[[], None]
    ) -> None:
        self._fleet = fleet
        self._wake_ups = wake_ups
        self._channel = channel
        self._heard = heard
        self._slot = key_slot(channel.encode())
        self._at: tuple[WakeUps, Hearer] | None = None
        fleet.follows(self._follow)

    def _follow(self) -> None:
        station = self._fleet.primary(self._slot)
        if isinstance(station, RedisUnavailable):
            return
        wake_ups, before = self._wake_ups(station), self._at
        if before is None or before[0] is not wake_ups:
            self._at = wake_ups, wake_ups.hear(self._channel, self._heard)
            if before is not None:
                before[0].leave(before[1], self._channel)
