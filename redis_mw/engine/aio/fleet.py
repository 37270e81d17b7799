"""The servers of one cluster as one event loop sees them: who has a command's keys now, and who has left.

Nothing is known of them until one has told the chart (``lookout`` asks). Each is met when first needed, as a primary or
as a replica to read from, and closed when the chart has been without it for a while.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextvars import Context

from redis_mw.engine.aio.lookout import Lookout
from redis_mw.engine.aio.station import Station
from redis_mw.engine.batches import QUICK
from redis_mw.engine.cluster import Address, Chart, Redirection, Shard, may_know, name_of, node, seeds, slot_of
from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.roll import LOOKS, Place, Roll
from redis_mw.errors import RedisUnavailable
from redis_mw.events import Events
from redis_mw.flows import Command
from redis_mw.settings import Settings


class Fleet:
    """Finds the server of a command. ``lets_go`` is asked before a server that has left is closed: True, if it may be.

    A server is one that may answer (``answering``) from the moment before a command is first sent there: what it has to
    say of changed keys must be heard from then on, or nothing that was read may be kept. Who ``follows`` is called
    then.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        events: Events,
        loop: asyncio.AbstractEventLoop,
        *,
        refuses: Callable[[], bool],
        lets_go: Callable[[Station], bool],
    ) -> None:
        self.name = name_of(url)
        self._seeds = seeds(url)
        self._settings = settings
        self._events = events
        self._loop = loop
        self._lets_go = lets_go
        self._roll = Roll(self.name)
        self._stations: dict[Place, Station] = {}
        self._absent: dict[Place, int] = {}
        self._followers: list[Callable[[], None]] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._lookout = Lookout(
            self.name,
            settings,
            loop,
            servers=self._who_may_know,
            found=self._found,
            failed=self._unknown,
            refuses=refuses,
        )

    # Who answers.

    async def charted(self, within: float) -> bool:
        """Whether it is known who has what; waits for that, but not longer than ``within``."""
        if self._roll.chart is None:
            await self._lookout.wait(within)
        else:
            self._lookout.look_if_old()
        return self._roll.chart is not None

    def way(self, command: Command[object]) -> Station | RedisUnavailable:
        """The server for a command: where the settings allow it a replica that is not away, else the primary."""
        shard = self._shard(slot_of(command))
        if isinstance(shard, RedisUnavailable):
            return shard
        if command.replica and shard.replicas and self._settings.read_replicas:
            quick = command.role in QUICK
            for address in random.sample(shard.replicas, len(shard.replicas)):
                station = self._station(address, replica=True)
                if station.refusal(quick) is None:
                    return station
        return self._station(shard.primary)

    def primary(self, slot: int | None) -> Station | RedisUnavailable:
        """The primary that has the slot; None: any."""
        shard = self._shard(slot)
        return shard if isinstance(shard, RedisUnavailable) else self._station(shard.primary)

    def redirected(self, told: Redirection) -> Station | RedisUnavailable:
        """Where a server says that a command belongs; what it says for good is learnt, and the rest asked for."""
        chart = self._roll.chart
        if chart is None:
            return self._roll.unknown
        if not told.asking:
            self._lookout.look()
        roll, address = self._roll.redirected(chart, told)
        if roll is not self._roll:
            self._roll = roll
            self._tell()
        return self._station(address)

    def look(self) -> None:
        """A server has failed, or may have: see whether another has taken its place."""
        self._lookout.look()

    def follows(self, follower: Callable[[], None]) -> None:
        """Call this now if the servers are known, and whenever they may have changed; see that they will be known."""
        self._followers.append(follower)
        if self._roll.chart is None:
            self._lookout.look()
        else:
            follower()

    @property
    def answering(self) -> tuple[Address, ...]:
        """The primaries, and who was named for a while as one that is just becoming it."""
        return self._roll.answering

    def server(self, address: Address) -> Station:
        """One of ``answering``."""
        return self._station(address)

    async def ping(self, within: float) -> None:
        """Raise RedisUnavailable unless every primary answers on a connection of its own."""
        _ = await self.charted(within)
        chart = self._roll.chart
        if chart is None:
            raise self._roll.unknown
        for address in chart.primaries:
            await self._station(address).ping(within)

    async def close(self) -> None:
        """Close every connection."""
        self._followers.clear()
        await self._lookout.close()
        for leaving in tuple(self._leaving):
            _ = await asyncio.wait({leaving})
        for station in tuple(self._stations.values()):
            await station.close()

    def _shard(self, slot: int | None) -> Shard | RedisUnavailable:
        shard = self._roll.shard(slot)
        if isinstance(shard, RedisUnavailable) and self._roll.chart is not None:
            self._lookout.look()  # somebody may have it by now
        return shard

    def _station(self, address: Address, *, replica: bool = False) -> Station:
        station = self._stations.get((address, replica))
        if station is None:
            station = self._stations[address, replica] = Station(
                node(self._seeds[0], address, replica=replica),
                self._settings,
                self._events,
                self._loop,
                counted_as=self.name,
                on_failed=self._lookout.look,
            )
        return station

    # What is heard of the cluster.

    def _who_may_know(self) -> list[Endpoint]:
        return may_know(self._seeds, self._roll.chart)

    def _found(self, chart: Chart) -> None:
        self._roll = self._roll.found(chart)
        self._tell()
        self._let_go()

    def _unknown(self, problems: Sequence[str]) -> None:
        self._roll = self._roll.asked_in_vain(problems)
        if self._roll.chart is None and self._followers:
            self._lookout.look()

    def _tell(self) -> None:
        for follower in tuple(self._followers):
            follower()

    def _let_go(self) -> None:
        self._absent = self._roll.absent(self._stations, self._absent)
        for place in [place for place, looks in self._absent.items() if looks >= LOOKS]:
            station = self._stations[place]
            if station.idle and self._lets_go(station):
                del self._stations[place], self._absent[place]
                leaving = self._loop.create_task(station.close(), context=Context())
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)
