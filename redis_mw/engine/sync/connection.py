"""One connection of the sync driver: a socket, one batch at a time, every step bounded by a due time.

It is ours and not redis-py's for three reasons: a due time that covers connecting, TLS and the handshake as a whole
(there each read of the handshake has a timeout of its own), error replies that arrive as values, all of them, LOADING
included (there some of them close the connection), and certainty about interruptions: a signal handler may raise
between any two bytecodes, so a connection that was interrupted while it moved bytes is *torn* and never used again.

Due times are of ``time.monotonic``. Everything that goes wrong here is an ``OSError``.
"""

import select
import socket
import ssl
from collections.abc import Sequence
from time import monotonic
from typing import Any

import hiredis

from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.resp import NOTHING, packed, reader
from redis_mw.flows import Argument

CHUNK = 65536
FRESH_S = 0.01
"""How long after its last reply a connection is taken without looking whether the server has closed it."""


class Connection:
    """A connection that has introduced itself.

    ``missing`` counts the replies that are still to come, ``aborted`` says that we ended it ourselves.
    """

    def __init__(self, link: socket.socket) -> None:
        # Never blocking: a timeout on the socket would cost a poll and an ioctl more with each call.
        link.setblocking(False)
        self._socket = link
        self._reader = reader()
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN)
        self._torn = False
        self._used = monotonic()
        self.missing = 0
        self.aborted = False

    @classmethod
    def open(
        cls, endpoint: Endpoint, due: float, connect_due: float, first: Sequence[tuple[Argument, ...]] = ()
    ) -> "Connection":
        """Connect and introduce ourselves, the commands ``first`` in the same write; their replies do not matter."""
        connection = cls(_connected(endpoint, due, min(due, connect_due)))
        try:
            connection.send(packed(endpoint.handshake() + tuple(first)), len(endpoint.handshake()) + len(first), due)
            replies: list[Any] = []
            connection.receive(replies, due)
            for reply in replies[: endpoint.required]:
                if isinstance(reply, Exception):
                    raise ConnectionError(f"{endpoint.name} refused the handshake: {reply}")
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def clean(self) -> bool:
        """Nothing is outstanding and nothing was interrupted: the connection may serve another batch."""
        return not self.missing and not self._torn

    def alive(self) -> bool:
        """The server has not closed this idle connection, nor said anything unasked; one used just now is believed."""
        return monotonic() - self._used < FRESH_S or not self._poll.poll(0)

    def send(self, data: bytes, replies: int, due: float) -> None:
        """Send commands that will have so many replies."""
        self._torn = True
        self.missing += replies
        sent = self._push(data)
        while sent < len(data):
            room = select.poll()
            room.register(self._socket, select.POLLOUT)
            if not room.poll(max(0.0, due - monotonic()) * 1000):
                raise TimeoutError("the server takes no more commands")
            sent += self._push(memoryview(data)[sent:])
        self._torn = False

    def receive(self, replies: list[Any], due: float) -> None:
        """Append all missing replies; what arrived before an error stays appended. May be called again after one."""
        while self.missing:
            if self._torn:
                raise ConnectionError("the connection was interrupted while bytes moved")
            self._torn = True
            while self.missing and (reply := self._next()) is not NOTHING:
                if type(reply) is not hiredis.PushNotification:
                    replies.append(reply)
                    self.missing -= 1
            self._torn = False
            if self.missing:
                self._read(due)
        self._used = monotonic()

    def messages(self) -> list[Any]:
        """Everything that has arrived, for a connection that listens: pushes, and replies to its pings."""
        found: list[Any] = []
        while True:
            while (message := self._next()) is not NOTHING:
                found.append(message)
            if not self._buffered() and not self._poll.poll(0):
                return found
            self._read(monotonic())

    def message(self, due: float) -> Any:
        """The next thing that arrives, for a connection that listens; TimeoutError if nothing does in time."""
        while (message := self._next()) is NOTHING:
            self._read(due)
        return message

    def _read(self, due: float) -> None:
        """Wait without touching the stream, then move what is there: an interruption while waiting harms nothing."""
        if not self._buffered() and not self._poll.poll(max(0.0, due - monotonic()) * 1000):
            raise TimeoutError("no answer in time")
        self._torn = True
        try:
            data = self._socket.recv(CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):  # the rest of a TLS record is still to come
            self._torn = False
            return
        if not data:
            raise ConnectionError("the server closed the connection")
        self._reader.feed(data)
        self._torn = False

    def _next(self) -> Any:
        try:
            return self._reader.gets()
        except hiredis.ProtocolError as error:
            raise ConnectionError(f"the server does not speak the protocol: {error}") from None

    def _push(self, data: "bytes | memoryview") -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def _buffered(self) -> bool:
        """TLS may hold decrypted bytes that poll does not see."""
        pending = getattr(self._socket, "pending", None)
        return pending is not None and pending() > 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def abort(self) -> None:
        """End the connection from another thread: whoever waits on it wakes with an error."""
        self.aborted = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        """End the connection, also where a forked child still holds a copy of it."""
        self.abort()
        self.let_go()

    def let_go(self) -> None:
        """Close our copy after a fork; the parent's connection is not touched."""
        self._torn = True
        self._socket.close()


def _left(due: float) -> float:
    """Seconds left, never 0: a socket would take that for non-blocking."""
    return max(0.001, due - monotonic())


def _connected(endpoint: Endpoint, due: float, connect_due: float) -> socket.socket:
    if endpoint.path:
        return _dialled(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), endpoint.path, connect_due)
    last: OSError = OSError(f"{endpoint.host} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(endpoint.host, endpoint.port, 0, socket.SOCK_STREAM):
        try:
            link = _dialled(socket.socket(family, kind, protocol), address, connect_due)
        except OSError as error:
            last = error
            continue
        return _secured(link, endpoint, due)
    raise last


def _dialled(link: socket.socket, address: Any, due: float) -> socket.socket:
    try:
        if link.family != socket.AF_UNIX:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        link.settimeout(_left(due))
        link.connect(address)
    except BaseException:
        link.close()
        raise
    return link


def _secured(link: socket.socket, endpoint: Endpoint, due: float) -> socket.socket:
    """Shake hands over TLS, where the url asks for it."""
    context = endpoint.ssl_context()
    if context is None:
        return link
    try:
        link.settimeout(_left(due))
        return context.wrap_socket(link, server_hostname=endpoint.host)
    except BaseException:
        link.close()
        raise
