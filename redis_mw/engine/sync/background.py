"""What the sync driver does when nobody waits for it: a few daemon threads, a bounded queue, drained before the end."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TypeAlias

log = logging.getLogger("redis_mw")

Job: TypeAlias = Callable[[], object]

THREADS = 4
WAITING = 1024


class Background:
    """Runs jobs off the caller's thread. Beyond ``WAITING`` jobs the caller does its own: slower, never forgotten."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._busy = 0
        self._closed = False

    def submit(self, job: Job) -> None:
        """Run ``job`` soon; its errors are logged."""
        with self._changed:
            accepted = len(self._jobs) < WAITING and not self._closed and self._staff()
            if accepted:
                self._jobs.append(job)
                self._changed.notify()
        if not accepted:
            _do(job)

    def close(self, within: float) -> None:
        """Wait until all jobs are done, at most ``within`` seconds, then let the threads end."""
        due = monotonic() + within
        with self._changed:
            while (self._jobs or self._busy) and (left := due - monotonic()) > 0:
                _ = self._changed.wait(left)
            if self._jobs:
                log.warning("%d detached flows were given up at the end", len(self._jobs))
            self._closed = True
            self._changed.notify_all()

    def _staff(self) -> bool:
        """One more thread if all are busy; an interpreter that is ending starts none."""
        if self._threads - self._busy > len(self._jobs) or self._threads == THREADS:
            return True
        try:
            threading.Thread(target=self._work, name="redis-mw-detached", daemon=True).start()
        except RuntimeError:
            return self._threads > 0
        self._threads += 1
        return True

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    if self._closed:
                        return
                    _ = self._changed.wait()
                job = self._jobs.popleft()
                self._busy += 1
            _do(job)
            del job
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()


def _do(job: Job) -> None:
    try:
        _ = job()
    except Exception:
        log.exception("a detached flow failed")
