"""``mw.cache``: what it keeps and for how long, in exactly so many round trips."""

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from by_hand import until

from redis_mw import CannotEncode, Event, RedisMW, Settings, SettingsError, ValueTooLarge, replace
from redis_mw.caching.tags import name_of
from redis_mw.faces.cache import AsyncCache, SyncCache
from redis_mw.testing import count_round_trips

RENAMED = {"close": "aclose"}


class User(msgspec.Struct):
    id: int
    name: str


def test_the_two_faces_have_the_same_methods_with_the_same_parameters() -> None:
    def methods(face: type) -> dict[str, Any]:
        return {name: each for name, each in vars(face).items() if inspect.isfunction(each) and name[0] != "_"}

    one, other = methods(SyncCache), methods(AsyncCache)
    assert {RENAMED.get(name, name) for name in one} == set(other)
    for name, method in one.items():
        here, there = inspect.signature(method), inspect.signature(other[RENAMED.get(name, name)])
        assert [(p.name, p.kind, p.default) for p in here.parameters.values()] == [
            (p.name, p.kind, p.default) for p in there.parameters.values()
        ]


def test_without_a_cache_the_face_says_that_it_is_off(redis_mw_settings: Settings) -> None:
    with RedisMW(replace(redis_mw_settings, cache=None)) as mw, pytest.raises(SettingsError, match="turned off"):
        _ = mw.cache


def test_what_was_set_is_got_and_what_was_deleted_is_not(client: Any, kept: Any) -> None:
    with count_round_trips() as trips:
        assert client.get("a") is None and client.get("a", default=5) == 5
        assert client.set("a", {"x": [1, (2, 3)]}, ttl=60) is True
        assert client.get("a") == {"x": [1, (2, 3)]}
        assert client.delete("a", "b") is True
        assert client.get("a", default="gone") == "gone"
    assert trips.awaited == 6 and trips.total == 6


def test_a_stored_none_is_not_an_absent_value(client: Any, kept: Any) -> None:
    client.set("a", None, ttl=60)
    assert client.get("a", default=1) is None
    assert client.get_many(["a", "b"]) == {"a": None}


def test_many_are_one_round_trip(client: Any, kept: Any) -> None:
    with count_round_trips() as trips:
        assert client.set_many({f"k{n}": n for n in range(20)}, ttl=60) is True
        assert client.get_many([f"k{n}" for n in range(22)]) == {f"k{n}": n for n in range(20)}
        assert client.delete(*[f"k{n}" for n in range(20)]) is True
    assert trips.awaited == 3
    assert client.get_many([]) == {} and client.delete() is True and client.set_many({}) is True


def test_a_miss_and_its_store_are_two_round_trips_and_a_hit_is_one(
    client: Any, kept: Any, make_load: Any, place: str
) -> None:
    load = make_load({"id": 1})
    with count_round_trips() as trips:
        assert client.get_or_set("a", client.loader(load), ttl=60, tags=["x", "y"]) == {"id": 1}
        assert trips.awaited == 2
        assert client.get_or_set("a", client.loader(load), ttl=60, tags=["x", "y"]) == {"id": 1}
        assert trips.awaited == 3
    one = 1 if place == "server" else 3
    assert load.calls == 1 and trips.commands == ["EVALSHA"] * 3 * one, "in a cluster two tags are two more commands"


def test_a_function_that_is_not_a_coroutine_will_do(client: Any, kept: Any, make_load: Any) -> None:
    assert client.get_or_set("a", make_load(7), ttl=60) == 7


def test_a_miss_gives_what_a_hit_gives_and_nobody_shares_an_object(client: Any, kept: Any) -> None:
    value = [User(1, "ann")]
    first = client.get_or_set("a", lambda: value, ttl=60, type=list[User])
    second = client.get_or_set("a", lambda: value, ttl=60, type=list[User])
    assert first == second == value and first is not value and first[0] is not second[0]


def test_none_is_kept_for_its_own_time_and_not_at_all_for_0(client: Any, kept: Any, make_load: Any) -> None:
    load = make_load(None)
    for _ in range(2):
        assert client.get_or_set("a", load, ttl=60, negative=0) is None
    assert load.calls == 2
    for _ in range(2):
        assert client.get_or_set("a", load, ttl=3600, negative=10) is None
    assert load.calls == 3
    room = client.mw.cache.room
    at = room.commands.key(name_of("a"))
    assert 2_000 < kept.pttl(at) <= 10_000


