"""One flow being performed on a thread: what is under way for it, and the wake-ups it may wait for.

A run is a loop: take the flow's next effect, perform it, send the reply in. A batch is split by server, all parts are
sent before any is read, and each fails alone.
"""

import logging
from collections.abc import Mapping
from time import monotonic
from typing import Any, TypeVar, assert_never, cast

from redis_mw.engine import trips
from redis_mw.engine.batches import DEAF, QUICK, TOO_LATE, Part, again, split
from redis_mw.engine.cluster import MOST_HOPS, Redirection, slot_of
from redis_mw.engine.sync.link import Link, Turn
from redis_mw.engine.sync.listener import Listener, Mailbox
from redis_mw.engine.sync.process import Process
from redis_mw.errors import RedisUnavailable
from redis_mw.flows import Argument, Batch, Command, Effect, Flow, Role, Wait, Woken

T = TypeVar("T")

log = logging.getLogger("redis_mw")

UNDO_S = 5.0
"""How long the undo of an interrupted flow may take."""


class Run:
    """One flow from its first effect to its result, bounded by ``due``; ``driver`` is kept alive for as long."""

    def __init__(
        self, process: Process, driver: object, due: float, *, detached: bool, mailbox: Mailbox | None = None
    ) -> None:
        self._process = process
        self._driver = driver
        self._due = due
        self._detached = detached
        self._turns: list[Turn] = []
        self._mailbox = mailbox or Mailbox()
        self._listening: set[Listener] = set()
        self._heard: set[str] = set()

    def perform(self, flow: Flow[T]) -> T:
        """From the flow's first effect to its result."""
        try:
            effect = next(flow)
        except StopIteration as end:
            return cast(T, end.value)
        return self.go_on(flow, effect)

    def go_on(self, flow: Flow[T], effect: Effect) -> T:
        """From an effect that the flow has yielded to its result."""
        try:
            while True:
                try:
                    reply = self._reply(effect)
                except BaseException as interruption:
                    self._interrupt(flow, interruption)
                    raise
                effect = flow.send(reply)
        except StopIteration as end:
            return cast(T, end.value)
        finally:
            for listener in self._listening:
                listener.unsubscribe(self._mailbox)

    def _reply(self, effect: Effect) -> Any:
        match effect:
            case Batch():
                return self._batch(effect.commands)
            case Wait():
                return self._wait(effect)
            case _:
                assert_never(effect)

    def _batch(self, commands: tuple[Command[Any], ...]) -> list[Any]:
        """Send each server its part, then read them all; once more what a server has done nothing of."""
        replies: list[Any] = [None] * len(commands)
        places: list[int] = []
        began, spread = monotonic(), self._process.spread
        if spread:
            self._charted(commands, began)
        for place, command in enumerate(commands):
            if not command.wakes or self._listens(command):
                places.append(place)
            else:
                replies[place] = RedisUnavailable(DEAF)
        self._exchange(split(commands, places, replies, self._way, spread), replies, began)
        for hop in range(MOST_HOPS):
            # A script sent elsewhere may be unknown there too; where nothing is, it is told once.
            told = hop > 0 and not spread
            if not (parts := again(commands, replies, self._way, self._elsewhere, spread, told=told)):
                break
            self._exchange(parts, replies, monotonic())
        return replies

    def _charted(self, commands: tuple[Command[Any], ...], began: float) -> None:
        """Find out who has the keys of those that are spread, if it is not known: no longer than they would wait."""
        patience_us = max((each.patience_us for each in commands if each.role in self._process.spread), default=0)
        if patience_us and self._process.refusal() is None:
            _ = self._process.fleet().charted(min(self._due, began + patience_us / 1_000_000))

    def _exchange(self, parts: Mapping[Link, Part], replies: list[Any], began: float) -> None:
        if monotonic() >= self._due:
            for part in parts.values():
                part.put([RedisUnavailable(TOO_LATE)] * len(part.places), replies)
            return
        if trips.observers:
            _record(parts, self._detached)
        self._turns = []
        for link, part in parts.items():
            self._turns.append(link.turn(part.words, min(self._due, began + part.patience_us / 1_000_000), part.quick))
        for turn, part in zip(self._turns, parts.values(), strict=True):
            part.put(turn.finish(), replies)
        self._turns = []

    def _way(self, command: Command[Any]) -> Link | RedisUnavailable:
        """The server for a command, or what it is answered at once."""
        refusal = self._process.refusal()
        if refusal is not None:
            return refusal
        role = command.role
        if role in self._process.spread:
            return self._process.fleet().way(command)
        link = self._process.link(role)
        return link.refusal(role in QUICK) or link

    def _elsewhere(self, role: Role, told: Redirection, _bulk: bool) -> Link | RedisUnavailable:
        """The server to which another one sends a command."""
        refusal = self._process.refusal()
        return self._process.fleet().redirected(told, role in QUICK) if refusal is None else refusal

    def _listens(self, command: Command[Any]) -> bool:
        """Subscribe before the command is sent, or a wake-up in between would be lost; False: it cannot be done now."""
        link = self._way(command)
        if isinstance(link, RedisUnavailable):
            return True  # it will be answered that
        if link.endpoint.replica:  # it reads there, but is woken by its primary
            primary = self._process.fleet().primary(slot_of(command))
            if isinstance(primary, RedisUnavailable) or primary.refusal(command.role in QUICK) is not None:
                return False
            link = primary
        return self._hears(link, command.wakes, min(self._due, monotonic() + command.patience_us / 1_000_000))

    def _hears(self, link: Link, channels: tuple[str, ...], due: float) -> bool:
        """Whether wake-ups of these channels are heard from now on."""
        if self._heard.issuperset(channels):
            return True
        listener = self._process.listener(link)
        self._listening.add(listener)
        try:
            listener.subscribe(self._mailbox, channels, due)
        except OSError:
            return False
        self._heard.update(channels)
        return True

    def _wait(self, wait: Wait) -> Woken | None:
        began = monotonic()
        due = min(self._due, began + wait.seconds)
        if self._process.refusal() is None:
            # Channels that no command has announced are taken for the default server's.
            _ = self._hears(self._process.link("default"), wait.channels, due)
        woken = self._mailbox.take(wait.channels, due)
        return None if woken is None else Woken(woken[0], monotonic() - began, woken[1])

    def _interrupt(self, flow: Flow[Any], interruption: BaseException) -> None:
        """Let the batch settle, tell the flow, and have what it undoes done by another thread."""
        for turn in self._turns:
            turn.settle()
        try:
            effect = flow.throw(interruption)
        except BaseException as end:
            if end is not interruption and not isinstance(end, StopIteration):
                log.exception("an interrupted flow failed")
            return
        undo = Run(self._process, self._driver, monotonic() + UNDO_S, detached=True)

        def undone() -> None:
            try:
                _ = undo.go_on(flow, effect)
            except BaseException as end:
                if end is not interruption:
                    raise

        self._process.background.submit(undone)


def _record(parts: Mapping[Link, Part], detached: bool) -> None:
    """One trip per server or cluster: what leaves for many at the same time takes the time of one."""
    words: dict[str, list[tuple[Argument, ...]]] = {}
    for link, part in parts.items():
        words.setdefault(link.counted_as, []).extend(part.words)
    for name, sent in words.items():
        trips.record(name, tuple(sent), detached)
