"""One run per key and process, for threads: the first to ask runs, the others wait for what it gets."""

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Shares:
    """Runs that are under way, by key; nothing is kept once they have ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Hashable, _Run] = {}

    def run(self, key: Hashable, work: Callable[[], T]) -> T:
        """Give what ``work`` gives, or what somebody else's run under this key gives, its error included.

        A leader that is interrupted takes nobody along: one of those who waited runs its own ``work``.
        """
        while True:
            with self._lock:
                run = self._running.get(key)
                leads = run is None
                if run is None:
                    run = self._running[key] = _Run()
            if leads:
                return self._lead(key, run, work)
            _ = run.ended.wait()
            if run.error is not None:
                raise run.error
            if run.settled:
                result: T = run.result
                return result

    def _lead(self, key: Hashable, run: "_Run", work: Callable[[], T]) -> T:
        try:
            run.result = result = work()
            run.settled = True
            return result
        except Exception as error:
            run.error = error
            raise
        finally:
            with self._lock:
                del self._running[key]
            run.ended.set()


class _Run:
    def __init__(self) -> None:
        self.ended = threading.Event()
        self.settled = False
        self.result: Any = None
        self.error: Exception | None = None
