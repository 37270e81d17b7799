"""Invalidations that Redis has not heard of yet, because it was away: sent when it is back, before anything is read.

The latest for each thing is kept, and so many at most: beyond that the oldest is forgotten, and what it was for is
used until its time is over.
"""

import threading
from collections.abc import Hashable
from typing import Any, TypeAlias

from redis_mw.errors import RedisUnavailable
from redis_mw.events import log
from redis_mw.flows import Command, Failure, Flow, Wait, send

MOST = 1024
AT_ONCE = 64
FIRST_S, LONGEST_S = 0.25, 5.0

Thing: TypeAlias = Hashable


class Pending:
    """What one process still has to say, to one server or ``many``. Thread-safe."""

    def __init__(self, *, many: bool = False) -> None:
        self._many = many
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
        """Send commands: one round trip, and one before it where something waits, which they might overtake.

        If that fails they are not sent; where there are many servers they are, since theirs may be another one.
        """
        if self._commands:
            waiting = self._first()
            replies = yield from send(*[command for _, each in waiting for command in each])
            self._settle(waiting, replies)
            away = next((reply for reply in replies if isinstance(reply, RedisUnavailable)), None)
            if away is not None and not self._many:
                return (away,) * len(commands)
        return (yield from send(*commands))

    def sending(self) -> Flow[None]:
        """Send what waits, again and again until nothing does."""
        pause = FIRST_S
        while self._commands:
            _ = yield Wait((), pause)
            left = len(self._commands)
            _ = yield from self.asked()
            pause = FIRST_S if len(self._commands) < left else min(2 * pause, LONGEST_S)

    def _first(self) -> list[tuple[Thing, tuple[Command[Any], ...]]]:
        with self._lock:
            return [item for item, _ in zip(self._commands.items(), range(AT_ONCE), strict=False)]

    def _settle(self, waiting: list[tuple[Thing, tuple[Command[Any], ...]]], replies: tuple[Any, ...]) -> None:
        start = 0
        with self._lock:
            for thing, commands in waiting:
                said = replies[start : start + len(commands)]
                start += len(commands)
                heard = not any(isinstance(reply, Failure) for reply in said)
                if heard and self._commands.get(thing) is commands:
                    del self._commands[thing]
