"""What only the tests of the sync driver need: drivers, and a server that is slow."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Event, Events
from redis_mw.settings import Settings


@pytest.fixture
def driver_of(events: list[Event]) -> Iterator[Callable[..., SyncDriver]]:
    """Makes drivers, ``driver_of(url, **settings)``, and closes them afterwards."""
    made: list[SyncDriver] = []

    def make(url: str | dict[str, str], **options: object) -> SyncDriver:
        driver = SyncDriver(Settings.from_mapping({"url": url, **options}), Events([events.append], time.time))
        made.append(driver)
        return driver

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def slow_port(shared_valkey: Any) -> Iterator[int]:
    """A port that hands everything on to the shared server at once, and its answers 200 ms later."""
    links: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def begin(work: Callable[..., None], *args: object) -> None:
        threads.append(threading.Thread(target=work, args=args, daemon=True))
        threads[-1].start()

    def pump(source: socket.socket, target: socket.socket, delay: float) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(delay)  # the slowness itself, not a wait for something to happen
                target.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                front, _ = door.accept()
                back = socket.create_connection(("127.0.0.1", shared_valkey.port))
                links.extend([front, back])
                begin(pump, front, back, 0.0)
                begin(pump, back, front, 0.2)

    door = socket.create_server(("127.0.0.1", 0))
    begin(accept)
    yield door.getsockname()[1]
    _end(door)
    threads[0].join()  # from now on there are no more links
    for link in links:
        _end(link)
    for thread in threads:
        thread.join()
    for link in (door, *links):
        link.close()


def _end(link: socket.socket) -> None:
    """Wake whoever reads from it; it may have been ended by the other side."""
    with suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
