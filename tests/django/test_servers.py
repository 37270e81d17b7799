"""Over real HTTP: gunicorn's workers, and clients that hang up in the middle of a request."""

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from redis_mw.settings import Settings


class Browser:
    """A client with one cookie, and a connection for each request."""

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
            self.cookie = given.partition(";")[0] if given is not None else self.cookie
            return json.loads(body)

    def hang_up(self, path: str) -> None:
        """Ask, and reset the connection before the answer can come."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=20)) as link:
            link.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {self.cookie}\r\n\r\n".encode())
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.fixture(params=[["--workers", "2"], ["--threads", "4"]], ids=["sync", "threads"])
def port(request: pytest.FixtureRequest, redis_mw_settings: Settings, tmp_path: Path) -> Iterator[int]:
    """Where gunicorn serves ``served.app``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REDIS_MW_")}
    own = {
        "REDIS_MW_URL": redis_mw_settings.url_of("default"),
        "REDIS_MW_PREFIX": redis_mw_settings.prefix,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = [sys.executable, "-m", "gunicorn", "--preload", "--no-control-socket", "--bind", f"127.0.0.1:{port}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--chdir", str(Path(__file__).parent), *request.param, "served:app"],
            env=kept | own,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        assert process.wait(30) == 0


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


def test_after_clients_that_hung_up_everybody_gets_their_own_answers(port: int) -> None:
    rude, polite = Browser(port), Browser(port)
    rude.get("/put/rude/")
    polite.get("/put/polite/")
    for turn in range(5):
        rude.hang_up(f"/slow/{turn}/")
        assert polite.get("/read/")["name"] == "polite"
        assert polite.get(f"/slow/p{turn}/") == {"value": f"p{turn}", "name": "polite"}
    assert rude.get("/slow/last/") == {"value": "last", "name": "rude"}
    assert rude.get("/read/")["name"] == "rude"
    assert polite.get("/read/") == {"name": "polite", "slow": "p4"}
