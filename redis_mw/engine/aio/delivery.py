"""One batch on its way: split by server, its parts sent at the same time, its replies put together again.

It is split by lane too where a reply may be large; each part fails alone. What its server did nothing of is sent once
more: a script that it does not know, as its text; a command whose keys are another server's, there.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any

from redis_mw.engine import trips
from redis_mw.engine.aio.lane import Lane
from redis_mw.engine.aio.post import Post
from redis_mw.engine.aio.wire import Exchange
from redis_mw.engine.batches import DEAF, TOO_LATE, Part, again, split
from redis_mw.engine.cluster import MOST_HOPS, Redirection
from redis_mw.engine.resp import packed
from redis_mw.errors import RedisUnavailable
from redis_mw.flows import Argument, Command, Role


class Delivery:
    """One batch on its way from now on; it always ends, with a reply or a failure for every command.

    ``ends`` is when its replies are of no use any more; ``deaf`` are the places of commands that are not sent because
    nobody could hear what they are answered later.
    """

    __slots__ = ("_commands", "_detached", "_ends", "_exchanges", "_moved", "_post", "_replies", "_rounds", "_told")

    def __init__(
        self,
        post: Post,
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
        self._exchanges: list[tuple[Part, Lane, Exchange]] = []
        self._rounds = 0
        self._told = False
        self._moved = False
        places: Iterable[int] = range(len(commands))
        if deaf:
            for place in deaf:
                self._replies[place] = RedisUnavailable(DEAF)
            places = [place for place in places if place not in deaf]
        self._send(split(commands, places, self._replies, post.way, post.spread))

    async def settled(self) -> list[Any]:
        """All replies. May be cancelled and asked again: the batch goes on."""
        while True:
            for part, _, exchange in self._exchanges:
                part.put(await exchange.settled(), self._replies)
            if self._rounds > MOST_HOPS or not (parts := self._again()):
                return self._replies
            self._rounds += 1
            self._send(parts)

    def drop_unsent(self) -> None:
        """Nobody waits any more: what still waits for a connection is not sent."""
        for _, lane, exchange in self._exchanges:
            lane.drop(exchange)

    def _again(self) -> dict[Lane, Part]:
        self._moved = False
        post = self._post
        parts = again(self._commands, self._replies, post.way, self._elsewhere, post.spread, told=self._told)
        self._told = not self._moved  # where a command goes for the first time its script may be unknown too
        return parts

    def _elsewhere(self, role: Role, told: Redirection, bulk: bool) -> Lane | RedisUnavailable:
        self._moved = True
        return self._post.elsewhere(role, told, bulk)

    def _send(self, parts: Mapping[Lane, Part]) -> None:
        self._exchanges = []
        left = None if self._ends is None else self._ends - monotonic()
        if left is not None and left <= 0:
            for part in parts.values():
                part.put([RedisUnavailable(TOO_LATE)] * len(part.places), self._replies)
            return
        if trips.observers:
            _record(parts, self._detached)
        for lane, part in parts.items():
            patience = part.patience_us / 1_000_000
            if left is not None and left < patience:
                patience = left
            exchange = Exchange(self._post.loop, packed(part.words), len(part.words), patience, part.quick)
            self._exchanges.append((part, lane, exchange))
            lane.send(exchange)


def _record(parts: Mapping[Lane, Part], detached: bool) -> None:
    """One trip per server or cluster: what goes out over several lanes at once takes the time of one."""
    words: dict[str, list[tuple[Argument, ...]]] = {}
    for lane, part in parts.items():
        words.setdefault(lane.counted_as, []).extend(part.words)
    for name, sent in words.items():
        trips.record(name, tuple(sent), detached)
