"""The sync driver: performs flows on threads. Everything it holds belongs to one process and is made on first use.

A run is a loop: take the flow's next effect, perform it, send the reply in. A batch is split by endpoint, all parts
are sent before any is read, and each fails alone. What one run knows is in ``_Run``, what a process holds in
``process``, what belongs to one server in ``link``, to those of a cluster in ``fleet``.
"""

import logging
import os
import weakref
from collections.abc import Callable, Hashable, Mapping
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar, assert_never, cast

from redis_mw.engine import trips
from redis_mw.engine.batches import CLOSED, DEAF, QUICK, REFUSED, TOO_LATE, Part, again, split
from redis_mw.engine.cluster import MOST_HOPS, Redirection, slot_of
from redis_mw.engine.sync.link import Link, Turn
from redis_mw.engine.sync.listener import Listener, Mailbox
from redis_mw.engine.sync.process import Process
from redis_mw.engine.tracking import Watcher
from redis_mw.errors import RedisUnavailable
from redis_mw.events import Events
from redis_mw.flows import Argument, Batch, Command, Effect, Flow, Role, Wait, Woken
from redis_mw.settings import Settings

T = TypeVar("T")

log = logging.getLogger("redis_mw")

UNDO_S = 5.0
"""How long the undo of an interrupted flow may take."""


class SyncDriver:
    """Performs flows, from any thread; after a fork the child starts afresh with connections of its own.

    ``refuse_all`` is a switch for tests: while it is set every command is answered ``RedisUnavailable`` without I/O.
    """

    def __init__(self, settings: Settings, events: Events) -> None:
        self._refuse_all = False
        self._settings = settings
        self._events = events
        self._processes: dict[int, Process] = {}
        self._closed = False
        _ = weakref.finalize(self, _close, self._processes)  # at the interpreter's exit too
        if settings.connect == "eager":
            try:
                self.ping()
            except BaseException:
                self.close()  # nobody will have this driver to close it
                raise

    @property
    def refuse_all(self) -> bool:
        return self._refuse_all

    @refuse_all.setter
    def refuse_all(self, refuse: bool) -> None:
        self._refuse_all = refuse
        for process in tuple(self._processes.values()):
            process.refuse(refuse)

    def run(self, flow: Flow[T], deadline: float | None = None) -> T:
        """Perform the flow and give its result; ``deadline`` bounds all its batches and waits together, in seconds.

        An interruption (KeyboardInterrupt, a worker's timeout) first lets the batch under way settle, is then thrown
        into the flow, whose undo runs detached, and is raised again.
        """
        due = float("inf") if deadline is None else monotonic() + deadline
        return _Run(self, self._process(), due, detached=False).perform(flow)

    def detach(self, flow: Flow[object], within: float) -> None:
        """Perform the flow on another thread, within so many seconds from its start; ``close`` waits for it."""
        process = self._process()
        process.background.submit(lambda: _Run(self, process, monotonic() + within, detached=True).perform(flow))

    def share(self, key: Hashable, flow: Flow[T]) -> T:
        """Perform the flow, or wait for the run under this key that another thread of this process has begun."""
        try:
            return self._process().shares.run(key, lambda: self.run(flow))
        finally:
            flow.close()

    def tend(self, key: Hashable, flow: Callable[[], Flow[None]]) -> None:
        """Have such a flow performed in the background, if none under this key is, until it returns; no deadline.

        Put down what there is to do, then call this. A run that is resumed later sees it; if the one under way is not,
        since it is about to end, another one follows it. So a flow may return as soon as it finds nothing to do.

        Its error is logged and ends it. ``close`` does not wait for it: at once, or when the reply it waits for
        has come, it is closed where it stands (GeneratorExit) and can undo nothing then. A run keeps this driver alive;
        a closed driver makes none, and the child of a fork has none.
        """
        process = self._process()

        def perform(attended: Flow[None], mailbox: Mailbox) -> None:
            _Run(self, process, float("inf"), detached=True, mailbox=mailbox).perform(attended)

        process.tended.tend(key, flow, perform)

    def hear(self, role: Role, channel: str, heard: Callable[[], None]) -> None:
        """Call ``heard`` whenever somebody publishes on the channel of the role's server, until the driver is closed.

        Returns at once. Also called whenever something may have been missed: when the server has confirmed that we
        listen, the first time (until then all may have been) and each time after the connection was lost. While the
        server is away attempts go on. ``heard`` is called on the one thread that listens, so it must be quick; its
        error is logged. A second call with this role and channel does nothing; the child of a fork calls it anew.
        On a cluster it is all the same where somebody publishes.
        Whoever is called is kept alive until the end, with all it holds.
        """
        self._process().hear(role, channel, heard)

    def watch(self, role: Role, prefixes: tuple[str, ...], watcher: Watcher) -> None:
        """Tell ``watcher`` of every key under one of the prefixes that is changed on the role's server.

        Returns at once. It is told to begin once the server has confirmed that it will say so, on a connection that
        serves nothing else. It is told to end the moment that connection is lost, or the server has left a question
        unanswered for about a second, which is asked every second; then attempts go on, and it begins anew. Ended
        too when the driver is closed, and while it refuses everything. All this on one thread, which is the
        watcher's own.

        On a cluster every primary has such a connection and thread. The watcher is on only while all of them are heard.
        It is ended too when others are primaries from now on, on the thread that learns it.

        A second call with this role, these prefixes and this watcher does nothing; the child of a fork calls it anew,
        with a watcher of its own, since a copy of its parent's is not told that nobody tells it any more. Prefixes
        may not contain one another; none are all keys. The watcher is kept alive until the end, with all it holds.
        """
        self._process().watch(role, prefixes, watcher)

    def ping(self) -> None:
        """Return once every server has answered on a fresh connection, within ``warm_up``; else RedisUnavailable.

        Of a cluster all primaries are asked.
        """
        process = self._process()
        refusal = _refusal(self, process)
        if refusal is not None:
            raise refusal
        process.ping()

    def close(self) -> None:
        """End what is tended, wait for what is detached, then end threads and connections. May be called twice.

        What is asked of this driver later is answered as if Redis were away.
        """
        self._closed = True
        _close(self._processes)

    def __enter__(self) -> "SyncDriver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _process(self) -> Process:
        pid = os.getpid()
        process = self._processes.get(pid)
        if process is None:
            # No lock: a thread of the parent might hold it for ever. setdefault is atomic, and an idle Process is free.
            process = self._processes.setdefault(pid, Process(self._settings, self._events))
            process.refuse_all = self._refuse_all
            for parent in [other for other in self._processes if other != pid]:
                self._processes.pop(parent).forget()
            if self._closed:
                process.close()
        return process


