"""The direct face for threads: what application code may ask of redis-mw outside a request's session."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from redis_mw.engine.sync import SyncDriver
from redis_mw.errors import Problem, SettingsError
from redis_mw.faces.answers import told
from redis_mw.faces.cache import SyncCache
from redis_mw.faces.limits import SyncLimits
from redis_mw.faces.listening import events_of
from redis_mw.faces.locks import SyncLocks
from redis_mw.layer.rooms import Rooms, rooms_of
from redis_mw.processes import once
from redis_mw.sessions import index
from redis_mw.sessions.record import SessionInfo
from redis_mw.sessions.room import Room, furnish
from redis_mw.settings import Settings


class SyncSessions:
    """A user's sessions: list them, revoke one, revoke all. Raises ``RedisUnavailable`` if Redis is away."""

    def __init__(self, driver: SyncDriver, room: Room) -> None:
        self._driver = driver
        self._room = room

    def of_user(self, user_id: object) -> list[SessionInfo]:
        """A user's live sessions, the most recently used first."""
        return told(self._driver.run(index.of_user(self._room.store, self._room.user(user_id))))

    def revoke(self, user_id: object, handle: str) -> bool:
        """End one session of this user; False if it is over, or not theirs: a handle from a form ends nobody else's."""
        return told(self._driver.run(index.revoke(self._room.store, self._room.user(user_id), handle)))

    def revoke_user(self, user_id: object, *, keep: str | None = None) -> int:
        """End all of a user's sessions but the one with the handle ``keep``; how many were ended."""
        return told(self._driver.run(index.revoke_user(self._room.store, self._room.user(user_id), keep=keep)))


class RedisMW:
    """redis-mw for threads. Connects when first used, belongs to the process that uses it, safe to share by threads.

    ``connect="eager"`` in the settings raises ``RedisUnavailable`` here if there is no server.
    """

    def __init__(self, settings: Settings | None = None, *, rooms: Rooms | None = None) -> None:
        self.settings = settings if settings is not None else Settings()
        self.events = events_of(self.settings)
        self.before_close: list[Callable[[], object]] = []
        """What an integration has to end before the connections are closed."""
        self.rooms = rooms if rooms is not None else rooms_of(self.settings, self.events)
        """What this face knows of limits, locks, cache. An integration shares its own: one memory for a process."""
        self.driver = SyncDriver(self.settings, self.events)

    @once
    def limits(self) -> SyncLimits:
        """Rate limits asked by code; raises ``SettingsError`` where the settings turn limits off."""
        room = self.rooms.limits
        if room is None:
            raise SettingsError([Problem("limits", "is None: limits are turned off", "leave it out to have them")])
        return SyncLimits(self.driver, room)

    @once
    def cache(self) -> SyncCache:
        """Values kept by code; raises ``SettingsError`` where the settings turn the cache off."""
        room = self.rooms.caching
        if room is None:
            raise SettingsError([Problem("cache", "is None: the cache is turned off", "leave it out to have it")])
        return SyncCache(self.driver, room)

    @once
    def locks(self) -> SyncLocks:
        """Locks taken by code; raises ``SettingsError`` where the settings turn locks off."""
        room = self.rooms.locks
        if room is None:
            raise SettingsError([Problem("locks", "is None: locks are turned off", "leave it out to have them")])
        return SyncLocks(self.driver, room)

    @once
    def sessions(self) -> SyncSessions:
        """A user's sessions; raises ``SettingsError`` where the settings turn sessions off."""
        if self.settings.sessions is None:
            raise SettingsError([Problem("sessions", "is None: sessions are turned off", "leave it out to have them")])
        return SyncSessions(self.driver, furnish(self.settings, self.settings.sessions, (), self.events))

    def ping(self) -> None:
        """Return when the server answers; raises ``RedisUnavailable``."""
        self.driver.ping()

    def close(self) -> None:
        """Finish what runs in the background and close every connection; a second call does nothing."""
        for end in self.before_close:
            _ = end()
        if "cache" in self.__dict__:
            self.cache.close()
        self.driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
