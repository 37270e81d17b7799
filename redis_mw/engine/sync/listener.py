"""Wake-ups of the sync driver: one daemon thread per endpoint listens on a connection of its own for all of a process.

A wake-up is a message on a pub/sub channel. Flows have a ``Mailbox`` for as long as they run, a ``Hearer`` is called
until the end. The thread starts when somebody first asks for a channel in this process. After a lost connection
everybody is woken with an empty message as soon as the server has confirmed that it listens again, since one may have
been missed meanwhile: who is woken looks again, so a wake-up too many does no harm and one too few would.
"""

import logging
import os
import select
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import Any

import hiredis

from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.resp import packed
from redis_mw.engine.sync.connection import Connection
from redis_mw.flows import Argument

log = logging.getLogger("redis_mw")

AGAIN_S = 0.25
"""Seconds from one attempt to listen to the next: one that the server accepts may be refused on its first word."""
PING_S = 5.0
SEND_S = 1.0


class Mailbox:
    """The wake-ups of one flow: kept until they are waited for, or the flow ends."""

    def __init__(self) -> None:
        self._woken: dict[str, bytes] = {}
        self._closed = False
        self._changed = threading.Condition()

    def put(self, channel: str, message: bytes) -> None:
        with self._changed:
            self._woken[channel] = message
            self._changed.notify_all()

    def take(self, channels: Iterable[str], due: float) -> tuple[str, bytes] | None:
        """The first of ``channels`` that is woken, or was already, and its last message; None when the time is over,
        or all is.
        """
        wanted = frozenset(channels)
        with self._changed:
            while (channel := next((name for name in self._woken if name in wanted), None)) is None:
                if self._closed or (left := due - monotonic()) <= 0:
                    return None
                _ = self._changed.wait(left)
            return channel, self._woken.pop(channel)

    def close(self) -> None:
        """Nobody is to wait here any more: who does goes on at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Hearer:
    """Somebody who is called for each wake-up, on the listener's thread."""

    def __init__(self, heard: Callable[[], None]) -> None:
        self._heard = heard

    def put(self, channel: str, _message: bytes) -> None:
        try:
            self._heard()
        except Exception:
            log.exception("what was to be called for channel %s failed", channel)