def test_lifetimes_are_only_ever_shortened_and_short_ones_not_at_all(client: Any, kept: Any) -> None:
    commands = client.mw.cache.room.commands
    for n in range(50):
        client.set(f"a{n}", n, ttl=100)
    left = [kept.pttl(commands.key(name_of(f"a{n}"))) for n in range(50)]
    assert all(89_000 < each <= 100_000 for each in left) and max(left) - min(left) > 2_000
    client.get_or_set("b", lambda: 1, ttl=timedelta(seconds=100), jitter=0)
    client.set("c", 1, ttl=2)
    assert kept.pttl(commands.key(name_of("b"))) > 99_000
    assert 1_000 < kept.pttl(commands.key(name_of("c"))) <= 2_000


def test_values_are_read_as_the_type_that_is_asked_for(client: Any, kept: Any, heard: list[Event]) -> None:
    client.set("a", User(1, "ann"), ttl=60)
    assert client.get("a", type=User) == User(1, "ann")
    assert client.get("a") == {"id": 1, "name": "ann"}
    assert client.get_many(["a"], type=dict[str, int | str]) == {"a": {"id": 1, "name": "ann"}}
    assert client.get("a", type=list[User], default="miss") == "miss"
    assert [event.name for event in heard][-2:] == ["cache.damaged", "cache.miss"]


def test_what_is_of_another_type_is_made_anew_and_replaced(client: Any, kept: Any, make_load: Any) -> None:
    client.set("a", "an older layout", ttl=60)
    load = make_load(User(2, "bob"))
    with count_round_trips() as trips:
        assert client.get_or_set("a", load, ttl=60, type=User) == User(2, "bob")
    assert trips.awaited == 3  # it is looked at, found unfit, the lease is taken for it, it is stored
    assert client.get_or_set("a", load, ttl=60, type=User) == User(2, "bob")
    assert load.calls == 1


def test_what_cannot_be_kept_is_an_error_that_says_what_to_do(client: Any, kept: Any) -> None:
    with pytest.raises(CannotEncode, match=r"value\['x'\]\[1\].*object.*store its id"):
        client.set("a", {"x": [1, object()]}, ttl=60)
    with pytest.raises(CannotEncode, match="type=User"):
        client.get_or_set("a", lambda: [User(1, "a")], ttl=60)
    with pytest.raises(CannotEncode, match="not of the type"):
        client.get_or_set("a", lambda: "text", ttl=60, type=int)
    assert client.get("a", default="nothing") == "nothing"
    room = client.mw.cache.room
    until(lambda: not kept.exists(room.commands.key(name_of("a"), part="l")), "the lease is given back")


def test_large_values_are_refused(make: Callable[..., Any], kept: Any) -> None:
    client = make(max_value=1000)
    with pytest.raises(ValueTooLarge, match="chunks") as caught:
        client.set("a", "x" * 1001)
    assert (caught.value.key, caught.value.limit) == ("a", 1000)
    client.set("a", "x" * 900)


@pytest.mark.parametrize(
    "how",
    [
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": "1"},
        {"ttl": 1, "tags": "ab"},
        {"ttl": 1, "tags": [1]},
        {"ttl": 1, "tags": [str(n) for n in range(33)]},
        {"ttl": 1, "hot": 0},
        {"ttl": 1, "hot": True},
    ],
)
def test_what_makes_no_sense_is_an_error_before_anything_is_sent(client: Any, how: dict[str, Any]) -> None:
    with count_round_trips() as trips:
        with pytest.raises((ValueError, TypeError)):
            client.set("a", 1, **how)
        with pytest.raises(TypeError):
            client.get(5)
    assert trips.total == 0


def test_write_through_stores_first_and_keeps_what_was_stored(client: Any, kept: Any) -> None:
    stored: list[int] = []

    def store(value: int) -> str:
        if value < 0:
            raise LookupError("refused")
        stored.append(value)
        return "row 1"

    assert client.write_through("a", 5, store, ttl=60, tags=["t"]) == "row 1"
    assert client.get("a") == 5 and stored == [5]
    with pytest.raises(LookupError):
        client.write_through("a", -1, store, ttl=60)
    with pytest.raises(CannotEncode):
        client.write_through("a", object(), store, ttl=60)
    assert client.get("a") == 5 and stored == [5]


def test_events_never_say_a_key(client: Any, heard: list[Event]) -> None:
    client.get_or_set("secret-key", lambda: 1, ttl=60, tags=["secret-tag"])
    client.get("secret-key")
    client.drop_tag("secret-tag")
    client.delete("secret-key")
    names = [event.name for event in heard]
    assert names == ["cache.miss", "cache.store", "cache.hit", "cache.purge", "cache.purge"]
    assert "secret" not in str(heard)
