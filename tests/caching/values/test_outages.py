"""Redis away, full, slow or filled with junk: never an error, and what was dropped meanwhile is dropped later."""

import time
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from by_hand import until
from hypothesis import strategies as st

from redis_mw import Event
from redis_mw.caching.pending import MOST, Pending
from redis_mw.caching.tags import name_of
from redis_mw.testing import count_round_trips, outage

FOR_EVER = 60.0
Make = Callable[..., Any]


def test_without_redis_reads_are_misses_and_loads_run(client: Any, kept: Any, make_load: Any) -> None:
    client.set("a", 1, ttl=60)
    load = make_load("made", held=True)
    with outage(client.mw):
        assert client.get("a", default="miss") == "miss" and client.get_many(["a"]) == {}
        asking = [client.start("get_or_set", "b", client.loader(load), ttl=60) for _ in range(50)]
        load.wait()
        time.sleep(0.1)
        load.gate.set()
        assert [each.result(FOR_EVER) for each in asking] == ["made"] * 50
        assert load.calls == 1, "one load in a process, with Redis or without"
        assert client.set("c", 1, ttl=60) is False and client.set_many({"d": 1}) is False
    assert client.get("a") == 1 and client.get("b") is None


@pytest.mark.parametrize("how", ["delete", "tag", "soft", "set", "write_through"])
def test_what_was_dropped_while_redis_was_away_is_dropped_before_anything_is_read(
    client: Any, kept: Any, how: str
) -> None:
    client.set("a", "old", ttl=60, tags=["t"])
    with outage(client.mw):
        match how:
            case "delete":
                assert client.delete("a") is False
            case "set":
                assert client.set("a", "new") is False
            case "write_through":
                assert client.write_through("a", "new", lambda value: "stored") == "stored"
            case _:
                assert client.drop_tag("t", soft=how == "soft") is False
        assert client.delete("x", "x") is False
    with count_round_trips() as trips:
        assert client.get("a", default="nothing") == "nothing"
    assert trips.awaited == 2, "they are sent first, and then as ever"
    assert not client.mw.cache.room.memory.pending


def test_what_was_dropped_is_sent_though_nobody_asks(client: Any, kept: Any) -> None:
    client.set("a", "old", ttl=60)
    at = client.mw.cache.room.commands.key(name_of("a"))
    with outage(client.mw):
        client.delete("a")
        time.sleep(0.3)
        assert kept.exists(at)
    until(lambda: not kept.exists(at), "it is dropped")


def test_what_waits_is_bounded_and_the_latest_of_each() -> None:
    pending = Pending()
    for n in range(MOST + 10):
        pending.add(n, ())  # type: ignore[arg-type]
        pending.add(n, ())  # type: ignore[arg-type]
    assert len(pending) == MOST


def test_what_was_dropped_while_its_load_ran_without_redis_is_not_given_to_those_who_ask_later(
    client: Any, kept: Any, make_load: Any
) -> None:
    old, new = make_load("old", held=True), make_load("new")
    with outage(client.mw):
        first = client.start("get_or_set", "a", client.loader(old), ttl=60)
        old.wait()
        assert client.delete("a") is False
        assert client.get_or_set("a", client.loader(new), ttl=60) == "new"
        old.gate.set()
        assert first.result(FOR_EVER) == "old"


def test_a_silent_server_costs_one_patience_and_then_nothing(make: Make, server: Any) -> None:
    client = make(url=server.url, patience=0.3)
    assert client.get_or_set("warm", lambda: 1, ttl=60) == 1
    server.freeze()
    began = time.monotonic()
    assert client.get_or_set("a", lambda: 2, ttl=60) == 2
    first = time.monotonic() - began
    began = time.monotonic()
    for _ in range(20):
        assert client.get_or_set("a", lambda: 2, ttl=60) == 2
    assert first < 10 and time.monotonic() - began < 10
    server.thaw()
    until(lambda: client.get("warm") == 1, "it is used again")


def test_a_full_server_serves_what_it_has_and_stores_nothing(make: Make, server: Any, make_load: Any) -> None:
    import redis

    client = make(url=server.url)
    client.set("a", 1, ttl=60)
    with redis.Redis.from_url(server.url) as admin:
        admin.config_set("maxmemory", 1)
        load = make_load()
        assert client.get("a") == 1
        assert client.get_or_set("b", load, ttl=60) == "made"
        assert client.get_or_set("b", load, ttl=60) == "made"
        assert load.calls == 2
        assert client.set("c", 1, ttl=60) is False
        assert client.delete("a") in (True, False)
        admin.config_set("maxmemory", 0)
    assert client.get_or_set("b", load, ttl=60) == "made" and client.get("b") == "made"


@hypothesis.given(data=st.binary(max_size=80), how=st.sampled_from(["raw", "layout", "body", "chunks"]))
@hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
    max_examples=60,
)
def test_any_bytes_in_redis_are_a_miss_and_are_replaced(
    client: Any, kept: Any, heard: list[Event], data: bytes, how: str
) -> None:
    at = client.mw.cache.room.commands.key(name_of("a"))
    client.set("a", [1, 2, 3], ttl=60)
    good = kept.get(at)
    match how:
        case "layout":
            data = b"\x01" + data
        case "body":
            data = good[:36] + data
        case "chunks":
            data = good[:1] + b"\x21" + good[2:36] + data
        case _:
            pass
    kept.set(at, data, px=60_000)
    heard.clear()
    # msgpack of any bytes may well be a list of numbers; a text of this length it is not.
    assert client.get("a", type=list[tuple[str, str, str]], default="miss") in ("miss", [])
    assert client.get_or_set("a", lambda: [("x", "y", "z")], ttl=60, type=list[tuple[str, str, str]]) in (
        [("x", "y", "z")],
        [],
    )
    assert {event.name for event in heard} <= {"cache.damaged", "cache.miss", "cache.hit", "cache.store"}


def test_what_is_damaged_is_told(client: Any, kept: Any, heard: list[Event]) -> None:
    at = client.mw.cache.room.commands.key(name_of("a"))
    client.set("a", "x" * 5000, ttl=60)
    good = kept.get(at)
    for junk in (b"junk", good[:-1], good[:40] + b"\x00" + good[41:]):
        kept.set(at, junk, px=60_000)
        heard.clear()
        assert client.get("a", default="miss") == "miss"
        assert [event.name for event in heard] == ["cache.damaged", "cache.miss"]