class Listener:
    """Subscribes mailboxes and hearers to channels of one endpoint. Thread-safe; ``forget``: in the child of a fork.

    ``on_failed`` is called, on the thread, when the connection was lost or could not be had.
    """

    def __init__(
        self, endpoint: Endpoint, *, connect_within: float, warm_up: float, on_failed: Callable[[], None] = lambda: None
    ) -> None:
        self._endpoint = endpoint
        self._on_failed = on_failed
        self._connect_within = connect_within
        self._warm_up = warm_up
        self._mailboxes: dict[str, set[Mailbox | Hearer]] = {}
        self._missed: set[str] = set()
        self._owed: Counter[str] = Counter()
        self._confirmed: set[str] = set()
        self._outbox: list[tuple[Argument, ...]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._bell = (-1, -1)
        self._connection: Connection | None = None
        self._failures = 0
        self._connected = False
        self._closed = False

    def subscribe(self, mailbox: Mailbox, channels: Iterable[str], due: float) -> None:
        """Wake ``mailbox`` by these channels from now on; the server has confirmed it, else ``OSError``."""
        wanted = tuple(channels)
        with self._changed:
            self._start()
            fresh = [name for name in wanted if name not in self._mailboxes]
            for name in wanted:
                self._mailboxes.setdefault(name, set()).add(mailbox)
            self._say("SUBSCRIBE", fresh)
            self._changed.notify_all()
            failures = self._failures
            while not self._confirmed.issuperset(wanted):
                left = due - monotonic()
                if left <= 0 or self._failures != failures or self._closed:
                    raise ConnectionError(f"{self._endpoint.name}: cannot listen for wake-ups")
                _ = self._changed.wait(left)

    def hear(self, channel: str, heard: Callable[[], None]) -> Hearer:
        """Call ``heard`` for each wake-up until the end, and whenever one may have been missed; does not wait.

        Before the server has confirmed, all may have been missed: the first call is its confirmation.
        """
        hearer = Hearer(heard)
        with self._changed:
            self._start()
            self._mailboxes.setdefault(channel, set()).add(hearer)
            self._missed.add(channel)
            self._say("SUBSCRIBE", [channel])  # also where others listen already, for the confirmation's sake
            self._changed.notify_all()
        return hearer

    def unsubscribe(self, mailbox: Mailbox | Hearer) -> None:
        """Forget a mailbox or hearer; channels that nobody else waits for are left."""
        with self._changed:
            left: list[str] = []
            for name, mailboxes in list(self._mailboxes.items()):
                mailboxes.discard(mailbox)
                if not mailboxes:
                    del self._mailboxes[name]
                    self._missed.discard(name)
                    left.append(name)
            self._say("UNSUBSCRIBE", left)

    def retire(self) -> bool:
        """Have the thread end if nobody is to be woken here; whether that is so."""
        with self._changed:
            if self._mailboxes:
                return False
            self._closed = True
            self._ring()
            self._changed.notify_all()
            return True

    def close(self) -> None:
        """End the thread; a flow that waits is told that it is over, a hearer is not called any more."""
        with self._changed:
            self._closed = True
            thread = self._thread
            self._ring()
            self._changed.notify_all()
            everybody = [(box, name) for name, boxes in self._mailboxes.items() for box in boxes]
            waiting = [(box, name) for box, name in everybody if isinstance(box, Mailbox)]
        for mailbox, name in waiting:
            mailbox.put(name, b"")
        if thread is not None and thread is not threading.current_thread():
            thread.join(SEND_S)

    def forget(self) -> None:
        """In the child of a fork: the thread is not here; close our copies of what it held, saying nothing."""
        if self._connection is not None:
            self._connection.let_go()
        self._silence()

    def _ring(self) -> None:
        """Wake the thread; a bell that is full of rings rings already."""
        if self._bell[1] >= 0:
            with suppress(BlockingIOError):
                _ = os.write(self._bell[1], b".")

    def _silence(self) -> None:
        bell, self._bell = self._bell, (-1, -1)
        for end in bell:
            if end >= 0:
                os.close(end)

    def _start(self) -> None:
        if self._thread is None and not self._closed:
            self._bell = os.pipe()
            for end in self._bell:
                os.set_blocking(end, False)
            thread = threading.Thread(target=self._run, name="redis-mw-wakeups", daemon=True)
            thread.start()
            self._thread = thread

    def _say(self, verb: str, channels: list[str]) -> None:
        """Have the thread send this; without a connection it subscribes to everything when it gets one."""
        if not channels or not self._connected:
            return
        if verb == "SUBSCRIBE":
            self._owed.update(channels)
        self._confirmed.difference_update(channels)
        self._outbox.append((verb, *channels))
        self._ring()

    def _run(self) -> None:
        with self._changed:
            # A signal may have cut off who started it, before he could put it down; then it does that itself.
            self._thread = self._thread or threading.current_thread()
            if self._thread is not threading.current_thread():
                return
        while not self._closed:
            began = monotonic()
            try:
                connection = Connection.open(self._endpoint, began + self._warm_up, began + self._connect_within)
            except (OSError, ValueError):
                self._lost()
                self._rest(began)
                continue
            try:
                self._connection = connection
                self._greet()
                self._listen(connection)
            except OSError as error:
                log.info("the connection for wake-ups was lost: %s", error)
            finally:
                connection.close()
                self._lost()
            self._rest(began)
        with self._changed:
            self._silence()

    def _rest(self, began: float) -> None:
        """After an attempt that began then, and for as long as nobody wants to be woken."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed, max(0.0, began + AGAIN_S - monotonic())):
                _ = self._changed.wait_for(lambda: self._closed or bool(self._mailboxes))

    def _greet(self) -> None:
        """A new connection: subscribe to all channels wanted."""
        with self._changed:
            self._connected = True
            self._say("SUBSCRIBE", list(self._mailboxes))

    def _lost(self) -> None:
        with self._changed:
            self._connected = False
            self._failures += 1
            self._missed.update(self._mailboxes)
            self._owed.clear()
            self._confirmed.clear()
            self._outbox.clear()
            self._changed.notify_all()
            closed = self._closed
        if not closed:
            self._on_failed()

    def _listen(self, connection: Connection) -> None:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        poll.register(self._bell[0], select.POLLIN)
        pinged = False
        while not self._closed:
            ready = poll.poll(PING_S * 1000)
            if not ready and pinged:
                raise ConnectionError("silence")
            if any(end == self._bell[0] for end, _ in ready):
                _ = os.read(self._bell[0], 4096)  # before the outbox is emptied: what comes now rings again
            with self._changed:
                outbox, self._outbox = self._outbox, []
            if pinged := not ready:
                outbox.append(("PING",))
            if outbox:
                connection.send(packed(outbox), 0, monotonic() + SEND_S)
            for message in connection.messages():
                self._heard(message)

    def _heard(self, message: Any) -> None:
        if isinstance(message, Exception):
            raise ConnectionError(str(message))
        if type(message) is not hiredis.PushNotification or message[1] is None:
            return
        kind, name = message[0], message[1].decode()
        with self._changed:
            if self._closed:
                return
            wakes = kind == b"message"
            if kind == b"subscribe":
                self._owed[name] -= 1
                if self._owed[name] <= 0 and name in self._mailboxes:
                    self._confirmed.add(name)
                    self._changed.notify_all()
                    # Not before: who was woken earlier might look, and then miss what comes before the server listens.
                    wakes = name in self._missed
                    self._missed.discard(name)
            mailboxes = tuple(self._mailboxes.get(name, ())) if wakes else ()
        for mailbox in mailboxes:
            mailbox.put(name, message[2] if kind == b"message" else b"")
