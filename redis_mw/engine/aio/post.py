"""Where the commands of a batch go, and how their replies come back together; async driver only.

A batch is split by server, and by lane where a reply may be large; the parts travel at the same time and each fails
alone. What the server does not know as a script is sent again as its text, once: it did not run.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from time import monotonic
from typing import Any

from redis_mw.engine import trips
from redis_mw.engine.aio.lane import Lane
from redis_mw.engine.aio.station import Station
from redis_mw.engine.aio.tracker import Tracker
from redis_mw.engine.aio.wakes import WakeUps
from redis_mw.engine.aio.wire import Exchange
from redis_mw.engine.batches import CLOSED, DEAF, QUICK, REFUSED, ROLES, TOO_LATE, Part, split, unknown
from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.resp import packed
from redis_mw.engine.tracking import Tracking, Watcher
from redis_mw.errors import RedisUnavailable
from redis_mw.events import Events
from redis_mw.flows import Argument, Command, Role
from redis_mw.settings import Settings


class Delivery:
    """One batch on its way from now on; it always ends, with a reply or a failure for every command.

    ``ends`` is when its replies are of no use any more; ``deaf`` are the places of commands that are not sent because
    nobody could hear what they are answered later.
    """

    __slots__ = ("_commands", "_detached", "_ends", "_exchanges", "_post", "_replies", "_told_scripts")

    def __init__(
        self,
        post: "Post",
        commands: Sequence[Command[Any]],
        ends: float | None,
        detached: bool,
        deaf: Collection[int] = (),
    ) -> None:
        self._post = post
        self._commands = commands
        self._ends = ends
        self._detached = detached
        self._replies: list[Any] = [None] * len(commands)
        self._exchanges: list[tuple[list[int], Lane, Exchange]] = []
        self._told_scripts = False
        places: Iterable[int] = range(len(commands))
        if deaf:
            for place in deaf:
                self._replies[place] = RedisUnavailable(DEAF)
            places = [place for place in places if place not in deaf]
        self._send(places, as_text=False)

    async def settled(self) -> list[Any]:
        """All replies. May be cancelled and asked again: the batch goes on."""
        while True:
            for places, _, exchange in self._exchanges:
                for place, reply in zip(places, await exchange.settled(), strict=True):
                    self._replies[place] = reply
            if self._told_scripts or not (again := unknown(self._commands, self._replies)):
                return self._replies
            self._told_scripts = True
            self._exchanges = []
            self._send(again, as_text=True)

    def drop_unsent(self) -> None:
        """Nobody waits any more: what still waits for a connection is not sent."""
        for _, lane, exchange in self._exchanges:
            lane.drop(exchange)

    def _send(self, places: Iterable[int], *, as_text: bool) -> None:
        left = None if self._ends is None else self._ends - monotonic()
        if left is not None and left <= 0:
            for place in places:
                self._replies[place] = RedisUnavailable(TOO_LATE)
            return
        parts = split(self._commands, places, self._replies, self._post.way, as_text=as_text)
        if trips.observers:
            _record(parts, self._detached)
        for lane, part in parts.items():
            patience = part.patience_us / 1_000_000
            if left is not None and left < patience:
                patience = left
            exchange = Exchange(self._post.loop, packed(part.words), len(part.words), patience, part.quick)
            self._exchanges.append((part.places, lane, exchange))
            lane.send(exchange)


def _record(parts: dict[Lane, Part], detached: bool) -> None:
    """One trip per server: what goes out over two lanes at once takes the time of one."""
    words: dict[str, list[tuple[Argument, ...]]] = {}
    for lane, part in parts.items():
        words.setdefault(lane.endpoint.name, []).extend(part.words)
    for name, sent in words.items():
        trips.record(name, tuple(sent), detached)


class Post:
    """The servers of one driver on one event loop, each met when first needed."""

    def __init__(self, settings: Settings, events: Events, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.refuse_all = False
        self.closed = False
        self._settings = settings
        self._events = events
        self._by_role: dict[Role, Station] = {}
        self._by_url: dict[str, Station] = {}
        self._wake_ups: dict[Station, WakeUps] = {}
        self._heard: set[tuple[Role, str]] = set()
        self._trackers: dict[tuple[Role, tuple[str, ...], int], Tracker] = {}

    def station(self, role: Role) -> Station:
        """The server that a role lives on; roles with equal urls share one. An embedded one is started by this."""
        found = self._by_role.get(role)
        if found is None:
            url = self._settings.url_of(role)
            if url not in self._by_url:
                self._by_url[url] = Station(Endpoint.from_url(url), self._settings, self._events, self.loop)
            found = self._by_role[role] = self._by_url[url]
        return found

    def stations(self) -> set[Station]:
        """All servers of the settings."""
        return {self.station(role) for role in ROLES}

    def wake_ups(self, role: Role) -> WakeUps:
        """The wake-ups of the server that a role lives on."""
        station = self.station(role)
        if station not in self._wake_ups:
            self._wake_ups[station] = WakeUps(station, self.loop)
        return self._wake_ups[station]

    def hear(self, role: Role, channel: str, heard: Callable[[], None]) -> None:
        """Call ``heard`` for wake-ups of this channel until the end, if nobody is called for it yet."""
        if not self.closed and (role, channel) not in self._heard:
            self.wake_ups(role).hear(channel, heard)
            self._heard.add((role, channel))

    def watch(self, role: Role, prefixes: tuple[str, ...], watcher: Watcher) -> None:
        """Tell the watcher what is changed under these prefixes until the end, if it is not told yet."""
        key = (role, prefixes, id(watcher))  # its id: it is kept alive, so no other has that
        if not self.closed and key not in self._trackers:
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
            tracker.tracking.end()

    def way(self, role: Role, bulk: bool) -> Lane | RedisUnavailable:
        """The lane for a command of this role, or what it is answered at once."""
        if self.closed or self.refuse_all:
            return RedisUnavailable(CLOSED if self.closed else REFUSED)
        station = self._by_role.get(role) or self.station(role)
        if station.open_classes and (refusal := station.refusal(role in QUICK)) is not None:
            return refusal
        return station.large if bulk else station.small

    def refusal(self) -> RedisUnavailable | None:
        """What everything is answered now, if nothing is to be sent at all."""
        if self.closed:
            return RedisUnavailable(CLOSED)
        return RedisUnavailable(REFUSED) if self.refuse_all else None

    async def close(self) -> None:
        """Close every connection."""
        self.closed = True
        for wake_ups in self._wake_ups.values():
            wake_ups.close()
        for tracker in tuple(self._trackers.values()):
            await tracker.close()
        for station in tuple(self._by_url.values()):
            await station.close()
