"""What the tests of the engine share: servers that may be stopped, frozen and broken, and both drivers in one shape."""

import asyncio
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tls import Front

from redis_mw.engine import trips
from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.embedded import find_binary
from redis_mw.engine.sync import SyncDriver
from redis_mw.engine.tracking import Watcher
from redis_mw.events import Event, Events
from redis_mw.flows import Flow, Role
from redis_mw.settings import Settings


class Valkey:
    """A server on a port of its own that can be frozen (SIGSTOP), thawed, stopped and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.folder = folder
        self.path = folder / "s"
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        address = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.path)]
        command = [find_binary(), *address, "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"})
        for _ in range(1000):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.01)
        raise RuntimeError("the server did not start")

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.process.kill()
        _ = self.process.wait()

    def say(self, *words: str) -> bytes:
        """One command on a connection of its own, its reply raw."""
        encoded = [word.encode() for word in words]
        with socket.create_connection(("127.0.0.1", self.port), 20) as link:
            link.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in encoded))
            return link.recv(1 << 16)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    here = x509.IPAddress(IPv4Address("127.0.0.1"))
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), here]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    _ = (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    _ = (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def tls_port(certificate: tuple[Path, Path], shared_valkey: Valkey) -> Iterator[int]:
    """A port that speaks TLS and hands everything on to the shared server."""
    front = Front(shared_valkey.port, certificate)
    yield front.port
    front.close()


class OnThreads:
    """The sync driver; ``start`` runs a flow on a thread."""

    def __init__(self, settings: Settings, events: Events) -> None:
        self.driver = SyncDriver(settings, events)
        self._threads = ThreadPoolExecutor(16)

    def start(self, flow: Flow[Any], deadline: float | None = None) -> Future[Any]:
        return self._threads.submit(self.driver.run, flow, deadline)

    def share(self, key: Hashable, flow: Flow[Any]) -> Future[Any]:
        return self._threads.submit(self.driver.share, key, flow)

    def run(self, flow: Flow[Any], deadline: float | None = None) -> Any:
        return self.driver.run(flow, deadline)

    def detach(self, flow: Flow[Any], within: float) -> None:
        self.driver.detach(flow, within)

    def tend(self, key: Hashable, flow: Callable[[], Flow[None]]) -> None:
        self.driver.tend(key, flow)

    def hear(self, role: Role, channel: str, heard: Callable[[], None]) -> None:
        self.driver.hear(role, channel, heard)

    def watch(self, role: Role, prefixes: tuple[str, ...], watcher: Watcher) -> None:
        self.driver.watch(role, prefixes, watcher)

    def ping(self) -> None:
        self.driver.ping()

    def close(self) -> None:
        self.driver.close()

    def end(self) -> None:
        self.close()
        self._threads.shutdown()


class OnLoop:
    """The asyncio driver on a loop of its own, which runs in a thread and must be empty in the end."""

    def __init__(self, settings: Settings, events: Events, loop: asyncio.AbstractEventLoop) -> None:
        self.driver = AsyncDriver(settings, events)
        self._loop = loop
        self._thread = threading.Thread(target=loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, flow: Flow[Any], deadline: float | None = None) -> Future[Any]:
        return self._soon(self.driver.run(flow, deadline))

    def share(self, key: Hashable, flow: Flow[Any]) -> Future[Any]:
        return self._soon(self.driver.share(key, flow))

    def run(self, flow: Flow[Any], deadline: float | None = None) -> Any:
        return self.start(flow, deadline).result(60)

    def detach(self, flow: Flow[Any], within: float) -> None:
        async def detached() -> None:
            self.driver.detach(flow, within)

        self._soon(detached()).result(60)

    def tend(self, key: Hashable, flow: Callable[[], Flow[None]]) -> None:
        async def tended() -> None:
            self.driver.tend(key, flow)

        self._soon(tended()).result(60)

    def hear(self, role: Role, channel: str, heard: Callable[[], None]) -> None:
        async def hearing() -> None:
            self.driver.hear(role, channel, heard)

        self._soon(hearing()).result(60)

    def watch(self, role: Role, prefixes: tuple[str, ...], watcher: Watcher) -> None:
        async def watching() -> None:
            self.driver.watch(role, prefixes, watcher)

        self._soon(watching()).result(60)

    def ping(self) -> None:
        self._soon(self.driver.ping()).result(60)

    def close(self) -> None:
        self._soon(self.driver.aclose()).result(60)

    def end(self) -> None:
        self.close()
        left = self._soon(self._others()).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        assert left == set()

    async def _others(self) -> set[Any]:
        return asyncio.all_tasks() - {asyncio.current_task()}

    def _soon(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)


@pytest.fixture(params=["threads", "asyncio", "uvloop"])
def engine_of(request: pytest.FixtureRequest, events: list[Event]) -> Iterator[Callable[..., Any]]:
    """Makes drivers, ``engine_of(url, **settings)``, and closes them afterwards; every test runs on all kinds."""
    made: list[OnThreads | OnLoop] = []

    def make(url: str | dict[str, str], **options: object) -> OnThreads | OnLoop:
        settings = Settings.from_mapping({"url": url, **options})
        told = Events([events.append], time.time)
        if request.param == "threads":
            made.append(OnThreads(settings, told))
        else:
            loop = asyncio.new_event_loop() if request.param == "asyncio" else uvloop.new_event_loop()
            made.append(OnLoop(settings, told, loop))
        return made[-1]

    yield make
    for engine in made:
        engine.end()


@pytest.fixture
def seen() -> Iterator[list[Any]]:
    """Every trip: (endpoint, commands, detached)."""
    trips_seen: list[Any] = []
    stop = trips.observe(lambda *trip: trips_seen.append(trip))
    yield trips_seen
    stop()
