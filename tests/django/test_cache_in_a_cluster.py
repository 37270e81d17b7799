"""``redis_mw_django.cache.RedisCache`` whose LOCATION is a cluster: each call does there what it does on one server."""

from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import caches
from fleets import calls
from kept import kept_by
from spread import Replica, behind

from redis_mw.errors import SettingsError
from redis_mw.settings import replace
from redis_mw.testing import count_round_trips
from redis_mw_django.application import application
from redis_mw_django.cache import RedisCache
from redis_mw_django.entries import named

OURS = "redis_mw_django.cache.RedisCache"
KEYS = [str(number) for number in range(30)]


@pytest.fixture(params=[False, True], ids=["primaries", "replicas"])
def cache(request: pytest.FixtureRequest, settings: Any, cluster: Any) -> Iterator[Any]:
    """One whose LOCATION is the cluster; the rest of redis-mw stays where REDIS_MW says, and reads no replicas."""
    if request.param:
        settings.REDIS_MW = replace(
            settings.REDIS_MW, url={"default": settings.REDIS_MW.url, "cache": cluster.url}, read_replicas=True
        )
    settings.CACHES = {"default": {"BACKEND": OURS, "LOCATION": "" if request.param else cluster.url}}
    yield caches["default"]
    with kept_by(application("" if request.param else cluster.url).settings) as kept:
        for key in kept.scan_iter(f"{settings.REDIS_MW.prefix}:*", count=1000):
            assert kept.pttl(key) != -1, key


def at(key: str) -> str:
    return application().caching.commands.key(named(f":1:{key}"))


def test_what_is_set_is_there_wherever_its_slot_is(cache: Any, cluster: Any) -> None:
    assert len({cluster.primary_of(at(key)) for key in KEYS}) == 3
    assert cache.set_many({key: int(key) for key in KEYS}) == []
    with count_round_trips() as counted:
        assert cache.get_many([*KEYS, "nothing"]) == {key: int(key) for key in KEYS}
    assert counted.total <= 2
    assert cache.has_key("7") and not cache.has_key("nothing")
    cache.delete_many(KEYS[:10])
    assert set(cache.get_many(KEYS)) == set(KEYS[10:])
    assert cache.delete("10") is True and cache.delete("10") is False and cache.get("10") is None
    assert async_to_sync(cache.aget_many)(KEYS) == {key: int(key) for key in KEYS[11:]}


def test_adding_counting_and_touching_see_what_is_there(cache: Any) -> None:
    assert cache.add("a", 1, 60) is True and cache.add("a", 2, 60) is False
    assert cache.incr("a") == 2 and cache.decr("a", 5) == -3 == cache.get("a")
    assert cache.touch("a", 100) is True and cache.touch("nothing", 100) is False
    assert cache.touch("a", 0) is True and cache.get("a") is None and cache.add("a", "x", 0) is True
    with pytest.raises(ValueError):
        cache.incr("a")
    assert cache.get_or_set("b", lambda: "made", 60) == "made" == cache.get_or_set("b", lambda: "again", 60)
    assert cache.incr_version("b") == 2 and cache.get("b") is None and cache.get("b", version=2) == "made"


def test_clearing_forgets_all_for_every_call(cache: Any) -> None:
    cache.set_many({key: int(key) for key in KEYS})
    with count_round_trips() as counted:
        cache.clear()
    assert counted.commands == ["EVALSHA"]
    assert cache.get_many(KEYS) == {} and not cache.has_key("1")
    assert cache.delete("2") is False and cache.touch("3") is False and cache.add("4", "new") is True
    with pytest.raises(ValueError):
        cache.incr("5")
    assert cache.get_many(KEYS) == {"4": "new"}
    cache.set_many(dict.fromkeys(KEYS, "anew"))
    assert cache.get_many(KEYS) == dict.fromkeys(KEYS, "anew")


@pytest.mark.parametrize("cache", [True], indirect=True)
def test_what_was_changed_here_is_not_read_from_a_replica_that_is_behind(cache: Any, cluster: Any) -> None:
    cache.set_many({"n": 1, "set": 1, "deleted": 1, "touched": 1, "added": 1, "cleared": 1})
    with behind(cluster):
        cache.delete("added")
        cache.set("set", 2)
        assert cache.incr("n") == 2 and cache.delete("deleted") and cache.touch("touched", 0) and cache.add("added", 2)
        assert cache.get_many(["n", "set", "deleted", "touched", "added"]) == {"n": 2, "set": 2, "added": 2}
        cache.clear()
        application().caching.memory.changed._until.clear()
        assert cache.get_many(["n", "set", "deleted", "touched", "added", "cleared"]) == {}


@pytest.mark.parametrize("cache", [True], indirect=True)
def test_with_read_replicas_entries_are_read_there(cache: Any, cluster: Any) -> None:
    cache.set("a", 1)
    replica = Replica(cluster, at("a"))
    replica.catch_up()
    application().caching.memory.changed._until.clear()
    before = calls(replica.node, "get")
    assert [cache.get("a") for _ in range(5)] == [1] * 5
    assert calls(replica.node, "get") == before + 5


@pytest.mark.parametrize("cache", [False], indirect=True)
def test_a_location_that_is_a_cluster_keeps_what_the_settings_say_of_replicas(
    settings: Any, cache: Any, cluster: Any
) -> None:
    url = {"default": settings.REDIS_MW.url, "cache": cluster.url}
    settings.REDIS_MW = replace(settings.REDIS_MW, url=url, read_replicas=True)
    assert application(cluster.url).settings.read_replicas
    assert not application(settings.REDIS_MW.url_of("default")).settings.read_replicas
    cache.set("a", 1)
    assert cache.get("a") == 1


def test_a_cluster_that_is_written_wrong_is_refused_and_no_password_is_told() -> None:
    with pytest.raises(SettingsError, match=r"^LOCATION: ") as refused:
        _ = RedisCache("cluster://:hidden@a:1,b:x", {}).get("a")
    assert "hidden" not in str(refused.value)
