"""Over real HTTP: gunicorn's workers, and clients that hang up in the middle of a request."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
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


def pay(port: int, order_id: str, **headers: str) -> tuple[int, str | None, bytes]:
    """The status, whether it is a replay, and the body."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", f"/orders/{order_id}/pay/", b"{}", {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, response.getheader("Idempotency-Replayed"), response.read()


@pytest.mark.parametrize("workers", [SYNC, THREADS], ids=["sync", "threads"])
def test_requests_under_one_lock_never_overlap_and_a_repeat_is_a_replay(
    redis_mw_settings: Settings, tmp_path: Path, workers: list[str]
) -> None:
    with serving(
        Path(__file__).parent, redis_mw_settings, tmp_path / "log", *workers, HOME_OF_ORDERS=str(tmp_path)
    ) as browser:
        with ThreadPoolExecutor(8) as pool:
            paid = list(pool.map(lambda turn: pay(browser.port, "7" if turn % 2 else "007"), range(24)))
            once = list(pool.map(lambda _: pay(browser.port, "8", **{"Idempotency-Key": '"one"'}), range(6)))
        again = pay(browser.port, "8", **{"Idempotency-Key": '"one"'})
    assert [status for status, _, _ in paid] == [200] * 24
    fences = [int(line) for line in (tmp_path / "7.fences").read_text().split()]
    assert fences == sorted(set(fences)) and len(fences) == 24
    assert {status for status, _, _ in once} <= {200, 409}
    assert len((tmp_path / "8.fences").read_text().split()) == 1
    assert again[:2] == (200, "true")
    assert {body for status, _, body in once if status == 200} == {again[2]}
