"""Entries read from replicas: what that costs, and what is never read there, or never used."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from by_hand import until
from clusters import Cluster
from kept import kept_by
from spread import Replica, Spread, behind, calm, processes, trips
from visiting import DAMAGES, FOR_EVER, Made, Origin, damage

from redis_mw import AsyncRedisMW, Cached, Settings, replace
from redis_mw.caching.pages.commands import Question
from redis_mw.caching.values.entry import CHUNK
from redis_mw.http.request import Fields, Request
from redis_mw.testing import count_round_trips, outage

pytestmark = pytest.mark.one_server  # these have a cluster anyway

Make = Callable[..., Spread]
ANY = Request("GET", "/", "", host="example.com", headers=Fields(()))
TAGGED = Cached(60, jitter=0, tags=["t"])
SOFT = Cached(60, jitter=0, tags=["t"], stale=120)


def reading(settings: Settings, cluster: Any) -> Settings:
    url = {"default": settings.url_of("default"), "cache": cluster.url}
    return replace(settings, url=url, read_replicas=True)


@pytest.fixture(params=["threads", "asyncio"])
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(redis_mw_settings: Settings, cluster: Cluster, colour: str) -> Iterator[Make]:
    """Makes processes of one colour that read from replicas; every test that asks for this is run with both."""
    with processes(colour, reading(redis_mw_settings, cluster)) as made:
        yield made


@pytest.fixture
def kept(redis_mw_settings: Settings, cluster: Cluster) -> Iterator[Any]:
    """What the cluster keeps; nothing of it for ever."""
    with kept_by(reading(redis_mw_settings, cluster)) as client:
        yield client
        for key in client.scan_iter(f"{redis_mw_settings.prefix}:*", count=1000):
            assert client.pttl(key) != -1, key


@pytest.fixture
def one(make: Make, kept: Any) -> Spread:
    return make()


@pytest.fixture
def other(make: Make, one: Spread) -> Spread:
    return make()


def asks(**fields: str) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", "-"), value) for name, value in fields.items())


def replica_at(cluster: Cluster, key: str) -> Replica:
    """The replica, when it has all."""
    replica = Replica(cluster, key)
    replica.catch_up()
    return replica


def language(request: Request) -> Made:
    return Made((request.headers.get("accept-language") or "").encode(), (("Vary", "Accept-Language"),))


def set_of(replicas: list[Replica]) -> list[Replica]:
    return list({replica.node: replica for replica in replicas}.values())


def loading(process: Spread, load: Callable[[], Any]) -> Any:
    """Something to load with, as code of this colour would write it."""
    if not isinstance(process.colour.mw, AsyncRedisMW):
        return load

    async def loading() -> Any:
        return await asyncio.to_thread(load)

    return loading


def storing(process: Spread) -> Any:
    """Something to write through to."""

    async def store(_: Any) -> None:
        """It is there."""

    return store if isinstance(process.colour.mw, AsyncRedisMW) else lambda _: None


def long_ago(process: Spread) -> None:
    """Have all that it changed be long ago."""
    process.room.memory.changed._until.clear()


# What it costs


@pytest.mark.parametrize("tags", [[], ["t", "u"]])
def test_a_value_that_a_replica_has_is_read_there_in_one_trip(
    one: Spread, other: Spread, cluster: Cluster, tags: list[str]
) -> None:
    for name in ("a", "b", "c"):
        assert one.value("get_or_set", name, lambda: 1, ttl=60, tags=tags) == 1
    replicas = [replica_at(cluster, one.key(name)) for name in ("a", "b", "c")]
    assert other.value("get", "a") == 1  # it learns which tags it hangs on
    before = sum(replica.reads() for replica in set_of(replicas))
    with count_round_trips() as counted:
        assert other.value("get", "a") == 1
    assert counted.awaited == 1 and "EVALSHA" not in counted.commands
    with count_round_trips() as counted:
        assert other.value("get_or_set", "a", lambda: 2, ttl=60, tags=tags) == 1
    assert counted.awaited == 1 and "TIME" in counted.commands and "EVALSHA" not in counted.commands
    assert sum(replica.reads() for replica in set_of(replicas)) == before + 2
    assert other.value("get_many", ["a", "b", "c", "d"]) == {"a": 1, "b": 1, "c": 1}
    assert trips(other.value, "get_many", ["a", "b", "c", "d"]) == (1, {"a": 1, "b": 1, "c": 1})


def test_any_copy_of_a_value_is_read_from_its_replica(one: Spread, other: Spread, cluster: Cluster) -> None:
    assert one.value("get_or_set", "a", lambda: 1, ttl=60, hot=4, tags=["t"]) == 1
    for copy in range(4):
        replica = replica_at(cluster, one.key("a", copy))
        other.room.luck = partial(float, (copy + 0.5) / 4)
        _ = other.value("get_or_set", "a", lambda: 2, ttl=60, hot=4, tags=["t"])
        before = replica.reads()
        assert trips(other.value, "get_or_set", "a", lambda: 2, ttl=60, hot=4, tags=["t"]) == (1, 1)
        assert replica.reads() == before + 1
    one.value("drop_tag", "t")
    other.room.luck = lambda: 0.9
    assert other.value("get_or_set", "a", lambda: 2, ttl=60, hot=4, tags=["t"]) == 2


@pytest.mark.parametrize("policy", [Cached(60, jitter=0), TAGGED])
def test_a_page_that_a_replica_has_is_read_there_in_one_trip(
    one: Spread, other: Spread, cluster: Cluster, policy: Cached
) -> None:
    one.get(policy=policy)
    replica = replica_at(cluster, one.page(policy=policy))
    before = replica.reads()
    with count_round_trips() as counted:
        got = other.get(policy=policy)
    assert (got.body, got.ran, counted.awaited) == (b"made", False, 1)
    assert replica.reads() == before + 1 and "EVALSHA" not in counted.commands


def test_a_miss_takes_two_trips_and_to_store_what_is_made_one(one: Spread, cluster: Cluster) -> None:
    assert trips(one.value, "get", "a") == (1, None)
    assert trips(one.value, "get_or_set", "a", lambda: 1, ttl=60, tags=["t"]) == (3, 1)
    taken, got = trips(one.get, policy=TAGGED)
    assert (taken, got.ran) == (3, True)


def test_what_this_process_has_made_it_reads_where_it_has_put_it(one: Spread, cluster: Cluster) -> None:
    one.value("get_or_set", "a", lambda: 1, ttl=60, tags=["t"])
    one.get(policy=TAGGED)
    replicas = [replica_at(cluster, one.key("a")), replica_at(cluster, one.page(policy=TAGGED))]
    before = [replica.reads() for replica in replicas]
    assert trips(one.value, "get", "a") == (1, 1)
    taken, got = trips(one.get, policy=TAGGED)
    assert (taken, got.ran) == (1, False)
    assert [replica.reads() for replica in replicas] == before


def test_what_a_url_varies_by_is_learnt_from_a_replica(make: Make, one: Spread, cluster: Cluster) -> None:
    other = make()
    one.origin.made = other.origin.made = language
    for each in ("de", "en"):
        one.get(headers=asks(Accept_Language=each))
    replica_at(cluster, one.page())
    taken, got = trips(other.get, headers=asks(Accept_Language="de"))
    assert (taken, got.body, got.ran) == (2, b"de", False)
    taken, got = trips(other.get, headers=asks(Accept_Language="en"))
    assert (taken, got.body, got.ran) == (1, b"en", False), "it has learned it"
    taken, got = trips(other.get, headers=asks(Accept_Language="fr"))
    assert (taken, got.body, got.ran) == (3, b"fr", True)


def test_what_needs_no_body_moves_none(
    one: Spread, other: Spread, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = str(one.get().headers.get("etag"))
    replica_at(cluster, one.page())
    asked: list[tuple[Any, ...]] = []
    read = other.room.pages.read

    def listened(question: Question) -> Any:
        command, clock = read(question)
        asked.append(command.args)
        return command, clock

    monkeypatch.setattr(other.room.pages, "read", listened)
    for headers, method, status in [
        (asks(If_None_Match=etag), "GET", 304),
        ((), "HEAD", 200),
        (asks(If_None_Match=etag), "HEAD", 304),
    ]:
        taken, got = trips(other.get, headers=headers, method=method)
        assert (got.status, got.body, got.ran, taken) == (status, b"", False, 1)
    assert [[str(word)[:2] for word in words[2:]] for words in asked] == [["v", "m:"]] * 3
    taken, got = trips(other.get, headers=asks(If_None_Match='"other"'))
    assert (got.status, got.body, got.ran, taken) == (200, b"made", False, 2)
    assert [str(word)[:2] for word in asked[-1][2:]] == ["v", "m:", "b:"]


def test_what_comes_in_chunks_is_put_together(make: Make, kept: Any, cluster: Cluster) -> None:
    one, other = (make(max_value=300_000, max_body=1000, chunks=True) for _ in range(2))
    value, body = os.urandom(700_000), os.urandom(CHUNK * 2 + 3)
    one.origin.made = Made(body, (("Content-Type", "image/png"),))
    one.value("set", "a", value, ttl=60, tags=["t"])
    one.get(policy=TAGGED)
    replicas = [replica_at(cluster, one.key("a")), replica_at(cluster, one.page(policy=TAGGED))]
    before = sum(replica.reads() for replica in set_of(replicas))
    assert other.value("get", "a", type=bytes) == value
    got = other.get(policy=TAGGED)
    assert got.body == body and not got.ran
    assert sum(replica.reads() for replica in set_of(replicas)) == before + 2
    one.value("drop_tag", "t")
    assert other.value("get", "a") is None


# Leases are where the primary is


VALUE_TIMES, PAGE_TIMES = (4, 12, 20), (5, 21, 29, 37)


def older(data: bytes, seconds: int, times: tuple[int, ...]) -> bytes:
    """An entry as it is so many seconds later."""
    for at in times:
        us = int.from_bytes(data[at : at + 8], "big") - seconds * 1_000_000
        data = data[:at] + us.to_bytes(8, "big") + data[at + 8 :]
    return data


def dear(data: bytes, at: int) -> bytes:
    """An entry as if it had cost 100 s to make."""
    return data[:at] + (100_000_000).to_bytes(4, "big") + data[at + 4 :]


@pytest.mark.parametrize("how", ["soft", "time"])
def test_a_value_that_is_stale_is_given_and_one_of_many_makes_it_anew(
    make: Make, kept: Any, cluster: Cluster, how: str
) -> None:
    one, others = make(), [make() for _ in range(3)]
    one.value("get_or_set", "a", lambda: "old", ttl=60, stale=120, tags=["t"])
    if how == "soft":
        one.value("drop_tag", "t", soft=True)
    else:
        kept.set(one.key("a"), older(kept.get(one.key("a")), 70, VALUE_TIMES), keepttl=True)
    replica_at(cluster, one.key("a"))
    origin = Origin(lambda _: "new", held=True)
    load = partial(origin, ANY)
    late: dict[str, Any] = {"ttl": 60, "stale": 120, "tags": ["t"], "early": False}
    asking = [each.start_value("get_or_set", "a", loading(each, load), **late) for each in others for _ in range(5)]
    assert [each.result(FOR_EVER) for each in asking] == ["old"] * 15
    origin.wait()
    origin.gate.set()
    until(lambda: all(each.value("get", "a") == "new" for each in others), "it is made anew")
    assert origin.runs == 1


@pytest.mark.parametrize("how", ["soft", "time"])
def test_a_page_that_is_stale_is_given_and_one_of_many_makes_it_anew(
    make: Make, kept: Any, cluster: Cluster, how: str
) -> None:
    one, origin = make(), Origin(held=True)
    others = [make(origin) for _ in range(3)]
    origin.made = Made(b"new")
    one.get(policy=SOFT)
    if how == "soft":
        one.drop_tag("t", soft=True)
    else:
        one.age(seconds=70, policy=SOFT)
    replica_at(cluster, one.page(policy=SOFT))
    asking = [each.start(policy=SOFT) for each in others for _ in range(5)]
    assert [each.result(FOR_EVER).body for each in asking] == [b"made"] * 15
    origin.wait()
    assert len(one.held(policy=SOFT)) == 1
    origin.gate.set()
    for each in others:
        each.refreshed()
        replica_at(cluster, one.page(policy=SOFT))
        assert each.get(policy=SOFT).body == b"new"
    assert origin.runs == 1


def test_what_ends_soon_is_made_anew_by_one(make: Make, kept: Any, cluster: Cluster) -> None:
    policy, one, origin = Cached(950, jitter=0), make(), Origin(held=True)
    late: dict[str, Any] = {"ttl": 950, "early": True}
    one.get(policy=policy)
    one.value("get_or_set", "a", lambda: "old", **late)
    page, value = one.page(policy=policy), one.key("a")
    field = next(field for field in kept.hkeys(page) if field[:2] == b"m:")
    kept.hset(page, field, dear(older(kept.hget(page, field), 900, PAGE_TIMES), 45))
    kept.set(value, dear(older(kept.get(value), 900, VALUE_TIMES), 28), keepttl=True)
    for key in (page, value):
        _ = replica_at(cluster, key)
    others = [make(origin) for _ in range(3)]
    loads = Origin(lambda _: "new", held=True)
    for each in others:
        each.room.luck = lambda: 0.0
        assert not each.get(policy=policy).ran and not each.refreshes
        assert trips(each.value, "get_or_set", "a", loading(each, partial(loads, ANY)), **late) == (1, "old")
        each.room.luck = lambda: 0.9
    asking = [each.start(policy=policy) for each in others for _ in range(3)]
    assert [each.result(FOR_EVER).ran for each in asking] == [False] * 9
    values = [
        each.start_value("get_or_set", "a", loading(each, partial(loads, ANY)), **late) for each in others
    ]  # each drew that it is in a hurry
    assert [each.result(FOR_EVER) for each in values] == ["old"] * 3
    for made in (origin, loads):
        made.wait()
        made.gate.set()
    for process in others:
        process.refreshed()
        until(lambda process=process: process.value("get", "a") == "new", "it is made anew")  # type: ignore[misc]
    assert (origin.runs, loads.runs) == (1, 1)


def test_what_nobody_has_is_made_by_one_for_many(make: Make, kept: Any) -> None:
    origin = Origin(held=True)
    making = [make(origin, wait=FOR_EVER) for _ in range(3)]
    pages = [each.start(policy=TAGGED) for each in making for _ in range(5)]
    origin.wait()
    time.sleep(0.1)
    origin.gate.set()
    assert [each.result(FOR_EVER).body for each in pages] == [b"made"] * 15
    origin.gate.clear()
    load = partial(origin, ANY)
    origin.made = lambda _: "made"
    values = [each.start_value("get_or_set", "a", loading(each, load), ttl=60) for each in making for _ in range(5)]
    origin.wait()
    time.sleep(0.1)
    origin.gate.set()
    assert [each.result(FOR_EVER) for each in values] == ["made"] * 15
    assert origin.runs == 2


# What was dropped


@pytest.mark.parametrize("soft", [False, True])
def test_a_tag_that_another_process_drops_is_dropped_though_the_replica_is_behind(
    one: Spread, other: Spread, cluster: Cluster, soft: bool
) -> None:
    one.value("set", "a", "old", ttl=60, tags=["t"])
    one.get(policy=TAGGED)
    with behind(cluster):
        assert other.value("get", "a") == "old" and not other.get(policy=TAGGED).ran
        one.value("drop_tag", "t", soft=soft)
        other.origin.made = Made(b"new")
        assert other.value("get", "a") is None
        got = other.get(policy=TAGGED)
        assert got.ran and got.body == b"new"
        given = other.value("get_or_set", "a", lambda: "new", ttl=60, tags=["t"])
        assert given == ("old" if soft else "new"), "what is stale is given, and made anew"
        until(lambda: other.value("get", "a") == "new", "it is made anew")
        assert other.get(policy=TAGGED).body == b"new"


def test_a_value_that_this_process_has_changed_it_never_reads_from_a_replica_that_is_behind(
    one: Spread, other: Spread, cluster: Cluster
) -> None:
    names = ("delete", "set", "write_through", "get_or_set")
    one.value("set_many", dict.fromkeys(names, "old"), ttl=60)
    with behind(cluster):
        assert other.value("get_many", names) == dict.fromkeys(names, "old")
        assert other.value("delete", "delete") is True
        assert other.value("set", "set", "new", ttl=60) is True
        other.value("write_through", "write_through", "new", storing(other))
        assert other.value("delete", "get_or_set") is True
        assert other.value("get_or_set", "get_or_set", lambda: "new", ttl=60) == "new"
        assert other.value("get_many", names) == dict.fromkeys(names[1:], "new")
        long_ago(other)
        assert other.value("get_many", names) == dict.fromkeys(names, "old"), "later it would"


def test_a_page_that_this_process_has_purged_it_never_reads_from_a_replica_that_is_behind(
    one: Spread, other: Spread, cluster: Cluster
) -> None:
    one.get()
    with behind(cluster):
        assert not other.get().ran
        assert other.purge() is True
        other.origin.made = Made(b"new")
        assert other.get().body == b"new"
        assert other.get().body == b"new" and other.origin.runs == 1
        long_ago(other)
        assert other.get().body == b"made", "later it would"


def test_what_was_dropped_while_redis_was_away_is_not_read_from_a_replica_when_it_is_back(
    one: Spread, other: Spread, cluster: Cluster
) -> None:
    one.value("set", "a", "old", ttl=60)
    one.get()
    other.origin.made = Made(b"new")
    with behind(cluster):
        assert other.value("get", "a") == "old" and not other.get().ran
        with outage(other.colour.mw):
            assert other.value("delete", "a") is False and other.purge() is False
        long_ago(other)
        assert [other.value("get", "a") for _ in range(2)] == [None, None]
        assert [other.get().body for _ in range(2)] == [b"new", b"new"]


def test_of_what_a_replica_turns_out_not_to_know_the_primary_is_asked(
    one: Spread, other: Spread, cluster: Cluster
) -> None:
    with behind(cluster):
        one.get()
        one.value("set", "a", 1, ttl=60)
        assert [trips(other.get)[0] for _ in range(3)] == [2, 1, 1]
        assert other.origin.runs == 0
        ask = ("get_or_set", "a", lambda: 2)
        assert [trips(other.value, *ask, ttl=60) for _ in range(3)] == [(2, 1), (1, 1), (1, 1)]


def test_what_a_url_varies_by_by_now_is_asked_of_the_primary_once(one: Spread, other: Spread, cluster: Cluster) -> None:
    """Else who is told two things in turn would never come to an end, and nobody would store anything."""
    policy = Cached(60, jitter=0, tags=["t"])
    one.origin.made = language
    one.get(headers=asks(Accept_Language="de"), policy=policy)
    with behind(cluster):
        assert not other.get(headers=asks(Accept_Language="de"), policy=policy).ran
        one.drop_tag("t")
        one.origin.made = other.origin.made = Made(b"both", (("Vary", "Accept-Language, X-A"),))
        one.get(headers=asks(Accept_Language="de", X_A="1"), policy=policy)
        assert not other.get(headers=asks(Accept_Language="de", X_A="1"), policy=policy).ran
        assert other.get(headers=asks(Accept_Language="de", X_A="2"), policy=policy).ran
        assert not other.get(headers=asks(Accept_Language="de", X_A="2"), policy=policy).ran


# Damage


def test_a_value_that_is_damaged_is_a_miss_and_is_replaced(
    one: Spread, other: Spread, cluster: Cluster, kept: Any
) -> None:
    one.value("set", "a", "x" * 5000, ttl=60)
    good = kept.get(one.key("a"))
    for junk in (b"junk", b"", good[:-1], good[:40] + b"\x00" + good[41:], good[:1] + b"\xff" + good[2:]):
        kept.set(one.key("a"), junk, px=60_000)
        replica_at(cluster, one.key("a"))
        long_ago(other)
        assert other.value("get", "a", default="miss") == "miss"
        assert other.value("get_or_set", "a", lambda: "y", ttl=60) == "y"
        assert other.value("get", "a") == "y"
    kept.delete(one.key("a"))
    kept.rpush(one.key("a"), "no string")
    kept.expire(one.key("a"), 60)
    replica_at(cluster, one.key("a"))
    long_ago(other)
    assert other.value("get_or_set", "a", lambda: "z", ttl=60) == "z" == other.value("get", "a")


@pytest.mark.parametrize("how", DAMAGES)
def test_a_page_that_is_damaged_is_a_miss_and_is_replaced(
    one: Spread, other: Spread, cluster: Cluster, kept: Any, how: str
) -> None:
    one.get()
    at = one.page()
    damage(kept, at, how)
    replica_at(cluster, at)
    assert other.get().ran
    replica_at(cluster, at)
    long_ago(other)
    _ = other.get()  # names that were no names are forgotten by the first, and the second makes it
    replica_at(cluster, at)
    long_ago(other)
    assert not other.get().ran


# Memory


def test_only_what_was_looked_at_on_the_primary_is_kept_in_memory(make: Make, one: Spread, cluster: Cluster) -> None:
    one.get()
    replica_at(cluster, one.page())
    keeping = make(l1_bytes=1 << 20)
    keeping.listens()
    for _ in range(3):
        taken, got = trips(keeping.get)
        assert (taken, got.ran) == (1, False)
    keeping.room.changes((keeping.name(),))
    assert [trips(keeping.get)[0] for _ in range(3)] == [1, 0, 0]
    one.purge()
    until(lambda: keeping.get().ran, "what is purged is not kept")


# Servers that do not answer


def test_without_its_primary_what_hangs_on_no_tag_is_still_served(
    own_cluster: Cluster, redis_mw_settings: Settings, colour: str
) -> None:
    calm(own_cluster)
    with processes(colour, reading(redis_mw_settings, own_cluster)) as make:
        one, other = make(), make(patience=0.3)
        one.get()
        one.value("set", "a", 1, ttl=60)
        for key in (one.page(), one.key("a")):
            _ = replica_at(own_cluster, key)
        assert not other.get().ran and other.value("get", "a") == 1
        own_cluster.primary_of(one.key("a")).freeze()
        assert [other.value("get_or_set", "a", lambda: 2, ttl=60) for _ in range(20)] == [1] * 20
        own_cluster.primary_of(one.key("a")).thaw()
        own_cluster.primary_of(one.page()).kill()
        assert not any(other.get().ran for _ in range(20))


def test_a_replica_that_is_away_is_no_reason_for_anything(
    own_cluster: Cluster, redis_mw_settings: Settings, colour: str
) -> None:
    calm(own_cluster)
    with processes(colour, reading(redis_mw_settings, own_cluster)) as make:
        one, other = make(), make(patience=0.3)
        one.get(policy=TAGGED)
        one.value("set", "a", 1, ttl=60, tags=["t"])
        replicas = [replica_at(own_cluster, key) for key in (one.page(policy=TAGGED), one.key("a"))]
        assert not other.get(policy=TAGGED).ran and other.value("get", "a") == 1
        replicas[0].node.freeze()
        assert not any(other.get(policy=TAGGED).ran for _ in range(20))
        replicas[0].node.thaw()
        replicas[1].node.kill()
        assert [other.value("get_or_set", "a", lambda: 2, ttl=60, tags=["t"]) for _ in range(20)] == [1] * 20
        assert other.value("delete", "a") is True
        assert other.value("get_or_set", "a", lambda: 2, ttl=60, tags=["t"]) == 2
