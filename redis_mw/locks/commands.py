"""The commands of the locks room: what each script is called with and what its reply means.

============================  ========================================================================================
``<prefix>:k1:{<name>}:h``    who holds a lock, see ``now.lua``; ``name`` is a hash of the lock's
``<prefix>:k1:{<name>}:q``    who waits for it
``<prefix>:k1:{<name>}:f``    the last fencing token that was drawn for it
``<prefix>:k1:w:<channel>``   where one who waits is told that it is his: token, fence, server's time in us, ttl in us,
                              and 1 if whoever was before did not give it back; or nothing: look again
============================  ========================================================================================
"""

from typing import TypeAlias

import msgspec

from redis_mw.flows import Argument, Command
from redis_mw.locks.ask import FEATURE, Ask
from redis_mw.scripts import script

HERE = "redis_mw.locks"
ACQUIRE = script(HERE, "acquire")
RELEASE = script(HERE, "release")
RENEW = script(HERE, "renew")


class Granted(msgspec.Struct, frozen=True, gc=False):
    """The locks are ours since ``now_us`` by the server's clock, for ``ttl_us`` (0: for as long as was asked).

    ``over`` says that whoever was before did not give them back.
    """

    fence: int
    now_us: int
    over: bool
    ttl_us: int = 0


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """They are not; ``before`` others come first, and in ``look_us`` something may change that nobody tells.

    With a wait of 0 nobody was queued.
    """

    look_us: int
    now_us: int
    before: int


class Crowded(msgspec.Struct, frozen=True, gc=False):
    """They are not, and as many wait as may."""

    look_us: int


Answer: TypeAlias = Granted | Waiting | Crowded


class Commands:
    """Builds the commands for one prefix. ``now_us`` overrides the server's clock, for tests."""

    def __init__(self, prefix: str, patience_us: int, queue: int) -> None:
        self._patience_us = patience_us
        self._queue = queue
        self._channels = f"{prefix}:{FEATURE}:w:"
        self.now_us: Argument = ""

    def channel(self, ask: Ask) -> str:
        """Where whoever waits is told. Others have used it before and will again, so a message says whose it is."""
        return self._channels + ask.token[1:].rpartition(".")[0]

    def acquire(self, ask: Ask, *, listens: bool = False) -> Command[Answer]:
        """Take the locks, or queue; ``listens``: a ``Wait`` follows."""
        words = (self.now_us, ask.entry, ask.token, ask.wanted.ttl_us, self._queue)
        wakes = (self.channel(ask),) if listens else ()
        return Command(words, _answer, ask.wanted.keys, ACQUIRE, "locks", self._patience_us, False, wakes)

    def release(self, ask: Ask) -> Command[bool]:
        """Give the locks back."""
        words = (self.now_us, "", ask.token)
        return Command(words, bool, ask.wanted.keys, RELEASE, "locks", self._patience_us)

    def leave(self, ask: Ask) -> Command[bool]:
        """Give them back or stop waiting for them, whichever it is."""
        words = (self.now_us, ask.entry, ask.token)
        return Command(words, bool, ask.wanted.keys, RELEASE, "locks", self._patience_us)

    def renew(self, ask: Ask, ttl_us: int) -> Command[bool]:
        words = (self.now_us, "", ask.token, ttl_us)
        return Command(words, bool, ask.wanted.keys, RENEW, "locks", self._patience_us)


def granted(ask: Ask, message: bytes) -> Granted | None:
    """What a message on a channel says; None for one that only says to look, or was for somebody before."""
    token, *numbers = message.split() or (b"",)
    if token != ask.token.encode():
        return None
    fence, now_us, ttl_us, over = map(int, numbers)
    return Granted(fence, now_us, bool(over), ttl_us)


def _answer(reply: int | list[int]) -> Answer:
    if isinstance(reply, int):  # as nearly always, see ``acquire.lua``
        return Granted(reply, reply, False)
    kind, number, now_us, more = reply
    if kind == 1:
        return Granted(number, now_us, more == 1)
    return Waiting(number, now_us, more) if kind == 0 else Crowded(number)
