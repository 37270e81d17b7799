"""What is dropped is gone: also what is being made of it at that moment, in any process."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from by_hand import until

from redis_mw import Event
from redis_mw.caching.tags import name_of
from redis_mw.testing import count_round_trips

FOR_EVER = 60.0
Make = Callable[..., Any]


def test_a_tag_takes_along_all_that_hangs_on_it_for_one_command(client: Any, kept: Any) -> None:
    for n in range(30):
        client.set(f"a{n}", n, ttl=60, tags=["all", f"one:{n}"])
    client.set("other", 1, ttl=60)
    keys = [f"a{n}" for n in range(30)]
    with count_round_trips() as trips:
        assert client.drop_tag("one:3", "one:4") is True
    assert trips.awaited == 1 and len(trips.commands) == 2
    assert set(client.get_many(keys)) == set(keys) - {"a3", "a4"}
    with count_round_trips() as trips:
        assert client.drop_tag("all") is True
    assert trips.commands == ["EVALSHA"]
    assert client.get_many([*keys, "other"]) == {"other": 1}
    assert client.drop_tag() is True


def test_a_tag_can_be_used_again_at_once(client: Any, kept: Any) -> None:
    client.set("a", 1, ttl=60, tags=["t"])
    client.drop_tag("t")
    client.set("b", 2, ttl=60, tags=["t"])
    assert client.get_many(["a", "b"]) == {"b": 2}


def test_a_tag_dropped_softly_is_stale_given_at_once_and_made_anew(
    client: Any, kept: Any, make_load: Any, heard: list[Event]
) -> None:
    load = make_load("first")
    ask = ("get_or_set", "a", client.loader(load))
    assert client.start(*ask, ttl=60, tags=["t"]).result(FOR_EVER) == "first"
    assert client.drop_tag("t", soft=True) is True
    load.value = "second"
    load.gate.clear()
    assert client.start(*ask, ttl=60, tags=["t"]).result(FOR_EVER) == "first"
    load.wait()
    load.wait()
    assert client.start(*ask, ttl=60, tags=["t"]).result(FOR_EVER) == "first", "one makes it, all are served"
    assert client.get("a", default="only what is fresh") == "only what is fresh"
    load.gate.set()
    until(lambda: client.get("a") == "second", "it is made anew")
    assert load.calls == 2
    assert "cache.stale" in [event.name for event in heard]


def test_dropping_softly_what_is_dropped_revives_nothing(client: Any, kept: Any) -> None:
    client.set("a", 1, ttl=60, tags=["t"])
    client.drop_tag("t")
    client.drop_tag("t", soft=True)
    assert client.get("a") is None


@pytest.mark.parametrize("how", ["delete", "tag", "soft", "set", "elsewhere"])
def test_what_is_dropped_while_it_is_made_is_not_stored(
    make: Make, kept: Any, make_load: Any, heard: list[Event], how: str
) -> None:
    client, other = make(), make()
    old = make_load("old", held=True)
    first = client.start("get_or_set", "a", client.loader(old), ttl=60, tags=["t"])
    old.wait()
    match how:
        case "delete":
            client.delete("a")
        case "tag":
            client.drop_tag("t")
        case "soft":
            client.drop_tag("t", soft=True)
        case "set":
            client.set("a", "new", ttl=60)
        case _:
            other.delete("a")
    old.gate.set()
    assert first.result(FOR_EVER) == "old", "it was asked for before"
    assert client.get("a", default="nothing") == ("new" if how == "set" else "nothing")
    assert [event.outcome for event in heard if event.name == "cache.store"][-1] == "dropped meanwhile"
    assert client.get_or_set("a", make_load("new"), ttl=60, tags=["t"]) == "new"


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("how", ["delete", "tag"])
def test_who_asks_after_something_was_dropped_never_gets_what_was_made_before(
    make: Make, kept: Any, make_load: Any, how: str, where: str
) -> None:
    client, other = make(wait=30), make(wait=30)
    old, new = make_load("old", held=True), make_load("new")
    first = client.start("get_or_set", "a", client.loader(old), ttl=60, tags=["t"])
    old.wait()
    dropping = client if where == "here" else other
    _ = dropping.delete("a") if how == "delete" else dropping.drop_tag("t")
    late = client.start("get_or_set", "a", client.loader(new), ttl=60, tags=["t"])
    until(lambda: new.calls == 1 or where == "elsewhere" or how == "tag", "it is made anew, or follows what is made")
    old.gate.set()
    assert first.result(FOR_EVER) == "old" and late.result(FOR_EVER) == "new"
    assert client.get("a") == "new"


def test_a_value_is_dropped_in_all_its_copies(client: Any, kept: Any, make_load: Any) -> None:
    load = make_load("made")
    room = client.mw.cache.room
    for _ in range(40):
        assert client.get_or_set("a", load, ttl=60, hot=4, tags=["t"]) == "made"
    assert load.calls == 1
    keys = [room.commands.key(name_of("a"), copy) for copy in range(4)]
    assert kept.exists(*keys) == len(set(keys)) == 4
    assert not any(kept.exists(room.commands.key(name_of("a"), copy, "l")) for copy in range(4))
    client.delete("a")
    assert kept.exists(*keys) == 0
    client.set("a", "set", ttl=60, hot=4, tags=["t"])
    assert kept.exists(*keys) == 4
    client.drop_tag("t")
    load.value = "again"
    for _ in range(20):
        assert client.get_or_set("a", load, ttl=60, hot=4, tags=["t"]) == "again"


def test_no_copy_is_stored_of_what_was_dropped_while_it_was_made(make: Make, kept: Any, make_load: Any) -> None:
    client, other = make(), make()
    old = make_load("old", held=True)
    first = client.start("get_or_set", "a", client.loader(old), ttl=60, hot=4)
    old.wait()
    assert other.delete("a", hot=4) is True
    old.gate.set()
    assert first.result(FOR_EVER) == "old"
    room = client.mw.cache.room
    assert kept.exists(*[room.commands.key(name_of("a"), copy) for copy in range(4)]) == 0


# Stale, and early.


def test_what_is_stale_is_given_at_once_and_made_anew_in_the_background(client: Any, kept: Any, make_load: Any) -> None:
    load = make_load("first")
    client.get_or_set("a", load, ttl=0.05, stale=60)
    until(lambda: client.get("a") is None, "it is stale")
    load.value = "second"
    assert client.get_or_set("a", client.loader(load), ttl=60, stale=60) == "first"
    until(lambda: client.get("a") == "second", "it is made anew")
    assert load.calls == 2


def test_an_error_in_the_background_leaves_what_is_stale_and_is_not_repeated_at_once(
    client: Any, kept: Any, make_load: Any, heard: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    load = make_load("first")
    client.get_or_set("a", load, ttl=0.05, stale=60)
    until(lambda: client.get("a") is None, "it is stale")
    load.value = LookupError("the database is away")
    for _ in range(20):
        assert client.get_or_set("a", client.loader(load), ttl=60, stale=60) == "first"
    until(lambda: "not refreshed" in [event.outcome for event in heard], "it fails")
    assert load.calls == 2 and "the database is away" in caplog.text


@pytest.mark.parametrize(("early", "loads"), [(True, 2), (False, 1)])
def test_what_was_dear_is_made_anew_before_it_ends(
    client: Any, kept: Any, make_load: Any, early: bool, loads: int
) -> None:
    """With bad luck (a large number is drawn) it begins in the last fifth, and not before."""
    room = client.mw.cache.room
    room.luck = lambda: 0.999999
    load = make_load("first", held=True)
    first = client.start("get_or_set", "a", client.loader(load), ttl=2, early=early)
    load.wait()
    time.sleep(0.1)  # what it costs
    load.gate.set()
    assert first.result(FOR_EVER) == "first"
    assert client.get_or_set("a", client.loader(load), ttl=2, early=early) == "first"
    assert load.calls == 1, "not yet in the last fifth"
    at = room.commands.key(name_of("a"))
    until(lambda: 0 < kept.pttl(at) < 390, "it is in the last fifth")
    assert client.get_or_set("a", client.loader(load), ttl=60, early=early) == "first"
    until(lambda: load.calls == loads, "it is made anew")
