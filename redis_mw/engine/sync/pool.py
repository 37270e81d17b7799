"""The connections of one endpoint in one process: last in, first out, never more than so many.

A connection is opened on a thread of its own, within ``warm_up``; whoever needs it waits for it no longer than its
own patience. So a server behind a slow TLS handshake is reached in the end, although no single request waits that
long, and an opening that nobody waits for any more still ends up here for the next one.
"""

import threading
from collections.abc import Callable
from time import monotonic

from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.sync.connection import Connection
from redis_mw.flows import Argument
from redis_mw.scripts import KNOWN

CALM_S = 0.25
"""Seconds between two openings while the server fails: at most four reconnects a second, whatever the traffic."""


class Exhausted(OSError):
    """All connections were busy until the end of the patience: our own crowding, not the server's failure."""


class GivenUp(OSError):
    """The breaker gave the server up meanwhile; it knows."""


class Pool:
    """Hands out clean connections and takes them back; at most ``size`` exist, counting those being opened.

    ``failed(began)`` is called after an opening that began then came to nothing. A pool belongs to the process that
    made it: ``forget`` is for the child of a fork.
    """

    def __init__(
        self, endpoint: Endpoint, *, size: int, warm_up: float, connect_within: float, failed: Callable[[float], None]
    ) -> None:
        self._endpoint = endpoint
        self._size = size
        self._warm_up = warm_up
        self._connect_within = connect_within
        self._failed = failed
        self._idle: list[Connection] = []
        self._busy: dict[Connection, bool] = {}
        self._opening = 0
        self._waiting = 0
        self._given_up = {True: 0, False: 0}
        self._changed = threading.Condition()
        self._failures = 0
        self._error = OSError("not connected")
        self._failing = False
        self._calm_until = 0.0
        self._scripts_loaded = False
        self._closed = False

    def take(self, due: float, quick: bool) -> Connection:
        """A clean connection before ``due``; raises ``OSError`` (``Exhausted`` if only we ourselves are in the way)."""
        with self._changed:
            failures, given_up = self._failures, self._given_up[quick]
            self._waiting += 1
            try:
                while (connection := self._reusable()) is None:
                    if self._closed:
                        raise ConnectionError("the driver is closed")
                    if self._failures != failures:
                        raise self._error
                    if self._given_up[quick] != given_up:
                        raise GivenUp("does not answer")
                    self._wait(due)
                self._busy[connection] = quick
                return connection
            finally:
                self._waiting -= 1

    def give(self, connection: Connection) -> None:
        """Take a connection back; one that still owes replies, or was torn, is closed: the server fails."""
        with self._changed:
            _ = self._busy.pop(connection, None)
            self._failing = not connection.clean
            if self._failing or self._closed:
                connection.close()
            else:
                self._idle.append(connection)
            self._changed.notify()

    def abort(self, *, quick_only: bool) -> None:
        """Wake those who wait, for a connection or for a reply, for a server that has been given up."""
        with self._changed:
            for quick in (True,) if quick_only else (True, False):
                self._given_up[quick] += 1
            self._changed.notify_all()
            for connection, quick in self._busy.items():
                if quick or not quick_only:
                    connection.abort()

    def close(self) -> None:
        """Close what is idle, and what is busy when it comes back."""
        with self._changed:
            self._closed = True
            while self._idle:
                self._idle.pop().close()
            self._changed.notify_all()

    def forget(self) -> None:
        """In the child of a fork: close our copies, saying nothing to the server, which still serves the parent.

        Takes no lock: a thread of the parent that is not here any more may hold it for ever.
        """
        for connection in (*self._idle, *self._busy):
            connection.let_go()

    def _reusable(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.alive():
                return connection
            connection.close()
            self._scripts_loaded = False  # the server may be another one by now
        return None

    def _wait(self, due: float) -> None:
        """Sleep until something has changed, a connection being opened meanwhile if there may be one more."""
        now = monotonic()
        full = len(self._busy) + self._opening >= self._size
        if now >= due:
            raise Exhausted(f"all {self._size} connections are busy") if full else TimeoutError("no connection in time")
        calm = self._calm_until - now if self._failing else 0.0
        if not full and self._opening < self._waiting and calm <= 0:
            self._opening += 1
            self._calm_until = now + CALM_S
            threading.Thread(target=self._open, args=(now,), name="redis-mw-open", daemon=True).start()
        _ = self._changed.wait(min(due - now, calm) if calm > 0 else due - now)

    def _open(self, began: float) -> None:
        loads: list[tuple[Argument, ...]] = []
        if not self._scripts_loaded:
            loads = [("SCRIPT", "LOAD", script.text) for script in KNOWN]
        try:
            connection = Connection.open(self._endpoint, began + self._warm_up, began + self._connect_within, loads)
        except (OSError, ValueError) as error:  # of these: a host that is no name, a certificate that is gone
            with self._changed:
                self._opening -= 1
                self._failures += 1
                self._error = error if isinstance(error, OSError) else OSError(str(error))
                self._failing = True
                self._changed.notify_all()
            self._failed(began)
            return
        with self._changed:
            self._opening -= 1
            self._scripts_loaded = True
            if self._closed:
                connection.close()
            else:
                self._idle.append(connection)
            self._changed.notify()