class _Run:
    """One flow being performed: what is under way for it, and the wake-ups it may wait for."""

    def __init__(
        self, driver: SyncDriver, process: Process, due: float, *, detached: bool, mailbox: Mailbox | None = None
    ) -> None:
        self._driver = driver
        self._process = process
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
        if patience_us and _refusal(self._driver, self._process) is None:
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
        refusal = _refusal(self._driver, self._process)
        if refusal is not None:
            return refusal
        role = command.role
        if role in self._process.spread:
            return self._process.fleet().way(command)
        link = self._process.link(role)
        return link.refusal(role in QUICK) or link

    def _elsewhere(self, role: Role, told: Redirection, _bulk: bool) -> Link | RedisUnavailable:
        """The server to which another one sends a command."""
        refusal = _refusal(self._driver, self._process)
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
        if _refusal(self._driver, self._process) is None:
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
        undo = _Run(self._driver, self._process, monotonic() + UNDO_S, detached=True)

        def undone() -> None:
            try:
                _ = undo.go_on(flow, effect)
            except BaseException as end:
                if end is not interruption:
                    raise

        self._process.background.submit(undone)


def _refusal(driver: SyncDriver, process: Process) -> RedisUnavailable | None:
    """What everything is answered now, if nothing is to be sent at all."""
    if process.closed:
        return RedisUnavailable(CLOSED)
    return RedisUnavailable(REFUSED) if driver.refuse_all else None


def _record(parts: Mapping[Link, Part], detached: bool) -> None:
    """One trip per server or cluster: what leaves for many at the same time takes the time of one."""
    words: dict[str, list[tuple[Argument, ...]]] = {}
    for link, part in parts.items():
        words.setdefault(link.counted_as, []).extend(part.words)
    for name, sent in words.items():
        trips.record(name, tuple(sent), detached)


def _close(processes: dict[int, Process]) -> None:
    """Close what belongs to this process; what a parent left here is not ours to close."""
    process = processes.pop(os.getpid(), None)
    if process is not None:
        process.close()
