"""A cluster as both drivers know it: which server has which slot, and what one says that has it no longer. Pure.

A key's slot is a hash of what stands in its braces; every slot is on one primary, with or without replicas. Who asks
the wrong server is told the right one (MOVED), or, while a slot is on its way, where to ask this once (ASK); in both
cases nothing was done, so the command is sent again. (Redis cluster specification.)
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from redis.crc import key_slot

from redis_mw.engine.endpoint import Endpoint
from redis_mw.errors import CommandError
from redis_mw.flows import Argument, Command
from redis_mw.settings.urls import servers

SLOTS = 16384
QUESTION: tuple[Argument, ...] = ("CLUSTER", "SLOTS")
ASKING: tuple[Argument, ...] = ("ASKING",)
"""What a server must be told before a command for a slot that it is just being given; its reply is of no interest."""
MOST_HOPS = 4
"""How often a command follows what servers say of its slot."""

_REDIRECTION = re.compile("([0-9]{1,5}) (.*):([0-9]{1,5})")


class Address(NamedTuple):
    """Where a server says that it is."""

    host: str
    port: int


class Shard(NamedTuple):
    """Who has some slots, and who follows it."""

    primary: Address
    replicas: tuple[Address, ...] = ()


class Redirection(NamedTuple):
    """Where a command is to be sent instead; ``asking``: this once."""

    slot: int
    address: Address
    asking: bool


class Chart:
    """Who has which slots, as one server has told it. Frozen, but for what ``moved`` makes of it: another one."""

    def __init__(self, shards: Sequence[Shard | None]) -> None:
        self._shards = shards
        # By identity: most slots share a few objects, and this is done anew for every slot that is heard to have moved.
        self._each = [shard for shard in {id(shard): shard for shard in shards}.values() if shard is not None]
        self.primaries = _each(shard.primary for shard in self._each)
        self.replicas = _each(address for shard in self._each for address in shard.replicas)

    @classmethod
    def read(cls, reply: Any, told_by: Address) -> "Chart":
        """From a reply to ``QUESTION``; ValueError says that it is none, or that nobody has any slot."""
        shards: list[Shard | None] = [None] * SLOTS
        try:
            for first, last, primary, *replicas in reply:
                shard = Shard(_address(primary, told_by), tuple(_address(each, told_by) for each in replicas))
                if not 0 <= first <= last < SLOTS:
                    raise ValueError(f"slots {first} to {last}")
                shards[first : last + 1] = [shard] * (last - first + 1)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise ValueError(f"no map of a cluster: {error}") from None
        if not any(shards):
            raise ValueError("nobody has any slot: is this a cluster, and is it complete?")
        return cls(shards)

    def shard(self, slot: int) -> Shard | None:
        """Who has the slot; None: nobody was said to."""
        return self._shards[slot]

    def moved(self, slot: int, address: Address) -> "Chart":
        """The same with the slot on another primary, of which no replicas are known unless it had slots before."""
        known = next((shard for shard in self._each if shard.primary == address), None)
        shards = list(self._shards)
        shards[slot] = known or Shard(address)
        return Chart(shards)


def slot_of(command: Command[Any]) -> int | None:
    """The slot of a command's keys, which share one; None: it has no keys, and any server will do."""
    return key_slot(command.keys[0].encode("utf-8", "surrogatepass")) if command.keys else None


def redirection(reply: Any) -> Redirection | None:
    """Where the server says that the command belongs, if that is what it says."""
    if type(reply) is not CommandError or reply.code not in ("MOVED", "ASK"):
        return None
    told = _REDIRECTION.fullmatch(reply.message)
    if told is None:
        return None
    slot, host, port = int(told[1]), told[2], int(told[3])
    if slot >= SLOTS or not 0 < port < 65536:
        return None
    return Redirection(slot, Address(host, port), reply.code == "ASK")


def name_of(url: str) -> str:
    """What a cluster is called where eyes see it: without password and options."""
    return "cluster://" + ",".join(urlsplit(each).netloc.rpartition("@")[2] for each in servers(url))


def seeds(url: str) -> tuple[Endpoint, ...]:
    """The servers that a ``cluster://`` url names, any of which knows the others; SettingsError.

    User, password and options are for all servers of the cluster, also those it does not name.
    """
    places = [urlsplit(each) for each in servers(url)]
    options = dict(parse_qsl(places[0].query, keep_blank_values=True))
    secure = options.pop("ssl", "false") == "true" or any(name.startswith("ssl_") for name in options)
    scheme, query = "rediss" if secure else "redis", f"?{urlencode(options)}" if options else ""
    return tuple(Endpoint.from_url(f"{scheme}://{place.netloc}{query}") for place in places)


def node(seed: Endpoint, address: Address, *, replica: bool = False) -> Endpoint:
    """A server of the cluster that a seed is of; a replica of it is told that it is read from."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    scheme = seed.name.partition("://")[0]
    name = f"{scheme}://{host}:{address.port}/0"
    return msgspec.structs.replace(seed, name=name, host=address.host, port=address.port, replica=replica)


def may_know(seeds: Sequence[Endpoint], chart: Chart | None) -> list[Endpoint]:
    """Who may tell the chart: those that the url names, and the primaries that are known."""
    named = {Address(seed.host, seed.port) for seed in seeds}
    known = () if chart is None else chart.primaries
    return [*seeds, *(node(seeds[0], address) for address in known if address not in named)]


def _each(addresses: Iterable[Address]) -> tuple[Address, ...]:
    return tuple(dict.fromkeys(addresses))


def _address(told: Any, told_by: Address) -> Address:
    """A server that does not know its own host is where it was asked."""
    host, port = told[0], told[1]
    name = host.decode() if isinstance(host, bytes) else ""
    if not isinstance(port, int) or not 0 < port < 65536:
        raise ValueError(f"port {port!r}")
    return Address(told_by.host if name in ("", "?") else name, port)
