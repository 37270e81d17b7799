"""gunicorn with an application of ours, and a browser that may hang up: for the tests of any WSGI framework."""

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from redis_mw.settings import Settings

SYNC = ["--worker-class", "sync", "--workers", "2"]
THREADS = ["--worker-class", "gthread", "--workers", "1", "--threads", "4"]


class Browser:
    """A client with one cookie jar, and a connection for each request."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = ""

    def get(self, path: str) -> Any:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("GET", path, headers={"Cookie": self.cookie} if self.cookie else {})
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, (response.status, body)
            given = response.getheader("Set-Cookie")
            if given is not None:
                self.cookie = "" if "Max-Age=0" in given else given.partition(";")[0]
            return json.loads(body)

    def hang_up(self, path: str) -> None:
        """Ask, and reset the connection before the answer can come."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=20)) as link:
            link.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {self.cookie}\r\n\r\n".encode())
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(400):
        assert process.poll() is None, "gunicorn ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("gunicorn does not answer")


@contextmanager
def serving(home: Path, settings: Settings, log: Path, *arguments: str, **environment: str) -> Iterator[Browser]:
    """A browser for ``served.app`` of a folder, under gunicorn; its redis-mw is configured by the environment."""
    port = _free_port()
    own = {
        "REDIS_MW_URL": settings.url_of("default"),
        "REDIS_MW_PREFIX": settings.prefix,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REDIS_MW_")}
    command = [sys.executable, "-m", "gunicorn", "--preload", "--no-control-socket", "--bind", f"127.0.0.1:{port}"]
    # gunicorn forgets to tell a worker that it forks while it is told to stop: it ends that one only after this.
    command += ["--graceful-timeout", "10"]
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*command, "--chdir", str(home), *arguments, "served:app"],
            env={**kept, **own, **environment},
            stdout=said,
            stderr=said,
        )
    try:
        _wait_for(port, process)
        yield Browser(port)
    finally:
        process.terminate()
        try:
            assert process.wait(30) == 0
        finally:
            if process.poll() is None:
                process.kill()
                _ = process.wait()


def hang_up_beside_another(rude: Browser, end: str = "") -> None:
    """Clients hang up in the middle of requests; everybody gets their own answers. ``end`` closes each path."""
    polite = Browser(rude.port)
    rude.get(f"/put/name/rude{end}")
    polite.get(f"/put/name/polite{end}")
    for turn in range(6):
        rude.hang_up(f"/slow/{turn}{end}")
        assert polite.get(f"/read{end}")["name"] == "polite"
        assert polite.get(f"/slow/p{turn}{end}") == {"value": f"p{turn}", "name": "polite"}
    assert rude.get(f"/slow/last{end}") == {"value": "last", "name": "rude"}
    assert rude.get(f"/read{end}") == {"name": "rude", "slow": "last"}
    assert polite.get(f"/read{end}") == {"name": "polite", "slow": "p5"}
