"""What the sync driver performs in the background without an end of its own: one run per key, a daemon thread for each.

A run is there for as long as it finds something to do. Nobody waits for it, so the end of the driver does not either:
it wakes who sleeps and closes the flow where it stands.
"""

import threading
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Any, TypeAlias

from redis_mw.engine.sync.listener import Mailbox
from redis_mw.events import log
from redis_mw.flows import Flow

Make: TypeAlias = Callable[[], Flow[None]]
Perform: TypeAlias = Callable[[Flow[None], Mailbox], None]

JOIN_S = 1.0
"""How long the end waits for threads that were told to end; who still waits for a reply ends when it has come."""


class Tended:
    """The runs of one process, at most one per key at a time; see ``SyncDriver.tend`` for what is promised."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[Hashable, _Run] = {}
        self._closed = False

    def tend(self, key: Hashable, flow: Make, perform: Perform) -> None:
        """Begin a run, or leave word with the one under way; ``perform`` is given the mailbox that its waits look in.

        The caller has put down what there is to do before it asks. A run that goes on after that sees it. One that
        does not go on any more is followed by another: it may have looked before, and be about to end.
        """
        try:
            with self._lock:
                if self._closed:
                    return
                if (run := self._runs.get(key)) is not None:
                    run.again = flow
                    return
                run = _Run()
                run.thread = threading.Thread(
                    target=self._work, args=(key, run, flow, perform), name="redis-mw-tend", daemon=True
                )
                run.thread.start()
                self._runs[key] = run
        except RuntimeError:  # an interpreter that is ending starts no thread, a system that is full neither
            log.exception("no thread for a tended flow")

    def close(self) -> None:
        """End every run: none is resumed any more, who sleeps is woken; whoever asks later is not heard."""
        with self._lock:
            self._closed = True
            runs = tuple(self._runs.values())
        for run in runs:
            run.mailbox.close()
        due = monotonic() + JOIN_S
        for run in runs:
            if run.thread is not threading.current_thread():
                run.thread.join(max(0.0, due - monotonic()))

    def _work(self, key: Hashable, run: "_Run", flow: Make, perform: Perform) -> None:
        with self._lock:
            # A signal may have cut off who began it, before he could put it down; then it does that itself.
            if self._runs.setdefault(key, run) is not run:
                return
        make: Make | None = flow
        while make is not None:
            try:
                perform(self._attended(run, make), run.mailbox)
            except BaseException:  # a SystemExit too: the key must be free again, and nobody else would be told
                log.exception("a tended flow failed")
            with self._lock:
                make, run.again = run.again, None
                if make is None or self._closed:
                    del self._runs[key]
                    return

    def _attended(self, run: "_Run", make: Make) -> Flow[None]:
        """The flow, for as long as the driver is open."""
        flow = make()
        reply: Any = None
        try:
            while self._goes_on(run):
                reply = yield flow.send(reply)
        except StopIteration:
            pass
        finally:
            flow.close()

    def _goes_on(self, run: "_Run") -> bool:
        """Whether the flow may be resumed; what was asked for until now it will see for itself."""
        with self._lock:
            run.again = None
            return not self._closed


class _Run:
    """What is under way for one key; ``again`` is what was asked for since the flow was last resumed."""

    thread: threading.Thread

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.again: Make | None = None
