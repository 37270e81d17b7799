"""Over real HTTP: gunicorn's workers, made by a fork after the application was, and clients that hang up."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SYNC = ["--worker-class", "sync", "--workers", "2"]
THREADS = ["--worker-class", "gthread", "--workers", "1", "--threads", "4"]


class Browser:
    """A client with one cookie jar, and a connection for each request."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = ""

    def get(self, path: str) -> dict:
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int, process: subprocess.Popen) -> None:
    for _ in range(400):
        assert process.poll() is None, "gunicorn ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("gunicorn does not answer")


@pytest.fixture
def serve(redis_mw_settings, tmp_path) -> Iterator[Callable[..., Browser]]:
    """Serves ``served.app`` by gunicorn and gives a browser for it."""
    running: list[subprocess.Popen] = []

    def start(*arguments: str, **environment: str) -> Browser:
        port = free_port()
        own = {
            "REDIS_MW_URL": redis_mw_settings.url_of("default"),
            "REDIS_MW_PREFIX": redis_mw_settings.prefix,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("REDIS_MW_")}
        command = [sys.executable, "-m", "gunicorn", "--preload", "--bind", f"127.0.0.1:{port}", "--chdir", str(HERE)]
        with open(tmp_path / f"{port}.log", "wb") as log:
            process = subprocess.Popen(
                [*command, "--no-control-socket", *arguments, "served:app"],
                env={**kept, **own, **environment},
                stdout=log,
                stderr=log,
            )
        running.append(process)
        wait_for(port, process)
        return Browser(port)

    yield start
    for process in running:
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize("before", ["", "1"], ids=["unused before the fork", "used before the fork"])
def test_forked_workers_share_the_sessions_and_no_connection(serve, before):
    browser = serve(*SYNC, USED_BEFORE_FORK=before)
    seen = [browser.get("/count") for _ in range(30)]
    assert [each["seen"] for each in seen] == list(range(1, 31))
    browser.get("/logout")
    assert browser.cookie == "" and browser.get("/read") == {}


def test_threads_of_one_worker_keep_the_visitors_apart(serve):
    first = serve(*THREADS)
    browsers = [first] + [Browser(first.port) for _ in range(3)]
    wrong = []

    def visit(browser: Browser, name: str) -> None:
        browser.get(f"/put/name/{name}")
        for turn in range(1, 20):
            if browser.get("/count")["seen"] != turn or browser.get("/read")["name"] != name:
                wrong.append(name)

    threads = [threading.Thread(target=visit, args=(each, f"n{at}")) for at, each in enumerate(browsers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("workers", [SYNC, THREADS], ids=["sync", "threads"])
def test_after_clients_that_hung_up_everybody_gets_their_own_answers(serve, workers):
    rude = serve(*workers)
    polite = Browser(rude.port)
    rude.get("/put/name/rude")
    polite.get("/put/name/polite")
    for turn in range(6):
        rude.hang_up(f"/slow/{turn}")
        assert polite.get("/read")["name"] == "polite"
        assert polite.get(f"/slow/p{turn}") == {"value": f"p{turn}", "name": "polite"}
    assert rude.get("/slow/last") == {"value": "last", "name": "rude"}
    assert rude.get("/read") == {"name": "rude", "slow": "last"}
    assert polite.get("/read") == {"name": "polite", "slow": "p5"}
