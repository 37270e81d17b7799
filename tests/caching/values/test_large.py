"""Large values: compressed, and beyond a limit in chunks where the settings allow it."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from redis_mw.caching.tags import name_of
from redis_mw.testing import count_round_trips

Make = Callable[..., Any]


@pytest.fixture
def chunky(make: Make) -> Any:
    return make(chunks=True, max_value=300_000)


def keys(client: Any, kept: Any) -> list[bytes]:
    return sorted(kept.scan_iter(f"{client.mw.settings.prefix}:d1:*", count=1000))


def test_a_large_value_is_stored_in_chunks_and_comes_back(chunky: Any, kept: Any, make_load: Any) -> None:
    value = os.urandom(700_000)
    with count_round_trips() as trips:
        assert chunky.get_or_set("a", make_load(value), ttl=60, tags=["t"]) == value
    assert trips.awaited == 3
    assert len(keys(chunky, kept)) == 4
    with count_round_trips() as trips:
        assert chunky.get("a") == value
    assert trips.awaited == 2
    chunky.drop_tag("t")
    assert chunky.get("a") is None


def test_chunks_go_with_their_value(chunky: Any, kept: Any) -> None:
    for end in (lambda: chunky.delete("a"), lambda: chunky.set("a", 1, ttl=60)):
        chunky.set("a", os.urandom(700_000), ttl=60)
        chunky.set("a", os.urandom(600_000), ttl=60)
        assert len(keys(chunky, kept)) == 4
        end()
        assert len(keys(chunky, kept)) <= 1


def test_a_chunk_that_is_missing_is_a_miss(chunky: Any, kept: Any, make_load: Any) -> None:
    chunky.set("a", os.urandom(700_000), ttl=60)
    chunk = next(key for key in keys(chunky, kept) if key.endswith(b":1"))
    kept.delete(chunk)
    assert chunky.get("a", default="miss") == "miss"
    assert chunky.get_or_set("a", make_load("made"), ttl=60) == "made" and chunky.get("a") == "made"


def test_chunks_of_what_was_dropped_meanwhile_are_not_left_behind(chunky: Any, kept: Any, make_load: Any) -> None:
    load = make_load(os.urandom(700_000), held=True)
    first = chunky.start("get_or_set", "a", chunky.loader(load), ttl=60)
    load.wait()
    chunky.delete("a")
    load.gate.set()
    assert first.result(60) == load.value
    assert keys(chunky, kept) == []


def test_what_is_large_but_compresses_well_needs_no_chunks(chunky: Any, kept: Any) -> None:
    chunky.set("a", "abc" * 1_000_000, ttl=60)
    assert chunky.get("a") == "abc" * 1_000_000
    assert len(keys(chunky, kept)) == 1 and kept.strlen(chunky.mw.cache.room.commands.key(name_of("a"))) < 50_000


def test_copies_of_a_large_value_have_their_own_chunks(chunky: Any, kept: Any) -> None:
    value = os.urandom(400_000)
    chunky.set("a", value, ttl=60, hot=2)
    assert len(keys(chunky, kept)) == 6
    for _ in range(5):
        assert chunky.get_or_set("a", lambda: "other", ttl=60, hot=2) == value
    chunky.delete("a")
    assert keys(chunky, kept) == []
