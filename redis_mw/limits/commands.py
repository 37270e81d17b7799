"""The commands of the limits room: what each script is called with and what its reply means.

====================================  ================================================================================
``<prefix>:l1:{<client>}:<part>``     the numbers of one client of one limit, see ``take.lua``: a hash, or for requests
                                      in flight a sorted set of their ids by the end of their lease. ``client`` is a
                                      hash of who is counted, ``part`` says algorithm, unit and which limit it is
``<the same>:<id>``                   that a request may still give back what it took there
``<prefix>:l1:{lists}:z``             who is never refused, or always, or until when; without an expiry
``<prefix>:l1:w``                     the channel on which processes are told that what they remember may be wrong
====================================  ================================================================================
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from redis_mw.flows import Argument, Command, Script
from redis_mw.keys import key
from redis_mw.limits.asks import Answer, Ask, Taken
from redis_mw.scripts import script

T = TypeVar("T")

HERE = "redis_mw.limits"
TAKE = script(HERE, "take")
SETTLE = script(HERE, "settle")
RENEW = script(HERE, "renew")

FEATURE = "l1"


class Told(msgspec.Struct, frozen=True):
    """The reply of ``take``: never refused (``listed``), refused for so many us (-1: for ever), else an answer each.

    ``nobody`` is on the lists, as far as they were looked into.
    """

    answers: tuple[Answer, ...] = ()
    listed: bool = False
    refused_us: int | None = None
    nobody: bool = False


class Commands:
    """Builds the commands for one prefix. ``now_us`` overrides the server's clock, for tests."""

    def __init__(self, prefix: str, patience_us: int) -> None:
        self._patience_us = patience_us
        self._lists = key(prefix, FEATURE, "lists", "z")
        self._head = key(prefix, FEATURE, "", "").partition("}")[0]
        self.channel = f"{prefix}:{FEATURE}:w"
        self.now_us = ""

    def key(self, tag: str, part: str) -> str:
        return f"{self._head}{tag}}}:{part}"

    def take(self, asks: Sequence[Ask], names: tuple[str, ...], id: str, *, peek: bool = False) -> Command[Told]:
        """Decide and take; ``names`` are what the client is called in the lists."""
        words: list[Argument] = [self.now_us, "peek" if peek else "take", id, len(names), *_members(names)]
        keys = [self._lists]
        for ask in asks:
            keys.append(ask.key)
            words += ask.quota.words
            words.append(str(ask.cost))  # a text packs in half the time of a number
        return self._command(tuple(words), _told, tuple(keys), script=TAKE)

    def settle(self, taken: Sequence[Taken], adds: Sequence[int], id: str) -> Command[list[int]]:
        """Add units to what was taken, below 0 to give back, each once."""
        words: list[Argument] = [self.now_us, id]
        for each, add in zip(taken, adds, strict=True):
            once = "r" if each.reserved else "m" if each.id else ""
            words += (each.ask.quota.kind, each.ask.quota.unit_us, each.mark, add, once, each.lives_us)
        return self._command(tuple(words), list, tuple(each.ask.key for each in taken), script=SETTLE)

    def renew(self, slots: Sequence[Taken]) -> Command[list[int]]:
        words: list[Argument] = [self.now_us]
        for each in slots:
            words += (each.ask.quota.unit_us, each.id)
        return self._command(tuple(words), list, tuple(each.ask.key for each in slots), script=RENEW)

    def forget(self, *keys: str) -> Command[int]:
        return self._command(("UNLINK", *keys), int, keys)

    def tell(self) -> Command[int]:
        """Have every process forget whom it knows to be denied."""
        return self._command(("PUBLISH", self.channel, "1"), int)

    def enlist(self, member: str, until_us: int | None) -> Command[int]:
        """Put a name on the lists; ``member`` begins with ``a`` (allow) or ``d`` (deny)."""
        score: Argument = "+inf" if until_us is None else until_us
        return self._command(("ZADD", self._lists, score, member), int, (self._lists,))

    def delist(self, member: str) -> Command[int]:
        return self._command(("ZREM", self._lists, member), int, (self._lists,))

    def weed(self, now_us: int) -> Command[int]:
        """Take bans that are over off the lists."""
        return self._command(("ZREMRANGEBYSCORE", self._lists, "-inf", now_us), int, (self._lists,))

    def clock(self) -> Command[int]:
        """The server's clock, in us."""
        return self._command(("TIME",), lambda reply: int(reply[0]) * 1_000_000 + int(reply[1]))

    def _command(
        self, words: tuple[Argument, ...], parse: Any, keys: tuple[str, ...] = (), script: Script | None = None
    ) -> Command[Any]:
        return Command(words, parse, keys, script, role="limits", patience_us=self._patience_us)


@lru_cache(4096)
def _members(names: tuple[str, ...]) -> tuple[str, ...]:
    """What a client would be on the lists: all its names as one that is allowed, then as one that is denied."""
    return tuple([f"{kind}{name}" for kind in "ad" for name in names])


def _told(reply: list[Any]) -> Told:
    kind = reply[0]
    if kind == b"" or kind == b"nobody":
        answers = tuple([Answer(*reply[at : at + 6]) for at in range(1, len(reply), 6)])
        return Told(answers, nobody=kind == b"nobody")
    return Told(listed=True) if kind == b"listed" else Told(refused_us=int(reply[1]))
