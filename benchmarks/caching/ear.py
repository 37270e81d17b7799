"""The commands that clients send to a server; those that scripts call are not among them."""

import socket
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

SET_UP = ("HELLO", "CLIENT", "AUTH", "SELECT", "SCRIPT", "PING", "INFO")
"""What is said for the sake of a connection."""
SUBSCRIBING = ("SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE")
ENOUGH = "enough-is-heard"


class Heard(NamedTuple):
    """What clients have sent; what sets a connection up is left out."""

    commands: int
    subscriptions: int
    """Those that begin or end one."""


class Ear:
    """Hears it from ``__enter__`` to ``heard``, by MONITOR."""

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

    def heard(self) -> Heard:
        """What was sent so far."""
        with socket.create_connection(self._at) as other:
            other.sendall(f"ECHO {ENOUGH}\r\n".encode())
            lines = b""
            while f'"{ENOUGH}"'.encode() not in lines:
                lines += self._line.recv(1 << 20)
        return told(lines.decode("latin-1").splitlines())


def told(lines: Iterable[str]) -> Heard:
    """What lines of MONITOR tell: ``<time> [<db> <address, or lua>] "<command>" "<argument>" ...``."""
    commands = subscriptions = 0
    for line in lines:
        where, _, words = line.partition("] ")
        command = words.partition(" ")[0].strip('"').upper()
        if not command or where.endswith(" lua") or command in SET_UP or ENOUGH in words:
            continue
        if command in SUBSCRIBING:
            subscriptions += 1
        else:
            commands += 1
    return Heard(commands, subscriptions)
