"""Invalidations that Redis has not heard of yet, because it was away: sent when it is back, before anything is read.

The latest for each thing is kept, and so many at most: beyond that the oldest is forgotten, and what it was for is
used until its time is over.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from redis_mw.errors import RedisUnavailable
from redis_mw.events import log
from redis_mw.flows import Command, Failure, Flow, Wait, send

MOST = 1024
AT_ONCE = 64
FIRST_S, LONGEST_S = 0.25, 5.0

Thing: TypeAlias = tuple[str, str]
"""What was dropped: of what kind it is, and its name."""
Waiting: TypeAlias = tuple[Thing, tuple[Command[Any], ...]]


class Pending:
    """What one process still has to say, to one server or ``many``; ``told`` hears what was said. Thread-safe."""

    def __init__(self, *, many: bool = False, told: Callable[[Thing], None] | None = None) -> None:
        self._many = many
        self._told = told
        self._commands: dict[Thing, tuple[Command[Any], ...]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._commands)

    def add(self, thing: Thing, *commands: Command[Any]) -> None:
        """Have these sent; what was to be said of the thing before is not any more."""
        with self._lock:
            _ = self._commands.pop(thing, None)
            self._commands[thing] = commands
            if len(self._commands) > MOST:
                del self._commands[next(iter(self._commands))]
                log.warning("more than %d invalidations wait for Redis: the oldest is forgotten", MOST)

    def asked(self, *commands: Command[Any]) -> Flow[tuple[Any, ...]]:
        """Send commands: one round trip, and before it what waits, which they might overtake.

        If that fails they are not sent; where there are many servers, those that have a key in common with what waits.
        """
        if not self._commands:
            return (yield from send(*commands))
        keys = frozenset(key for command in commands for key in command.keys)
        away: RedisUnavailable | None = None
        for waiting in self._parts(keys):
            replies = yield from send(*[command for _, each in waiting for command in each])
            self._settle(waiting, replies)
            away = next((reply for reply in replies if isinstance(reply, RedisUnavailable)), away)
            if away is not None and not self._many:
                return (away,) * len(commands)
        if away is None:
            return (yield from send(*commands))
        late = self._keys() & keys
        held = [not late.isdisjoint(command.keys) for command in commands]
        replies = yield from send(*[command for command, waits in zip(commands, held, strict=True) if not waits])
        answers = iter(replies)
        return tuple(away if waits else next(answers) for waits in held)

    def sending(self) -> Flow[None]:
        """Send what waits, again and again until nothing does."""
        pause = FIRST_S
        while self._commands:
            _ = yield Wait((), pause)
            left = len(self._commands)
            _ = yield from self.asked()
            pause = FIRST_S if len(self._commands) < left else min(2 * pause, LONGEST_S)

    def _parts(self, keys: frozenset[str]) -> list[list[Waiting]]:
        """What is to be sent first, in parts: all; of many servers what has one of the keys, and some of the rest."""
        with self._lock:
            items = list(self._commands.items())
        if self._many:
            items.sort(key=lambda item: keys.isdisjoint(_keys_of(item[1])))
            number = sum(not keys.isdisjoint(_keys_of(each)) for _, each in items)
            items = items[: max(AT_ONCE, number)]
        return [items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE)]

    def _keys(self) -> frozenset[str]:
        with self._lock:
            return frozenset(key for commands in self._commands.values() for key in _keys_of(commands))

    def _settle(self, waiting: list[Waiting], replies: tuple[Any, ...]) -> None:
        start, sent = 0, list[Thing]()
        with self._lock:
            for thing, commands in waiting:
                said = replies[start : start + len(commands)]
                start += len(commands)
                heard = not any(isinstance(reply, Failure) for reply in said)
                if self._commands.get(thing) is commands:
                    del self._commands[thing]
                    if not heard:  # after those that have not been tried
                        self._commands[thing] = commands
                if heard:
                    sent.append(thing)
        if self._told is not None:
            for thing in sent:
                self._told(thing)


def _keys_of(commands: tuple[Command[Any], ...]) -> frozenset[str]:
    return frozenset(key for command in commands for key in command.keys)
