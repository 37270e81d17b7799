"""The tools of the tests themselves: a server that comes and goes, and a line that delays, freezes and breaks."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest


@pytest.fixture
def connect() -> Iterator[Callable[[int], socket.socket]]:
    made: list[socket.socket] = []

    def connected(port: int) -> socket.socket:
        made.append(socket.create_connection(("127.0.0.1", port), 5))
        return made[-1]

    yield connected
    for link in made:
        link.close()


def ping(link: socket.socket) -> bytes:
    link.sendall(b"PING\r\n")
    return link.recv(7)


def test_a_line_is_late_by_its_delay_in_each_direction(server: Any, delaying_proxy: Any, connect: Any) -> None:
    line = delaying_proxy(server.url, delay=0.03)
    link = connect(line.port)
    begin = time.monotonic()
    assert ping(link) == b"+PONG\r\n"
    assert time.monotonic() - begin >= 0.06


def test_a_frozen_line_keeps_what_it_was_given(redis_mw_url: str, delaying_proxy: Any, connect: Any) -> None:
    line = delaying_proxy(redis_mw_url)
    link = connect(line.port)
    line.freeze()
    link.settimeout(0.05)
    with pytest.raises(TimeoutError):
        ping(link)
    line.thaw()
    link.settimeout(5)
    assert link.recv(7) == b"+PONG\r\n"


def test_a_reset_ends_what_is_open_and_a_cut_what_comes(server: Any, delaying_proxy: Any, connect: Any) -> None:
    line = delaying_proxy(server.url)
    link = connect(line.port)
    assert ping(link) == b"+PONG\r\n"
    line.reset()
    with pytest.raises(ConnectionError):
        link.recv(1)
    line.cut()
    assert not answers(line.port)
    line.mend()
    assert answers(line.port)
    assert line.connections == 3


def test_a_server_comes_back_on_its_port_and_has_forgotten(server: Any, connect: Any) -> None:
    link = connect(server.port)
    link.sendall(b"SET a 1\r\n")
    assert link.recv(5) == b"+OK\r\n"
    server.kill()
    assert link.recv(1) == b""
    assert not answers(server.port)
    server.start()
    again = connect(server.port)
    again.sendall(b"EXISTS a\r\n")
    assert again.recv(4) == b":0\r\n"


def answers(port: int) -> bool:
    try:
        with closing(socket.create_connection(("127.0.0.1", port), 5)) as link:
            return ping(link) == b"+PONG\r\n"
    except OSError:
        return False
