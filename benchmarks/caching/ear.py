"""The commands that clients send to a server; those that scripts call are not among them."""

import socket
from urllib.parse import urlsplit

HANDSHAKE = ('"HELLO"', '"CLIENT"', '"AUTH"', '"SELECT"', '"INFO"')
"""What a new connection says, and a ``Watch``."""


class Ear:
    """Hears them between ``__enter__`` and ``count``, by MONITOR."""

    def __init__(self, url: str) -> None:
        at = urlsplit(url)
        self._at = (at.hostname, at.port)

    def __enter__(self) -> "Ear":
        self._line = socket.create_connection(self._at)
        self._line.sendall(b"MONITOR\r\n")
        _ = self._line.recv(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def count(self) -> int:
        """How many were sent so far."""
        with socket.create_connection(self._at) as other:
            other.sendall(b"ECHO enough-is-heard\r\n")
            heard = b""
            while b'"enough-is-heard"' not in heard:
                heard += self._line.recv(1 << 20)
        return sum(_counts(line) for line in heard.decode("latin-1").splitlines())


def _counts(line: str) -> bool:
    """Whether it says that a client has sent something: ``+<time> [<db> <address>] "<COMMAND>" ...``."""
    told, _, words = line.partition("] ")
    command = words.partition(" ")[0].upper()
    if not command or told.endswith(" lua") or '"enough-is-heard"' in words:
        return False
    return command not in HANDSHAKE
