"""Exactly how often a request asks Redis."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.testclient import TestClient

from redis_mw import Rule, Sessions, Settings, replace
from redis_mw.testing import count_round_trips


def test_without_a_cookie_nothing_is_asked(client: TestClient) -> None:
    with count_round_trips() as trips:
        _ = client.get("/untouched")
        _ = client.get("/show")
    assert trips.total == 0


def test_a_good_cookie_costs_one_trip_whether_the_session_is_read_or_not(client: TestClient) -> None:
    _ = client.post("/put", json={"a": 1})
    with count_round_trips() as trips:
        _ = client.get("/untouched")
    assert (trips.awaited, trips.detached) == (1, 0)
    with count_round_trips() as trips:
        assert client.get("/show").json() == {"a": 1}
    assert (trips.awaited, trips.detached) == (1, 0)


def test_creating_costs_one_trip(client: TestClient) -> None:
    with count_round_trips() as trips:
        _ = client.post("/put", json={"a": 1})
    assert (trips.awaited, trips.detached) == (1, 0)


def test_modifying_costs_two(client: TestClient) -> None:
    _ = client.post("/put", json={"a": 1})
    with count_round_trips() as trips:
        _ = client.post("/put", json={"a": 2})
    assert (trips.awaited, trips.detached) == (2, 0)


def test_writing_what_is_there_already_costs_no_write(client: TestClient) -> None:
    _ = client.post("/put", json={"a": [1, 2]})
    with count_round_trips() as trips:
        response = client.post("/put", json={"a": [1, 2]})
    assert (trips.awaited, trips.detached) == (1, 0)
    assert "set-cookie" not in response.headers


def test_logging_in_costs_two_and_once_more_for_whoever_was_logged_in_before(client: TestClient) -> None:
    _ = client.post("/put", json={"a": 1})
    with count_round_trips() as trips:
        _ = client.post("/login/42")
    assert (trips.awaited, trips.detached) == (2, 0)
    with client:  # one loop, whose end waits for what is in the background
        with count_round_trips() as trips:
            _ = client.post("/login/43")
        assert trips.awaited == 2


def test_logging_out_costs_two(client: TestClient) -> None:
    _ = client.post("/login/42")
    with count_round_trips() as trips:
        _ = client.post("/logout")
    assert trips.awaited == 2


def test_a_cookie_with_a_wrong_signature_costs_nothing(client: TestClient) -> None:
    _ = client.post("/put", json={"a": 1})
    good = client.cookies["session"]
    client.cookies.clear()
    client.cookies["session"] = good[:-2] + ("AA" if good[-2:] != "AA" else "BB")
    with count_round_trips() as trips:
        assert client.get("/show").json() == {}
    assert trips.total == 0


def test_a_skipped_path_asks_nothing_even_with_a_good_cookie(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    rules = [Rule("/show", session="skip")]
    client = client_of(settings=replace(redis_mw_settings, sessions=Sessions(skip=["/untouched"]), rules=rules))
    _ = client.post("/put", json={"a": 1})
    with count_round_trips() as trips:
        assert client.get("/untouched").status_code == 200
        assert client.get("/show").json() == {}
    assert trips.total == 0


def test_ten_thousand_visitors_who_write_nothing_leave_nothing_behind(
    app_of: Callable[..., Any], stored: Callable[[], list[str]]
) -> None:
    starts: list[Any] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            starts.append(message)

    async def visit_all() -> None:
        app = app_of()
        for number in range(10_000):
            path = "/show" if number % 2 else "/untouched"
            scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
            await app(scope, None, send)

    with count_round_trips() as trips:
        asyncio.run(visit_all())
    assert trips.total == 0 and stored() == []
    assert len(starts) == 10_000
    assert not any(name == b"set-cookie" for start in starts for name, _ in start["headers"])
