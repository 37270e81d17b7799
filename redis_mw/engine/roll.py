"""Who is in a cluster, as far as one driver has heard: a value that both drivers hold, and what each piece of news
makes of it. No I/O.
"""

import random
from collections.abc import Collection, Iterable, Mapping

import msgspec

from redis_mw.engine.cluster import Address, Chart, Redirection, Shard
from redis_mw.errors import RedisUnavailable

LOOKS = 2
"""How many looks at the cluster without a server until it is let go."""

Place = tuple[Address, bool]
"""A server, and whether it is read from as a replica."""


class Roll(msgspec.Struct, frozen=True):
    """The cluster of this ``name``: its ``chart``, None until one has told it, ``problems``, why nobody has, and
    ``guests``: servers that were named as ones that are just being given a slot, and for how many looks they have not
    become primaries since.
    """

    name: str
    chart: Chart | None = None
    guests: Mapping[Address, int] = {}
    problems: tuple[str, ...] = ()

    @property
    def answering(self) -> tuple[Address, ...]:
        """Who may answer what is sent to a primary."""
        return () if self.chart is None else tuple(dict.fromkeys((*self.chart.primaries, *self.guests)))

    @property
    def unknown(self) -> RedisUnavailable:
        """What is answered while there is no chart."""
        return RedisUnavailable(nobody_tells(self.name, self.problems))

    def shard(self, slot: int | None) -> Shard | RedisUnavailable:
        """Who has a slot; None: any of the primaries will do."""
        if self.chart is None:
            return self.unknown
        if slot is None:
            return Shard(random.choice(self.chart.primaries))
        return self.chart.shard(slot) or RedisUnavailable(f"no server of {self.name} has slot {slot}")

    def found(self, chart: Chart) -> "Roll":
        """It has been looked at."""
        looked = {address: looks + 1 for address, looks in self.guests.items() if address not in chart.primaries}
        return Roll(self.name, chart, {address: looks for address, looks in looked.items() if looks < LOOKS})

    def asked_in_vain(self, problems: Iterable[str]) -> "Roll":
        """Nobody has told the chart; one that was told before stays."""
        return self if self.chart is not None else Roll(self.name, problems=tuple(problems))

    def redirected(self, chart: Chart, told: Redirection) -> tuple["Roll", Address]:
        """What a server says of a slot, and where that is; the same if it says nothing new."""
        shard, address = chart.shard(told.slot), told.address
        if address.host in ("", "?") and shard is not None:  # a server that does not know its own host
            address = Address(shard.primary.host, address.port)
        if told.asking:
            known = address in chart.primaries or self.guests.get(address) == 0
            return (self if known else Roll(self.name, chart, {**self.guests, address: 0})), address
        known = shard is not None and shard.primary == address
        return (self if known else Roll(self.name, chart.moved(told.slot, address), self.guests)), address

    def absent(self, places: Iterable[Place], before: Mapping[Place, int]) -> dict[Place, int]:
        """For how many looks it has been without these servers, as far as it is, one more than ``before``."""
        replicas: Collection[Address] = () if self.chart is None else self.chart.replicas
        present = {(address, False) for address in self.answering} | {(address, True) for address in replicas}
        return {place: before.get(place, 0) + 1 for place in places if place not in present}


def nobody_tells(name: str, problems: Iterable[str]) -> str:
    """That there is no chart of the cluster of this name, and why."""
    return ": ".join(filter(None, (f"nobody tells which servers {name} has", "; ".join(problems))))
