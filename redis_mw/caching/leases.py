"""Leases: who makes what is missing, so that nobody else does, in any process.

A lease is a string with its owner's token, kept next to what it is for and taken by the very script that did not find
it. It is short and renewed while its owner is at work, so one who is killed is soon replaced. Whatever drops the thing
drops the lease: its owner then stores nothing, for what it made may be of before.
"""

import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from redis_mw.flows import Command, Failure, Flow, Wait, send
from redis_mw.scripts import script

HERE = "redis_mw.caching"
RENEW = script(HERE, "renew")
RELEASE = script(HERE, "release")

TICK_S = 1 / 3
"""A third of the shortest lease, which lasts a second."""
AT_ONCE = 512
LONGEST_S = 600.0
"""How long one is renewed at most: what nobody gave back (a bug) must not keep others away for ever."""


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A lease that is ours, on each of ``keys``; ``versions`` are those of the tags when it was taken, ``taken_us``
    when that was; ``others`` those of other tags that were known then. ``variant`` says of which page of a URL.
    """

    keys: tuple[str, ...]
    owner: str
    lease_us: int
    versions: tuple[bytes, ...] = ()
    variant: str = ""
    taken_us: int = 0
    others: Mapping[str, bytes] = MappingProxyType({})


class _Held(NamedTuple):
    """A claim, since when, and when it was last known to be good; by a monotonic clock."""

    claim: Claim
    since: float
    renewed: float


class LeaseCommands:
    """Builds the commands of leases."""

    def __init__(self, patience_us: int) -> None:
        self._patience_us = patience_us

    @staticmethod
    def channel(key: str) -> str:
        """Where those who wait for the end of a lease are woken."""
        return key + ":w"

    def renew(self, key: str, claim: Claim) -> Command[bool]:
        return self._command(RENEW, key, claim.owner, -(-claim.lease_us // 1000))

    def release(self, key: str, owner: str) -> Command[bool]:
        return self._command(RELEASE, key, owner)

    def mark(self, key: str, claim: Claim) -> Command[bool]:
        """Take a lease whoever has it: it belongs to something whose own lease is ours."""
        words = ("SET", key, claim.owner, "PX", -(-claim.lease_us // 1000))
        return Command(words, bool, (key,), role="cache", patience_us=self._patience_us)

    def _command(self, script: Any, key: str, *words: Any) -> Command[bool]:
        return Command(words, bool, (key,), script, "cache", self._patience_us)


def given_back(*releases: Command[bool]) -> Flow[None]:
    """Give leases back; who is interrupted in that does so once more, for his commands may not have been sent."""
    try:
        _ = yield from send(*releases)
    except GeneratorExit:
        raise
    except BaseException:
        _ = yield from send(*releases)
        raise


class Leases:
    """The leases that this process holds, and the flow that renews them. Thread-safe."""

    def __init__(self, commands: LeaseCommands, clock: Callable[[], float] = time.monotonic) -> None:
        self._commands = commands
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, claim: Claim) -> None:
        """Have it renewed from now on."""
        with self._lock:
            now = self._clock()
            self._held[claim.owner] = _Held(claim, now, now)

    def drop(self, claim: Claim) -> None:
        """Have it renewed no more."""
        with self._lock:
            _ = self._held.pop(claim.owner, None)

    def renewing(self) -> Flow[None]:
        """Renew what is held every third of its time, until nothing is. One that is lost is let go."""
        while self._held:
            _ = yield Wait((), TICK_S)
            due = self._due()
            for start in range(0, len(due), AT_ONCE):
                some = due[start : start + AT_ONCE]
                replies = yield from send(*[self._commands.renew(key, claim) for key, claim in some])
                for (key, claim), renewed in zip(some, replies, strict=True):
                    if not renewed and key == claim.keys[0]:
                        self.drop(claim)
                    elif not isinstance(renewed, Failure):
                        self._note(claim)

    def _due(self) -> list[tuple[str, Claim]]:
        with self._lock:
            now = self._clock()
            self._held = {owner: held for owner, held in self._held.items() if now - held.since < LONGEST_S}
            due = [
                held.claim
                for held in self._held.values()
                if now - held.renewed >= held.claim.lease_us / 3e6 - TICK_S / 2
            ]
        return [(key, claim) for claim in due for key in claim.keys]

    def _note(self, claim: Claim) -> None:
        with self._lock:
            held = self._held.get(claim.owner)
            if held is not None:
                self._held[claim.owner] = held._replace(renewed=self._clock())
