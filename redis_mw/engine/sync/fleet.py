"""The servers of one cluster as one process sees them: who has a command's keys now, and who has left.

Nothing is known of them until one has told the chart (``lookout`` asks). Each is met when first needed, as a primary or
as a replica to read from, and closed when the chart has been without it for a while.
"""

import random
import threading
from collections.abc import Callable, Sequence
from time import monotonic

from redis_mw.engine.batches import QUICK
from redis_mw.engine.cluster import Address, Chart, Redirection, Shard, may_know, name_of, node, seeds, slot_of
from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.roll import LOOKS, Place, Roll
from redis_mw.engine.sync.link import Link
from redis_mw.engine.sync.lookout import Lookout
from redis_mw.errors import RedisUnavailable
from redis_mw.events import Events
from redis_mw.flows import Command
from redis_mw.settings import Settings


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
        self._roll = Roll(self.name)
        self._links: dict[Place, Link] = {}
        self._absent: dict[Place, int] = {}
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
        if self._roll.chart is None:
            self._lookout.wait(due)
        else:
            self._lookout.look_if_old()
        return self._roll.chart is not None

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
        if not told.asking:
            self._lookout.look()
        with self._lock:
            chart = self._roll.chart
            if chart is None:
                return self._roll.unknown
            roll, address = self._roll.redirected(chart, told)
            if roll is not self._roll:
                self._learn(roll)
        return self._unless_away(address, quick)

    def server(self, address: Address) -> Link:
        """One of ``answering``."""
        return self._link(address)

    def follows(self, follower: Callable[[], None]) -> None:
        """Call this now if the servers are known, and whenever they may have changed; see that they will be known."""
        with self._lock:
            if follower not in self._followers:
                self._followers.append(follower)
            if self._roll.chart is not None:
                follower()
                return
        self._lookout.look()

    def ping(self, within: float) -> None:
        """Raise RedisUnavailable unless every primary answers on a connection of its own."""
        _ = self.charted(monotonic() + within)
        chart = self._roll.chart
        if chart is None:
            raise self._roll.unknown
        for address in chart.primaries:
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
        shard = self._roll.shard(slot)
        if isinstance(shard, RedisUnavailable) and self._roll.chart is not None:
            self._lookout.look()  # somebody may have it by now
        return shard

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
        return may_know(self._seeds, self._roll.chart)

    def _unknown(self, problems: Sequence[str]) -> None:
        with self._lock:
            self._roll = self._roll.asked_in_vain(problems)
        if self._roll.chart is None and self._followers:
            self._lookout.look()

    def _found(self, chart: Chart) -> None:
        with self._lock:
            self._learn(self._roll.found(chart))
            self._absent = self._roll.absent(self._links, self._absent)
            gone = [(place, self._links[place]) for place, looks in self._absent.items() if looks >= LOOKS]
        for place, link in gone:
            if self._lets_go(link) and self._left(place):
                link.close()

    def _learn(self, roll: Roll) -> None:
        """Who newly may answer is made known before anybody is sent there, who no longer does only after that."""
        if not set(roll.answering) <= set(self.answering):
            self.answering = tuple(dict.fromkeys((*self.answering, *roll.answering)))
            self._tell()
        self._roll, self.answering = roll, roll.answering
        self._tell()

    def _left(self, place: Place) -> bool:
        """Forget it, unless somebody has been sent there meanwhile."""
        address, replica = place
        with self._lock:
            if address in self.answering and not replica:
                return False
            del self._links[place], self._absent[place]
            return True

    def _tell(self) -> None:
        for follower in tuple(self._followers):
            follower()
