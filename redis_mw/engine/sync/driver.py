"""The sync driver: performs flows on threads. Everything it holds belongs to one process and is made on first use.

What is under way for one flow is in ``run``, what a process holds in ``process``, what belongs to one server in
``link``, to those of a cluster in ``fleet``.
"""

import os
import weakref
from collections.abc import Callable, Hashable
from time import monotonic
from types import TracebackType
from typing import TypeVar

from redis_mw.engine.sync.listener import Mailbox
from redis_mw.engine.sync.process import Process
from redis_mw.engine.sync.run import Run
from redis_mw.engine.tracking import Watcher
from redis_mw.events import Events
from redis_mw.flows import Flow, Role
from redis_mw.settings import Settings

T = TypeVar("T")


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
        return Run(self._process(), self, due, detached=False).perform(flow)

    def detach(self, flow: Flow[object], within: float) -> None:
        """Perform the flow on another thread, within so many seconds from its start; ``close`` waits for it."""
        process = self._process()
        process.background.submit(lambda: Run(process, self, monotonic() + within, detached=True).perform(flow))

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
            Run(process, self, float("inf"), detached=True, mailbox=mailbox).perform(attended)

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
        refusal = process.refusal()
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


def _close(processes: dict[int, Process]) -> None:
    """Close what belongs to this process; what a parent left here is not ours to close."""
    process = processes.pop(os.getpid(), None)
    if process is not None:
        process.close()
