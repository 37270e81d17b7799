"""Where the commands of a batch go, and how their replies come back together; async driver only.

A batch is split by server, and by lane where a reply may be large; the parts travel at the same time and each fails
alone. What the server does not know as a script is sent again as its text, once: it did not run.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from time import monotonic
from typing import Any, get_args

from redis_mw.engine import trips
from redis_mw.engine.aio.lane import Lane
from redis_mw.engine.aio.station import Station
from redis_mw.engine.aio.wakes import WakeUps
from redis_mw.engine.aio.wire import Exchange
from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.resp import packed
from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.events import Events
from redis_mw.flows import Argument, Command, Role
from redis_mw.settings import Settings

QUICK: frozenset[Role] = frozenset({"cache", "limits"})
ROLES: tuple[Role, ...] = get_args(Role)


class Delivery:
    """One batch on its way; it always ends, with a reply or a failure for every command."""

    __slots__ = ("_commands", "_detached", "_ends", "_parts", "_post", "_replies", "_unknown")

    def __init__(
        self, post: "Post", commands: Sequence[Command[Any]], ends: float | None, detached: bool, deaf: Collection[int]
    ) -> None:
        self._post = post
        self._commands = commands
        self._ends = ends
        self._detached = detached
        self._replies: list[Any] = [None] * len(commands)
        self._parts: list[tuple[Exchange, Lane, list[int]]] = []
        self._unknown: list[int] = []
        for place in deaf:
            self._replies[place] = RedisUnavailable("wake-ups cannot be heard now")
        self._send((place for place in range(len(commands)) if place not in deaf), as_text=False)

    async def settled(self) -> list[Any]:
        """All replies. May be cancelled and asked again: the batch goes on."""
        while True:
            for exchange, _, places in self._parts:
                self._take(places, await exchange.settled())
            self._parts = []
            if not self._unknown:
                return self._replies
            again, self._unknown = sorted(set(self._unknown)), []
            self._send(again, as_text=True)

    def drop_unsent(self) -> None:
        """Nobody waits any more: what still waits for a connection is not sent."""
        for exchange, lane, _ in self._parts:
            lane.drop(exchange)

    def _take(self, places: list[int], replies: list[Any]) -> None:
        for place, reply in zip(places, replies, strict=True):
            self._replies[place] = reply
            if type(reply) is CommandError and reply.code == "NOSCRIPT" and self._commands[place].script is not None:
                self._unknown.append(place)

    def _send(self, places: Iterable[int], *, as_text: bool) -> None:
        groups: dict[Lane, _Group] = {}
        for place in places:
            command = self._commands[place]
            station = self._post.station(command.role)
            quick = command.role in QUICK
            refusal = self._post.refusal(station, quick)
            if refusal is not None:
                self._replies[place] = refusal
                continue
            lane = station.large if command.bulk else station.small
            group = groups.get(lane)
            if group is None:
                groups[lane] = group = _Group(station)
            group.places.append(place)
            group.words.append(_as_text(command) if as_text else command.words())
            group.quick = group.quick and quick
            if command.patience_us > group.patience_us:
                group.patience_us = command.patience_us
        if trips.observers:
            _record(groups.values(), self._detached)
        for lane, group in groups.items():
            self._dispatch(lane, group)

    def _dispatch(self, lane: Lane, group: "_Group") -> None:
        loop = self._post.loop
        patience = group.patience_us / 1_000_000
        if self._ends is not None:
            patience = min(patience, self._ends - monotonic())
        exchange = Exchange(loop, packed(group.words), len(group.words), patience, group.quick)
        self._parts.append((exchange, lane, group.places))
        if patience > 0:
            lane.send(exchange)
        else:
            exchange.fail(RedisUnavailable("the time for this is over"))


class _Group:
    """What travels together."""

    __slots__ = ("patience_us", "places", "quick", "station", "words")

    def __init__(self, station: Station) -> None:
        self.station = station
        self.places: list[int] = []
        self.words: list[tuple[Argument, ...]] = []
        self.patience_us = 0
        self.quick = True


def _record(groups: Iterable[_Group], detached: bool) -> None:
    """One trip per server: what goes out over two lanes at once takes the time of one."""
    words: dict[str, list[tuple[Argument, ...]]] = {}
    for group in groups:
        words.setdefault(group.station.endpoint.name, []).extend(group.words)
    for name, sent in words.items():
        trips.record(name, tuple(sent), detached)


def _as_text(command: Command[Any]) -> tuple[Argument, ...]:
    assert command.script is not None
    return ("EVAL", command.script.text, len(command.keys), *command.keys, *command.args)


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

    def refusal(self, station: Station, quick: bool) -> RedisUnavailable | None:
        """What a command is answered at once, if it is."""
        if self.closed:
            return RedisUnavailable("the driver is closed")
        if self.refuse_all:
            return RedisUnavailable("refused: the driver was told to refuse everything")
        return station.refusal(quick)

    def send(
        self, commands: Sequence[Command[Any]], ends: float | None, detached: bool, deaf: Collection[int] = ()
    ) -> Delivery:
        """Send a batch now; ``ends`` is when its replies are of no use any more.

        ``deaf`` are the places of commands that are not sent because nobody could hear what they are answered later.
        """
        return Delivery(self, commands, ends, detached, deaf)

    async def close(self) -> None:
        """Close every connection."""
        self.closed = True
        for station in tuple(self._by_url.values()):
            await station.close()
