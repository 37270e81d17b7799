"""The direct face for asyncio: the same names as in ``sync``, awaited."""

from types import TracebackType
from typing import Self

from redis_mw.engine.aio import AsyncDriver
from redis_mw.errors import Problem, SettingsError
from redis_mw.faces.answers import told
from redis_mw.faces.cache import AsyncCache
from redis_mw.faces.limits import AsyncLimits
from redis_mw.faces.listening import events_of
from redis_mw.faces.locks import AsyncLocks
from redis_mw.faces.sync import RedisMW
from redis_mw.layer.rooms import Rooms, rooms_of
from redis_mw.processes import once
from redis_mw.sessions import index
from redis_mw.sessions.record import SessionInfo
from redis_mw.sessions.room import Room, furnish
from redis_mw.settings import Settings


class AsyncSessions:
    """A user's sessions: list them, revoke one, revoke all. Raises ``RedisUnavailable`` if Redis is away."""

    def __init__(self, driver: AsyncDriver, room: Room) -> None:
        self._driver = driver
        self._room = room

    async def of_user(self, user_id: object) -> list[SessionInfo]:
        """A user's live sessions, the most recently used first."""
        return told(await self._driver.run(index.of_user(self._room.store, self._room.user(user_id))))

    async def revoke(self, user_id: object, handle: str) -> bool:
        """End one session of this user; False if it is over, or not theirs: a handle from a form ends nobody else's."""
        return told(await self._driver.run(index.revoke(self._room.store, self._room.user(user_id), handle)))

    async def revoke_user(self, user_id: object, *, keep: str | None = None) -> int:
        """End all of a user's sessions but the one with the handle ``keep``; how many were ended."""
        return told(await self._driver.run(index.revoke_user(self._room.store, self._room.user(user_id), keep=keep)))


class AsyncRedisMW:
    """redis-mw for asyncio: connects when first awaited, and belongs to that event loop. ``sync`` is its twin.

    With ``connect="eager"`` in the settings ``async with`` raises ``RedisUnavailable`` if there is no server.
    """

    def __init__(self, settings: Settings | None = None, *, rooms: Rooms | None = None) -> None:
        self.settings = settings if settings is not None else Settings()
        self.events = events_of(self.settings)
        self.rooms = rooms if rooms is not None else rooms_of(self.settings, self.events)
        """What this face knows of limits, locks, cache. An integration shares its own: one memory for a process."""
        self.driver = AsyncDriver(self.settings, self.events)

    @once
    def limits(self) -> AsyncLimits:
        """Rate limits asked by code; raises ``SettingsError`` where the settings turn limits off."""
        room = self.rooms.limits
        if room is None:
            raise SettingsError([Problem("limits", "is None: limits are turned off", "leave it out to have them")])
        return AsyncLimits(self.driver, room)

    @once
    def cache(self) -> AsyncCache:
        """Values kept by code; raises ``SettingsError`` where the settings turn the cache off."""
        room = self.rooms.caching
        if room is None:
            raise SettingsError([Problem("cache", "is None: the cache is turned off", "leave it out to have it")])
        return AsyncCache(self.driver, room)

    @once
    def locks(self) -> AsyncLocks:
        """Locks taken by code; raises ``SettingsError`` where the settings turn locks off."""
        room = self.rooms.locks
        if room is None:
            raise SettingsError([Problem("locks", "is None: locks are turned off", "leave it out to have them")])
        return AsyncLocks(self.driver, room)

    @once
    def sessions(self) -> AsyncSessions:
        """A user's sessions; raises ``SettingsError`` where the settings turn sessions off."""
        if self.settings.sessions is None:
            raise SettingsError([Problem("sessions", "is None: sessions are turned off", "leave it out to have them")])
        return AsyncSessions(self.driver, furnish(self.settings, self.settings.sessions, (), self.events))

    @once
    def sync(self) -> RedisMW:
        """The face for code that runs in threads (a plain ``def`` endpoint); it has connections of its own."""
        return RedisMW(self.settings, rooms=self.rooms)

    async def ping(self) -> None:
        """Return when the server answers; raises ``RedisUnavailable``."""
        await self.driver.ping()

    async def aclose(self) -> None:
        """Finish what runs in the background and close every connection; a second call does nothing."""
        if "sync" in self.__dict__:
            self.sync.close()
        if "cache" in self.__dict__:
            await self.cache.aclose()
        await self.driver.aclose()

    async def __aenter__(self) -> Self:
        if self.settings.connect == "eager":
            await self.ping()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
