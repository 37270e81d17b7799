"""Where the commands of a batch go, by the server that each belongs to; async driver only."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from redis_mw.engine.aio.choir import Choir
from redis_mw.engine.aio.fleet import Fleet
from redis_mw.engine.aio.hearing import Hearing
from redis_mw.engine.aio.lane import Lane
from redis_mw.engine.aio.station import Station
from redis_mw.engine.aio.tracker import Tracker
from redis_mw.engine.aio.wakes import WakeUps
from redis_mw.engine.batches import CLOSED, QUICK, REFUSED, ROLES
from redis_mw.engine.cluster import Redirection, slot_of
from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.tracking import Tracking, Watcher
from redis_mw.errors import RedisUnavailable
from redis_mw.events import Events
from redis_mw.flows import Command, Role
from redis_mw.settings import Settings, seconds


class Post:
    """The servers of one driver on one event loop, each met when first needed.

    A role that is ``spread`` lives on a cluster; only the cache may.
    """

    def __init__(self, settings: Settings, events: Events, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.refuse_all = False
        self.closed = False
        self.spread: frozenset[Role] = frozenset({"cache"}) if settings.spreads_cache else frozenset()
        self._settings = settings
        self._events = events
        self._by_role: dict[Role, Station] = {}
        self._by_url: dict[str, Station] = {}
        self._met: Fleet | None = None
        self._wake_ups: dict[Station, WakeUps] = {}
        self._heard: set[tuple[Role, str]] = set()
        self._trackers: dict[tuple[Role, tuple[str, ...], int], Tracker | Choir] = {}

    def station(self, role: Role) -> Station:
        """The server that a role lives on; roles with equal urls share one. An embedded one is started by this."""
        found = self._by_role.get(role)
        if found is None:
            url = self._settings.url_of(role)
            if url not in self._by_url:
                self._by_url[url] = Station(Endpoint.from_url(url), self._settings, self._events, self.loop)
            found = self._by_role[role] = self._by_url[url]
        return found

    def fleet(self) -> Fleet:
        """The servers of the roles that are spread."""
        if self._met is None:
            url = self._settings.url_of("cache")
            self._met = Fleet(
                url, self._settings, self._events, self.loop, refuses=lambda: self.refuse_all, lets_go=self._forget
            )
        return self._met

    async def charted(self, commands: Sequence[Command[Any]], ends: float | None) -> None:
        """Find out who has the keys of those that are spread, if it is not known: no longer than they would wait."""
        patience_us = max((each.patience_us for each in commands if each.role in self.spread), default=0)
        if patience_us and self.refusal() is None:
            within = patience_us / 1_000_000
            _ = await self.fleet().charted(within if ends is None else max(0.0, min(within, ends - monotonic())))

    async def ping(self) -> None:
        """Raise RedisUnavailable unless every server of the settings answers on a connection of its own."""
        within = seconds(self._settings.warm_up)
        for station in {self.station(role) for role in ROLES if role not in self.spread}:
            await station.ping(within)
        if self.spread:
            await self.fleet().ping(within)

    def wake_ups(self, command: Command[Any]) -> WakeUps | None:
        """The wake-ups of the server that a command goes to; None: it is not known. A replica is not listened to."""
        if command.role not in self.spread:
            return self.wake_ups_of(self.station(command.role))
        station = self.fleet().primary(slot_of(command))
        return None if isinstance(station, RedisUnavailable) else self.wake_ups_of(station)

    def wake_ups_of(self, station: Station) -> WakeUps:
        """The wake-ups of one server."""
        if station not in self._wake_ups:
            self._wake_ups[station] = WakeUps(station, self.loop)
        return self._wake_ups[station]

    def hear(self, role: Role, channel: str, heard: Callable[[], None]) -> None:
        """Call ``heard`` for wake-ups of this channel until the end, if nobody is called for it yet."""
        if self.closed or (role, channel) in self._heard:
            return
        if role in self.spread:
            _ = Hearing(self.fleet(), self.wake_ups_of, channel, heard)
        else:
            _ = self.wake_ups_of(self.station(role)).hear(channel, heard)
        self._heard.add((role, channel))

    def watch(self, role: Role, prefixes: tuple[str, ...], watcher: Watcher) -> None:
        """Tell the watcher what is changed under these prefixes until the end, if it is not told yet."""
        key = (role, prefixes, id(watcher))  # its id: it is kept alive, so no other has that
        if self.closed or key in self._trackers:
            return
        if role in self.spread:
            self._trackers[key] = Choir(self.fleet(), prefixes, watcher, lambda: self.refuse_all, self.loop)
        else:
            tracking = Tracking(prefixes, watcher, lambda: self.refuse_all)
            self._trackers[key] = Tracker(self.station(role), tracking, self.loop)

    def refuse(self, refuse: bool) -> None:
        """Whether everything is to be refused from now on; who watches is ended then."""
        self.refuse_all = refuse
        if refuse:
            self.deafen()

    def deafen(self) -> None:
        """Nothing is heard of what is changed: end who watches."""
        for tracker in tuple(self._trackers.values()):
            tracker.end()

    def way(self, command: Command[Any]) -> Lane | RedisUnavailable:
        """The lane for a command, or what it is answered at once."""
        if self.closed or self.refuse_all:
            return RedisUnavailable(CLOSED if self.closed else REFUSED)
        role = command.role
        station = self._by_role.get(role)
        if station is None:
            if role in self.spread:
                return self._way_in_fleet(command)
            station = self.station(role)
        if station.open_classes and (refusal := station.refusal(role in QUICK)) is not None:
            return refusal
        return station.large if command.bulk else station.small

    def elsewhere(self, role: Role, told: Redirection, bulk: bool) -> Lane | RedisUnavailable:
        """The lane to where a server says that a command belongs."""
        station = self.refusal() or self.fleet().redirected(told)
        return station if isinstance(station, RedisUnavailable) else _lane(station, role, bulk)

    def refusal(self) -> RedisUnavailable | None:
        """What everything is answered now, if nothing is to be sent at all."""
        if self.closed:
            return RedisUnavailable(CLOSED)
        return RedisUnavailable(REFUSED) if self.refuse_all else None

    async def close(self) -> None:
        """Close every connection."""
        self.closed = True
        if self._met is not None:  # first: what it hears of new servers would have more of this made
            await self._met.close()
        for wake_ups in self._wake_ups.values():
            wake_ups.close()
        for tracker in tuple(self._trackers.values()):
            await tracker.close()
        for station in tuple(self._by_url.values()):
            await station.close()

    def _way_in_fleet(self, command: Command[Any]) -> Lane | RedisUnavailable:
        station = self.fleet().way(command)
        if isinstance(station, RedisUnavailable):
            return station
        lane = _lane(station, command.role, command.bulk)
        if isinstance(lane, RedisUnavailable):
            self.fleet().look()  # another may have taken its place
        return lane

    def _forget(self, station: Station) -> bool:
        """Whether nobody listens at a server, which is closed then."""
        wake_ups = self._wake_ups.get(station)
        if wake_ups is not None:
            if wake_ups.heeded:
                return False
            wake_ups.close()
            del self._wake_ups[station]
        return True


def _lane(station: Station, role: Role, bulk: bool) -> Lane | RedisUnavailable:
    refusal = station.refusal(role in QUICK)
    if refusal is not None:
        return refusal
    return station.large if bulk else station.small
