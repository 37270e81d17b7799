"""The servers of one cluster as one process sees them: who has a command's keys now, and who has left.

Nothing is known of them until one has told the chart (``lookout`` asks). Each is met when first needed, as a primary or
as a replica to read from, and closed when the chart has been without it for a while.
"""

import random
import threading
from collections.abc import Callable, Mapping
from time import monotonic

from redis_mw.engine.batches import QUICK
from redis_mw.engine.cluster import Address, Chart, Redirection, Shard, name_of, node, seeds, slot_of
from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.sync.link import Link
from redis_mw.engine.sync.lookout import Lookout
from redis_mw.errors import RedisUnavailable
from redis_mw.events import Events
from redis_mw.flows import Command
from redis_mw.settings import Settings

LOOKS = 2
"""How many looks at the cluster without a server until it is let go."""


class Fleet:
    """Finds the server of a command. Thread-safe; ``forget`` is for the child of a fork.

    ``lets_go`` is asked before a server that has left is closed: True, if it may be. What is under way there ends
    first. A server is one that may answer (``answering``) from the moment before a command is first sent there: what it
    has to say of changed keys must be heard from then on, or nothing that was read may be kept. Who ``follows`` is
    called then, one call at a time, under the lock of the fleet.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        events: Events,
        *,
        refuses: Callable[[], bool],
        lets_go: Callable[[Link], bool],
    ) -> None:
        self.name = name_of(url)
        self.answering: tuple[Address, ...] = ()
        self._seeds = seeds(url)
        self._settings = settings
        self._events = events
        self._lets_go = lets_go
        self._lock = threading.RLock()  # the garbage collector may close a driver in the middle of anything
        self._chart: Chart | None = None
        self._links: dict[tuple[Address, bool], Link] = {}
        self._absent: dict[tuple[Address, bool], int] = {}
        self._guests: Mapping[Address, int] = {}
        self._followers: list[Callable[[], None]] = []
        self._closed = False
        self._lookout = Lookout(
            self.name,
            settings,
            servers=self._who_may_know,
            found=self._found,
            failed=self._unknown,
            refuses=refuses,
        )

    # Who answers.

    def charted(self, due: float) -> bool:
        """Whether it is known who has what; waits for that until ``due``."""
        if self._chart is None:
            self._lookout.wait(due)
        else:
            self._lookout.look_if_old()
        return self._chart is not None

    def way(self, command: Command[object]) -> Link | RedisUnavailable:
        """The server for a command: where the settings allow it a replica that is not away, else the primary."""
        shard = self._shard(slot_of(command))
        if isinstance(shard, RedisUnavailable):
            return shard
        quick = command.role in QUICK
        if command.replica and shard.replicas and self._settings.read_replicas:
            for address in random.sample(shard.replicas, len(shard.replicas)):
                link = self._link(address, replica=True)
                if link.refusal(quick) is None:
                    return link
        return self._unless_away(shard.primary, quick)

    def primary(self, slot: int | None) -> Link | RedisUnavailable:
        """The primary that has the slot, also one that is away; None: any."""
        shard = self._shard(slot)
        return shard if isinstance(shard, RedisUnavailable) else self._link(shard.primary)

    def redirected(self, told: Redirection, quick: bool) -> Link | RedisUnavailable:
        """Where a server says that a command belongs; what it says for good is learnt, and the rest asked for."""
        address = told.address
        with self._lock:
            chart = self._chart
            if chart is None:
                return self._nobody_tells()
            shard = chart.shard(told.slot)
            if address.host in ("", "?") and shard is not None:  # a server that does not know its own host
                address = Address(shard.primary.host, address.port)
            if told.asking:
                if address not in chart.primaries and self._guests.get(address) != 0:
                    self._learn(chart, {**self._guests, address: 0})
            else:
                self._lookout.look()
                if shard is None or shard.primary != address:
                    self._learn(chart.moved(told.slot, address), self._guests)
        return self._unless_away(address, quick)

    def server(self, address: Address) -> Link:
        """One of ``answering``."""
        return self._link(address)

    def follows(self, follower: Callable[[], None]) -> None:
        """Call this now if the servers are known, and whenever they may have changed; see that they will be known."""
        with self._lock:
            if follower not in self._followers:
                self._followers.append(follower)
            if self._chart is not None:
                follower()
                return
        self._lookout.look()

    def ping(self, within: float) -> None:
        """Raise RedisUnavailable unless every primary answers on a connection of its own."""
        if not self.charted(monotonic() + within) or self._chart is None:
            raise self._nobody_tells()
        for address in self._chart.primaries:
            self._link(address).ping(within)

    def close(self) -> None:
        """Close every connection; what is under way ends first."""
        self._closed = True
        self._lookout.close()
        for link in tuple(self._links.values()):
            link.close()

    def forget(self) -> None:
        """In the child of a fork: let go of the parent's connections; takes no lock, as ``Pool.forget``."""
        for link in tuple(self._links.values()):
            link.forget()

    def _shard(self, slot: int | None) -> Shard | RedisUnavailable:
        chart = self._chart
        if chart is None:
            return self._nobody_tells()
        if slot is None:
            return Shard(random.choice(chart.primaries))
        return chart.shard(slot) or self._nobody_has(slot)

    def _nobody_tells(self) -> RedisUnavailable:
        return RedisUnavailable(f"nobody tells which servers {self.name} has")

    def _nobody_has(self, slot: int) -> RedisUnavailable:
        self._lookout.look()
        return RedisUnavailable(f"no server of {self.name} has slot {slot}")

    def _unless_away(self, address: Address, quick: bool) -> Link | RedisUnavailable:
        link = self._link(address)
        refusal = link.refusal(quick)
        if refusal is None:
            return link
        self._lookout.look()  # another may have taken its place
        return refusal

    def _link(self, address: Address, *, replica: bool = False) -> Link:
        link = self._links.get((address, replica))
        return link if link is not None else self._met(address, replica)

    def _met(self, address: Address, replica: bool) -> Link:
        with self._lock:
            link = self._links.get((address, replica))
            if link is None:
                link = self._links[address, replica] = Link(
                    node(self._seeds[0], address, replica=replica),
                    self._settings,
                    self._events,
                    counted_as=self.name,
                    on_failed=self._lookout.look,
                )
            if self._closed:
                link.close()
            return link

    # What is heard of the cluster.

    def _who_may_know(self) -> list[Endpoint]:
        known = () if self._chart is None else self._chart.primaries
        named = {Address(seed.host, seed.port) for seed in self._seeds}
        return [*self._seeds, *(node(self._seeds[0], address) for address in known if address not in named)]

    def _unknown(self) -> None:
        if self._chart is None and self._followers:
            self._lookout.look()

    def _found(self, chart: Chart) -> None:
        with self._lock:
            guests = {
                address: looks + 1
                for address, looks in self._guests.items()
                if looks + 1 < LOOKS and address not in chart.primaries
            }
            self._learn(chart, guests)
            gone = self._gone(chart)
        for key, link in gone:
            if self._lets_go(link) and self._left(key):
                link.close()

    def _learn(self, chart: Chart, guests: Mapping[Address, int]) -> None:
        """Who newly may answer is made known before anybody is sent there, who no longer does only after that."""
        answering = tuple(dict.fromkeys((*chart.primaries, *guests)))
        if not set(answering) <= set(self.answering):
            self.answering = tuple(dict.fromkeys((*self.answering, *answering)))
            self._tell()
        self._chart, self._guests, self.answering = chart, guests, answering
        self._tell()

    def _left(self, key: tuple[Address, bool]) -> bool:
        """Forget it, unless somebody has been sent there meanwhile."""
        address, replica = key
        with self._lock:
            if address in self.answering and not replica:
                return False
            del self._links[key], self._absent[key]
            return True

    def _tell(self) -> None:
        for follower in tuple(self._followers):
            follower()

    def _gone(self, chart: Chart) -> list[tuple[tuple[Address, bool], Link]]:
        """Those that the chart has been without for so many looks."""
        present = {(address, False) for address in self.answering} | {(address, True) for address in chart.replicas}
        self._absent = {key: self._absent.get(key, 0) + 1 for key in self._links if key not in present}
        return [(key, self._links[key]) for key, looks in self._absent.items() if looks >= LOOKS]
