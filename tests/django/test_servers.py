"""Over real HTTP: workers of gunicorn and uvicorn, and clients that hang up in the middle of a request."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from gunicorn_server import SYNC, THREADS, hang_up_beside_another, serving

from redis_mw.settings import Settings


@pytest.mark.parametrize("workers", [SYNC, THREADS], ids=["sync", "threads"])
def test_after_clients_that_hung_up_everybody_gets_their_own_answers(
    redis_mw_settings: Settings, tmp_path: Path, workers: list[str]
) -> None:
    with serving(Path(__file__).parent, redis_mw_settings, tmp_path / "log", *workers) as browser:
        hang_up_beside_another(browser, "/")


@contextmanager
def uvicorn(settings: Settings, home: Path) -> Iterator[int]:
    """The port of two processes of uvicorn with the same site."""
    own = {"REDIS_MW_URL": settings.url_of("default"), "REDIS_MW_PREFIX": settings.prefix, "HOME_OF_ORDERS": str(home)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REDIS_MW_")}
    with socket.create_server(("127.0.0.1", 0), backlog=100) as door, (home / "log").open("wb") as said:
        command = [sys.executable, "-m", "uvicorn", "--lifespan", "off", "--fd", str(door.fileno()), "served:asgi"]
        servers = [
            subprocess.Popen(
                command,
                cwd=Path(__file__).parent,
                env={**kept, **own, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                pass_fds=[door.fileno()],
                stdout=said,
                stderr=said,
            )
            for _ in range(2)
        ]
        try:
            yield door.getsockname()[1]
        finally:
            for server in servers:
                server.terminate()
            for server in servers:
                _ = server.wait(30)


def pay(port: int, path: str, **headers: str) -> tuple[int, str | None, bytes]:
    """The status, whether it is a replay, and the body."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", f"/orders/{path}/", b"{}", {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, response.getheader("Idempotency-Replayed"), response.read()


def pay_at_once(port: int, view: str, home: Path) -> None:
    """Requests under one lock never overlap and their fences grow; of those with one key one runs."""
    key = {"Idempotency-Key": '"one"'}
    with ThreadPoolExecutor(8) as pool:
        paid = list(pool.map(lambda turn: pay(port, f"{'7' if turn % 2 else '007'}/{view}"), range(24)))
        once = list(pool.map(lambda _: pay(port, f"8/{view}", **key), range(6)))
    again = pay(port, f"8/{view}", **key)
    assert [status for status, _, _ in paid] == [200] * 24
    fences = [int(line) for line in (home / "7.fences").read_text().split()]
    assert (len(fences), fences) == (24, sorted(set(fences)))
    assert {status for status, _, _ in once} <= {200, 409}
    assert len((home / "8.fences").read_text().split()) == 1
    assert again[:2] == (200, "true")
    assert {body for status, _, body in once if status == 200} == {again[2]}


@pytest.mark.parametrize("view", ["pay", "apay"])
@pytest.mark.parametrize("workers", [SYNC, THREADS], ids=["sync", "threads"])
def test_requests_for_one_order_run_one_at_a_time_and_once_for_a_key(
    redis_mw_settings: Settings, tmp_path: Path, workers: list[str], view: str
) -> None:
    home = Path(__file__).parent
    with serving(home, redis_mw_settings, tmp_path / "log", *workers, HOME_OF_ORDERS=str(tmp_path)) as browser:
        pay_at_once(browser.port, view, tmp_path)


@pytest.mark.parametrize("view", ["pay", "apay"])
def test_so_they_do_under_uvicorn(redis_mw_settings: Settings, tmp_path: Path, view: str) -> None:
    with uvicorn(redis_mw_settings, tmp_path) as port:
        pay_at_once(port, view, tmp_path)
