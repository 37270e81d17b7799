"""The sync driver: performs flows on threads. Everything it holds belongs to one process and is made on first use.

A run is a loop: take the flow's next effect, perform it, send the reply in. A batch is split by endpoint, all parts
are sent before any is read, and each fails alone. What one run knows is in ``_Run``, what a process holds in
``process``, what belongs to one server in ``link``.
"""

import logging
import os
import weakref
from collections.abc import Hashable
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar, assert_never, cast, get_args

from redis_mw.engine import trips
from redis_mw.engine.sync.link import Link, Turn
from redis_mw.engine.sync.listener import Mailbox
from redis_mw.engine.sync.process import Process
from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.events import Events
from redis_mw.flows import Argument, Batch, Command, Effect, Flow, Role, Wait
from redis_mw.settings import Settings, seconds

T = TypeVar("T")

log = logging.getLogger("redis_mw")

ROLES: tuple[Role, ...] = get_args(Role)
QUICK: frozenset[Role] = frozenset(("cache", "limits"))
UNDO_S = 5.0
"""How long the undo of an interrupted flow may take."""


class SyncDriver:
    """Performs flows, from any thread; after a fork the child starts afresh with connections of its own.

    ``refuse_all`` is a switch for tests: while it is set every command is answered ``RedisUnavailable`` without I/O.
    """

    def __init__(self, settings: Settings, events: Events) -> None:
        self.refuse_all = False
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

    def ping(self) -> None:
        """Reach every server that the settings name, within ``warm_up``; raises ``RedisUnavailable``."""
        process = self._process()
        for role in ROLES:
            if self.refuse_all:
                raise RedisUnavailable("refused by the test switch")
            link = process.link(role)
            refusal = link.refusal(quick=False)
            if refusal is not None:
                raise refusal
            (reply,) = link.turn([("PING",)], monotonic() + seconds(self._settings.warm_up), quick=False).finish()
            if isinstance(reply, RedisUnavailable):
                raise reply

    def close(self) -> None:
        """Wait for what is detached, then end threads and connections. May be called twice."""
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
            if self._closed:
                raise RuntimeError("the driver is closed")
            # No lock: a thread of the parent might hold it for ever. setdefault is atomic, and an idle Process is free.
            process = self._processes.setdefault(pid, Process(self._settings, self._events))
            for parent in [other for other in self._processes if other != pid]:
                self._processes.pop(parent).forget()
        return process


class _Run:
    """One flow being performed: what is under way for it, and the wake-ups it may wait for."""

    def __init__(self, driver: SyncDriver, process: Process, due: float, *, detached: bool) -> None:
        self._driver = driver
        self._process = process
        self._due = due
        self._detached = detached
        self._turns: list[Turn] = []
        self._mailbox = Mailbox()
        self._listening: set[Link] = set()
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
            for link in self._listening:
                self._process.listener(link).unsubscribe(self._mailbox)

    def _reply(self, effect: Effect) -> Any:
        match effect:
            case Batch():
                return self._batch(effect.commands)
            case Wait():
                return self._wait(effect)
            case _:
                assert_never(effect)

    def _batch(self, commands: tuple[Command[Any], ...]) -> list[Any]:
        """Send each endpoint its part, then read them all; once more for scripts that a server did not know."""
        replies: list[Any] = [None] * len(commands)
        parts = self._allowed(commands, replies)
        self._exchange(commands, parts, replies, [command.words() for command in commands])
        if any(type(reply) is CommandError for reply in replies):
            unknown = {
                link: again
                for link, part in parts.items()
                if (again := [index for index in part if _unknown_script(commands[index], replies[index])])
            }
            self._exchange(commands, unknown, replies, [_with_text(command) for command in commands])
        return replies

    def _allowed(self, commands: tuple[Command[Any], ...], replies: list[Any]) -> dict[Link, list[int]]:
        """The places of the commands by endpoint, without those that are refused at once: these have their reply."""
        if self._driver.refuse_all or monotonic() >= self._due:
            reason = "refused by the test switch" if self._driver.refuse_all else "the deadline is over"
            replies[:] = [RedisUnavailable(reason)] * len(commands)
            return {}
        parts: dict[Link, list[int]] = {}
        refusals: dict[tuple[Link, bool], RedisUnavailable | None] = {}
        for index, command in enumerate(commands):
            lane = self._process.link(command.role), command.role in QUICK
            if lane not in refusals:
                refusals[lane] = lane[0].refusal(lane[1])
            refusal = refusals[lane]
            if refusal is None and command.wakes:
                refusal = self._listen(lane[0], command.wakes, self._patience([command]))
            if refusal is None:
                parts.setdefault(lane[0], []).append(index)
            else:
                replies[index] = refusal
        return parts

    def _exchange(
        self,
        commands: tuple[Command[Any], ...],
        parts: dict[Link, list[int]],
        replies: list[Any],
        words: list[tuple[Argument, ...]],
    ) -> None:
        self._turns = []
        for link, part in parts.items():
            leaving = [words[index] for index in part]
            if trips.observers:
                trips.record(link.endpoint.name, tuple(leaving), self._detached)
            quick = all(commands[index].role in QUICK for index in part)
            self._turns.append(link.turn(leaving, self._patience([commands[index] for index in part]), quick))
        for turn, part in zip(self._turns, parts.values(), strict=True):
            for index, reply in zip(part, turn.finish(), strict=True):
                replies[index] = reply
        self._turns = []

    def _patience(self, commands: list[Command[Any]]) -> float:
        """When the most patient of these gives up."""
        return min(self._due, monotonic() + max(command.patience_us for command in commands) / 1_000_000)

    def _listen(self, link: Link, channels: tuple[str, ...], due: float) -> RedisUnavailable | None:
        """Be subscribed to these channels before anything is sent that may have them woken."""
        if self._heard.issuperset(channels):
            return None
        self._listening.add(link)
        try:
            self._process.listener(link).subscribe(self._mailbox, channels, due)
        except OSError as error:
            return RedisUnavailable(str(error))
        self._heard.update(channels)
        return None

    def _wait(self, wait: Wait) -> str | None:
        due = min(self._due, monotonic() + wait.seconds)
        _ = self._listen(self._process.link("default"), wait.channels, due)
        return self._mailbox.take(wait.channels, due)

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


def _unknown_script(command: Command[Any], reply: Any) -> bool:
    """The server did not run it: sending it once more is safe."""
    return command.script is not None and isinstance(reply, CommandError) and reply.code == "NOSCRIPT"


def _with_text(command: Command[Any]) -> tuple[Argument, ...]:
    if command.script is None:
        return command.args
    return ("EVAL", command.script.text, len(command.keys), *command.keys, *command.args)


def _close(processes: dict[int, Process]) -> None:
    """Close what belongs to this process; what a parent left here is not ours to close."""
    process = processes.pop(os.getpid(), None)
    if process is not None:
        process.close()
