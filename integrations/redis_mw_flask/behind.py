"""What goes on behind the visitors' backs: pages that are made anew by requests that nobody has sent."""

import threading
from collections.abc import Callable

from redis_mw.engine.sync.background import Background
from redis_mw.events import log
from redis_mw.processes import PerProcess

MOST = 16
"""Pages that are made anew, or wait for that, at the same time."""
WITHIN_S = 60.0
"""How long others leave one to whoever makes it anew; a thread cannot be ended."""
CLOSE_WITHIN = 5.0


class Behind:
    """The threads of one application, in each process that serves it; made when they are needed."""

    def __init__(self) -> None:
        self._processes = PerProcess(_Threads)

    def start(self, begin: Callable[[], "tuple[Callable[[], None], Callable[[], None]] | None"]) -> None:
        """Run on a thread of ours what ``begin`` gives, unless that is nothing or there is too much to do already.

        It gives the work, and what to do when that takes too long.
        """
        threads = self._processes.here()
        if threads.closed or not threads.free.acquire(blocking=False):
            return
        begun = begin()
        if begun is None:
            threads.free.release()
        else:
            threads.background.submit(lambda: _run(threads, *begun))

    def close(self) -> None:
        """Wait for what is under way, so long; nothing is begun any more."""
        threads = self._processes.here()
        threads.closed = True
        threads.background.close(CLOSE_WITHIN)


class _Threads:
    def __init__(self) -> None:
        self.background = Background()
        self.free = threading.Semaphore(MOST)
        self.closed = False


def _run(threads: _Threads, work: Callable[[], None], late: Callable[[], None]) -> None:
    timer = threading.Timer(WITHIN_S, late)
    timer.daemon = True
    timer.start()
    try:
        work()
    except Exception:
        log.exception("a page could not be made anew; the old one is sent while it lasts")
    finally:
        timer.cancel()
        threads.free.release()
