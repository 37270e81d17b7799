"""Over real HTTP: gunicorn's workers, made by a fork after the application was, and clients that hang up."""

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
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


def status_of(browser: Browser, path: str) -> tuple[socket.socket, bytes]:
    """The first bytes of an answer, which goes on."""
    link = socket.create_connection(("127.0.0.1", browser.port), timeout=20)
    link.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return link, link.recv(12)


@pytest.mark.parametrize("path", ["/watch", "/hold"], ids=["slot", "lock"])
@pytest.mark.parametrize("workers", [SYNC, THREADS], ids=["sync", "threads"])
def test_a_stream_holds_what_it_took_in_all_workers_until_its_client_hangs_up(serve, workers, path):
    browser = serve(*workers)

    def served() -> bool:
        link, status = status_of(browser, path)
        with closing(link):
            return status == b"HTTP/1.1 200"

    link, status = status_of(browser, path)
    with closing(link):
        assert status == b"HTTP/1.1 200"
        assert not served() and not served()
    until(served, "it is free")


@pytest.mark.parametrize("workers", [SYNC, THREADS], ids=["sync", "threads"])
def test_requests_in_several_workers_never_hold_a_lock_together_and_fences_grow(serve, workers, together):
    browser = serve(*workers)
    turns = together(8, lambda number: [browser.get("/alone") for _ in range(5)])
    held = sorted((turn for some in turns for turn in some), key=lambda turn: turn["fence"])
    assert len(held) == 40 == len({turn["fence"] for turn in held})
    assert all(before["ended"] <= after["began"] for before, after in itertools.pairwise(held))


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
@pytest.mark.parametrize("workers", [SYNC, THREADS], ids=["sync", "threads"])
def test_a_key_that_several_workers_get_at_once_runs_once(serve, workers, together, chunked):
    port = serve(*workers).port

    def order(number: int) -> tuple[bytes, str | None]:
        with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            body = iter([b"a ", b"body"]) if chunked else b"a body"
            connection.request("POST", "/order", body, {"Idempotency-Key": '"one"'}, encode_chunked=chunked)
            answer = connection.getresponse()
            return answer.read(), answer.getheader("Idempotency-Replayed")

    answers = together(6, order)
    assert len({body for body, _ in answers}) == 1 and b"number" in answers[0][0]
    assert sorted(str(replayed) for _, replayed in answers) == ["None", *["true"] * 5]


@pytest.mark.parametrize("workers", [SYNC, THREADS], ids=["sync", "threads"])
def test_a_page_that_several_workers_want_at_once_is_made_once_and_anew_behind_their_backs(serve, workers, together):
    browser = serve(*workers, USED_BEFORE_FORK="1")
    pages = together(8, lambda number: browser.get("/page"))
    assert len(pages) == 8 and len({page["made"] for page in pages}) == 1
    assert browser.get("/page") == pages[0]
    _ = browser.get("/drop")
    assert browser.get("/page") == pages[0], "nobody waits"
    until(lambda: browser.get("/page")["made"] != pages[0]["made"], "it is not made anew")
    assert len({browser.get("/page")["made"] for _ in range(5)}) == 1
