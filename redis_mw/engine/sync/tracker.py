"""Hears for one watcher what is changed: a daemon thread that reads a connection of its own, for as long as it lasts.

Everything that the watcher is told it is told by this thread, but for the end when the driver is told to refuse
everything: a driver may be closed by the garbage collector, in the middle of anything that any thread does.
"""

import threading
from collections.abc import Callable
from time import monotonic

import hiredis

from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.resp import packed
from redis_mw.engine.sync.connection import Connection
from redis_mw.engine.tracking import PING_S, SILENT_S, Tracking
from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.events import log
from redis_mw.flows import Argument
from redis_mw.settings import Settings, seconds

JOIN_S = 1.0
"""How long the end waits for the thread: one that is being connected ends when it has been."""


class Tracker:
    """Keeps a connection on which the server tracks, until ``close``; ``forget`` is for the child of a fork.

    ``on_failed`` is called, on the thread, when that was lost or could not be had.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings,
        tracking: Tracking,
        on_failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._tracking = tracking
        self._endpoint = endpoint
        self._on_failed = on_failed
        self._connect_within = seconds(settings.connect_within)
        self._warm_up = seconds(settings.warm_up)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._closed = threading.Event()

    @property
    def started(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """Begin, unless it has begun; an interpreter that is ending starts no thread."""
        with self._lock:
            if self._thread is not None or self._closed.is_set():
                return
            thread = threading.Thread(target=self._run, name="redis-mw-tracking", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                log.exception("no thread that hears what is changed")
            self._thread = thread

    def end(self) -> None:
        """End the watcher; it begins anew when the server answers the next time."""
        self._tracking.end()

    def stop(self) -> None:
        """Have the thread end, and so the watcher, without waiting for that."""
        self._closed.set()
        connection = self._connection  # read after the flag was set: one that is put down later finds the flag
        if connection is not None:
            connection.abort()

    def close(self) -> None:
        """End the thread, and so the watcher. May be called on any thread, and again."""
        self.stop()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():
            thread.join(JOIN_S)

    def forget(self) -> None:
        """In the child of a fork: the thread is not here; close our copy of its connection, saying nothing."""
        if self._connection is not None:
            self._connection.let_go()

    def _run(self) -> None:
        with self._lock:
            # A signal may have cut off who started it, before he could put it down; then it does that itself.
            self._thread = self._thread or threading.current_thread()
            if self._thread is not threading.current_thread():
                return
        while not self._closed.is_set():
            if not self._tracking.refuses():
                self._attempt()
            _ = self._closed.wait(self._tracking.pause())

    def _attempt(self) -> None:
        began = monotonic()
        try:
            connection = Connection.open(self._endpoint, began + self._warm_up, began + self._connect_within)
            try:
                self._connection = connection
                self._listen(connection)
            finally:
                self._tracking.end()
                self._connection = None
                connection.close()
        except (OSError, ValueError, CommandError, RedisUnavailable) as error:
            if not self._closed.is_set():
                self._tracking.failed(self._endpoint.name, error)
                self._on_failed()
        except Exception:  # a bug of ours must not leave a thread that is started and dead
            log.exception("what hears invalidations failed")

    def _listen(self, connection: Connection) -> None:
        question = self._tracking.words
        while not self._closed.is_set() and not self._tracking.refuses():
            self._ask(connection, question)
            self._tracking.answered()
            self._hear(connection, monotonic() + PING_S)
            question = ("PING",)

    def _ask(self, connection: Connection, words: tuple[Argument, ...]) -> None:
        """Return once the server has answered this."""
        due = monotonic() + SILENT_S
        connection.send(packed([words]), 0, due)
        while type(message := connection.message(due)) is hiredis.PushNotification:
            self._tracking.pushed(message)
        if isinstance(message, Exception):
            raise message

    def _hear(self, connection: Connection, until: float) -> None:
        """Pass on what is pushed in the meantime."""
        while monotonic() < until:
            try:
                message = connection.message(until)
            except TimeoutError:
                return
            if type(message) is not hiredis.PushNotification:
                raise ConnectionError(f"the server said what nobody asked for: {message!r:.200}")
            self._tracking.pushed(message)
