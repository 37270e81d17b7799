"""Over real HTTP: gunicorn's workers, made by a fork after the application was, and clients that hang up."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from by_hand import until
from gunicorn_server import SYNC, THREADS, Browser, hang_up_beside_another, serving

HERE = Path(__file__).parent


@pytest.fixture
def serve(redis_mw_settings, tmp_path) -> Iterator[Callable[..., Browser]]:
    """Serves ``served.app`` by gunicorn and gives a browser for it."""
    with ExitStack() as running:
        yield lambda *arguments, **environment: running.enter_context(
            serving(HERE, redis_mw_settings, tmp_path / "log", *arguments, **environment)
        )


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
    hang_up_beside_another(serve(*workers))


@pytest.mark.parametrize("workers", [SYNC, THREADS], ids=["sync", "threads"])
def test_a_stream_holds_its_slot_in_all_workers_until_its_client_hangs_up(serve, workers):
    browser = serve(*workers)

    def watching() -> tuple[socket.socket, bytes]:
        link = socket.create_connection(("127.0.0.1", browser.port), timeout=20)
        link.sendall(b"GET /watch HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return link, link.recv(12)

    def served() -> bool:
        link, status = watching()
        with closing(link):
            return status == b"HTTP/1.1 200"

    link, status = watching()
    with closing(link):
        assert status == b"HTTP/1.1 200"
        assert not served() and not served()
    until(served, "the slot is free")
