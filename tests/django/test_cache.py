"""``redis_mw_django.cache.RedisCache`` on a real server: what calls cost, what races do, what an outage does."""

import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from by_hand import until
from colours import Running
from django.core.cache import BaseCache, caches
from django.core.exceptions import ImproperlyConfigured
from django.template import Context, Template
from django.utils.safestring import SafeString
from redis import Redis

from redis_mw.caching.lifetimes import LONGEST_US
from redis_mw.errors import CannotEncode, SettingsError, ValueTooLarge
from redis_mw.settings import Cache, replace
from redis_mw.testing import count_round_trips, outage
from redis_mw_django.application import application
from redis_mw_django.cache import RedisCache
from redis_mw_django.entries import named

OURS = "redis_mw_django.cache.RedisCache"

Call = Callable[..., Any]


class Text:
    """A serializer that stores the text of anything."""

    def dumps(self, obj: Any) -> Any:
        return obj if type(obj) is int else str(obj)

    def loads(self, data: bytes) -> Any:
        if data == b"broken":
            raise LookupError
        return data.decode()


@pytest.fixture
def cache(settings: Any) -> RedisCache:
    settings.CACHES = {"default": {"BACKEND": OURS}, "other": {"BACKEND": OURS, "KEY_PREFIX": "other"}}
    made = caches["default"]
    assert isinstance(made, RedisCache)
    return made


@pytest.fixture
def kept() -> Iterator[Redis]:
    """What the server holds."""
    url = application().settings.url
    assert isinstance(url, str)
    with Redis.from_url(url) as client:
        yield client


@pytest.fixture(params=["sync", "async", "async_to_sync"])
def call(request: pytest.FixtureRequest, cache: RedisCache) -> Iterator[Call]:
    """Calls a method of the cache: the plain one, the awaited one on a loop that lives on, or on one that does not.

    ``call(None)`` gives the face of the loop that lives on.
    """

    running = Running()

    async def face() -> Any:
        return application().aio

    async def close() -> None:
        await application().aio.aclose()

    def call(name: str | None, *args: Any, **kwargs: Any) -> Any:
        if name is None:
            return running.do(face)
        if request.param == "sync":
            return getattr(cache, name)(*args, **kwargs)
        awaited = getattr(cache, f"a{name}")
        return (
            running.do(awaited, *args, **kwargs)
            if request.param == "async"
            else async_to_sync(awaited)(*args, **kwargs)
        )

    yield call
    running.do(close)
    running.close()


@contextmanager
def away(call: Call) -> Iterator[None]:
    """An outage for each face of the site."""
    face = call(None)
    with outage(face), outage(application().sync):
        yield


def lifetime(kept: Redis, key: str) -> float:
    """Seconds that Redis would keep an entry."""
    at = application().caching.commands.key(named(f":1:{key}"))
    left: Any = kept.pttl(at)
    return float(left) / 1000


def test_each_call_costs_so_many_round_trips(call: Call) -> None:
    def trips(name: str, *args: Any, **kwargs: Any) -> int:
        with count_round_trips() as counted:
            _ = call(name, *args, **kwargs)
        assert "KEYS" not in counted.commands and "SCAN" not in counted.commands
        return counted.total

    _ = call("get", "warm")
    assert trips("set", "a", 1) == 1
    assert trips("get", "a") == 1
    assert trips("has_key", "a") == 1
    assert trips("add", "b", "x") == 1 and trips("add", "b", "y") == 1
    assert trips("touch", "a", 5) == 1
    assert trips("incr", "a") == 1 and trips("decr", "a") == 1
    assert trips("set_many", {str(number): number for number in range(20)}) == 1
    assert trips("get_many", [str(number) for number in range(20)]) == 1
    assert trips("delete", "a") == 1
    assert trips("delete_many", [str(number) for number in range(20)]) == 1
    assert trips("get_or_set", "b", "z") == 1
    assert trips("get_or_set", "new", "z") == 2
    assert trips("add", "b", "y", 0) == 1 and trips("set", "c", "y", 0) == 1 and trips("touch", "c", 0) == 1
    assert trips("incr_version", "b") == 2 and trips("decr_version", "b", version=2) == 2
    assert trips("clear") == 1
    for empty in (("get_many", []), ("set_many", {}), ("delete_many", [])):
        assert trips(*empty) == 0


def test_clearing_is_one_command_and_takes_what_has_the_prefix(call: Call, cache: RedisCache) -> None:
    other = caches["other"]
    call("set_many", {str(number): number for number in range(50)})
    call("set", "a", 1, version=7)
    other.set("a", "other")
    assert application().sync.cache.set(":1:a", "mine")
    assert call("get", "a") is None, "keys of code are others"
    with count_round_trips() as counted:
        call("clear")
    assert counted.commands == ["EVALSHA"]
    assert call("get_many", [str(number) for number in range(50)]) == {}
    assert call("get", "a", version=7) is None and not call("has_key", "1")
    assert call("delete", "2") is False, "what was cleared is not there any more"
    assert call("touch", "3") is False and call("add", "4", "new") is True
    with pytest.raises(ValueError):
        call("incr", "5")
    assert other.get("a") == "other" and application().sync.cache.get(":1:a") == "mine"
    assert call("get", "4") == "new"


def test_of_all_who_add_at_once_one_does(cache: RedisCache) -> None:
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda number: (number, caches["default"].add("lock", number)), range(40)))
    winners = [number for number, won in added if won]
    assert len(winners) == 1 and cache.get("lock") == winners[0]


def test_who_makes_a_value_while_another_one_adds_it_is_given_that(call: Call, cache: RedisCache) -> None:
    def make() -> str:
        with ThreadPoolExecutor(1) as another:
            assert another.submit(lambda: caches["default"].add("a", "theirs")).result()
        return "mine"

    _ = call("get", "warm")
    with count_round_trips() as counted:
        assert call("get_or_set", "a", make) == "theirs"
    assert counted.total == 3 + 1, "three of ours, one of the other's"


def test_no_addition_is_lost_and_the_time_is_kept(cache: RedisCache, kept: Redis) -> None:
    cache.set("n", 0, 50)
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda _: caches["default"].incr("n", 3), range(100)))
    assert sorted(counted) == list(range(3, 303, 3)) and cache.get("n") == 300
    assert 0 < lifetime(kept, "n") <= 50


def test_integers_count_exactly_up_to_64_bits(call: Call) -> None:
    call("set", "n", 2**53)
    assert call("incr", "n") == 2**53 + 1 and call("incr", "n", 2) == 2**53 + 3 == call("get", "n")
    call("set", "n", 2**63 - 1)
    with pytest.raises(OverflowError):
        call("incr", "n")
    assert call("get", "n") == 2**63 - 1
    for value in (True, "1", 1.0, None, 2**63):
        call("set", "n", value)
        assert call("get", "n") == value
        with pytest.raises(TypeError):
            call("incr", "n")
    delta: Any = 0.5
    with pytest.raises(TypeError):
        call("incr", "n", delta)


@pytest.mark.parametrize("write", ["set", "set_many", "add", "touch"])
def test_every_write_has_the_time_it_was_given(call: Call, kept: Redis, write: str) -> None:
    for timeout, least, most in ((None, LONGEST_US / 1e6 - 9, LONGEST_US / 1e6), (10**30, 2e6, 3e6), (60.5, 51, 61)):
        call("delete", "a")
        if write == "touch":
            call("set", "a", 1, 7)
        args = {"set_many": ({"a": 1},), "touch": ("a",)}.get(write, ("a", 1))
        call(write, *args, timeout=timeout)
        assert least < lifetime(kept, "a") <= most
    for over in (0, -5):
        call("set", "a", 1)
        if write == "add":
            call("delete", "a")
        call(write, *args, timeout=over)
        assert call("get", "a") is None


@pytest.mark.parametrize("over", [0, -5])
def test_adding_for_no_time_stores_nothing_and_says_what_djangos_own_cache_says(
    settings: Any, call: Call, over: int
) -> None:
    settings.CACHES = settings.CACHES | {"theirs": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    theirs = caches["theirs"]
    theirs.clear()
    for place, key, kept in (("nothing there", "a", None), ("something there", "b", "x")):
        if kept is not None:
            call("set", key, kept)
            theirs.set(key, kept)
        assert call("add", key, "y", over) is theirs.add(key, "y", over) is (kept is None), place
        assert call("get", key) == theirs.get(key) == kept, place
    with away(call):
        assert call("add", "a", "y", over) is False and call("add", "b", "y", over) is False, "nobody knows"


def test_touching_keeps_the_value_and_what_it_hangs_on(call: Call, kept: Redis) -> None:
    call("set", "a", {"b": [1]}, 5)
    assert call("touch", "a", 10 * 86_400) is True
    assert call("get", "a") == {"b": [1]} and lifetime(kept, "a") > 9 * 86_400
    prefix = application().settings.prefix
    for key in kept.scan_iter(f"{prefix}:g1:*"):
        left: Any = kept.ttl(key)
        assert left > lifetime(kept, "a"), "the tag outlives what hangs on it"


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 7, -7, 2**100, 1.5, "ä", b"\x00", [1, (2, {3})], {"a": {1: None}}, UUID(int=5)),
        SafeString("<b>"),
    ],
)
def test_what_comes_back_is_what_was_stored_type_included(call: Call, value: Any) -> None:
    call("set", "a", value)
    assert call("add", "b", value) is True
    for found in (call("get", "a", "nothing"), call("get_many", ["b"])["b"]):
        assert found == value and type(found) is type(value)


def test_what_cannot_be_stored_is_refused_with_its_type_and_what_to_do(call: Call) -> None:
    class Point:
        pass

    for write in (("set", "a", [Point()]), ("add", "a", [Point()]), ("set_many", {"ok": 1, "a": [Point()]})):
        with pytest.raises(CannotEncode, match=r"value\[0\]: a value of type Point .* name a serializer .* OPTIONS"):
            call(*write)
    assert call("get", "ok") is None, "all or nothing"
    with pytest.raises(ValueTooLarge):
        call("set", "a", "x" * 1_048_577)


def test_large_values_come_in_chunks_where_the_settings_say_so(settings: Any, call: Call, kept: Redis) -> None:
    settings.REDIS_MW = replace(settings.REDIS_MW, cache=Cache(chunks=True, compress_from=10_000_000))
    value = "x" * 1_500_000
    _ = call("get", "warm")
    with count_round_trips() as counted:
        call("set", "a", value, 5)
    assert counted.total == 2
    with count_round_trips() as counted:
        assert call("get", "a") == value
    assert counted.total == 2
    assert call("touch", "a", 100) is True and call("get", "a") == value
    chunks = list(kept.scan_iter(f"{application().settings.prefix}:d1:*:v:*"))
    lefts: list[Any] = [kept.ttl(chunk) for chunk in chunks]
    assert len(lefts) > 1 and min(lefts) > 90, "the chunks last as long as their list"
    assert call("add", "a", value + "y") is False and call("get", "a") == value
    assert call("add", "b", value + "y") is True and call("get", "b") == value + "y"


def test_the_template_tag_stores_what_it_rendered(cache: RedisCache) -> None:
    template = Template("{% load cache %}{% cache 60 piece %}<b>{{ name }}</b>{% endcache %}")
    assert template.render(Context({"name": "<ann>"})) == "<b>&lt;ann&gt;</b>"
    assert template.render(Context({"name": "bob"})) == "<b>&lt;ann&gt;</b>"


def test_without_redis_reads_are_misses_and_what_was_written_is_dropped_later(call: Call, cache: RedisCache) -> None:
    call("set_many", {"set": 1, "deleted": 1, "over": 1, "kept": 1, "many": 1})
    with away(call):
        assert call("get", "kept", "miss") == "miss" and call("get_many", ["kept"]) == {}
        assert call("has_key", "kept") is False
        assert call("get_or_set", "kept", lambda: "made") == "made"
        assert call("set", "set", 2) is None and call("set_many", {"many": 2}) == ["many"]
        assert call("add", "new", 1) is False and call("touch", "kept") is False
        assert call("delete", "deleted") is False and call("touch", "over", 0) is False
        with pytest.raises(ValueError):
            call("incr", "kept")
    with count_round_trips() as counted:
        assert call("get_many", ["set", "deleted", "over", "kept", "many"]) == {"kept": 1}
    assert counted.awaited == 2
    with away(call):
        call("clear")
    assert call("get", "kept") is None


def test_what_was_deleted_meanwhile_is_dropped_though_nobody_asks(call: Call, kept: Redis) -> None:
    call("set", "a", 1)
    with away(call):
        assert call("delete", "a") is False
    until(lambda: lifetime(kept, "a") < 0, "it is dropped")


def test_a_location_of_its_own_is_a_server_of_its_own(settings: Any, cache: RedisCache, server: Any) -> None:
    there = server.url
    settings.CACHES = {
        "default": {"BACKEND": OURS},
        "there": {"BACKEND": OURS, "LOCATION": there},
        "also there": {"BACKEND": OURS, "LOCATION": [there]},
    }
    caches["default"].set("a", "here")
    assert caches["there"].get("a") is None
    caches["there"].set("a", "there")
    assert caches["also there"].get("a") == "there"
    assert application(there) is application(there) and application(there) is not application()
    assert application(there).settings.prefix == application().settings.prefix
    assert caches["default"].get("a") == "here"
    server.kill()
    assert caches["there"].get("a", "miss") == "miss" and caches["default"].get("a") == "here"


@pytest.mark.parametrize(
    "location", ["redis://a,redis://b", "redis://a;redis://b", ["redis://a", "redis://b"], [], None, [7]]
)
def test_a_location_of_many_servers_is_refused(location: Any) -> None:
    with pytest.raises(SettingsError, match=r"^LOCATION: is not one url; write it like"):
        _ = RedisCache(location, {}).get("a")


@pytest.mark.parametrize("location", ["http://:hidden@a", "localhost:6379", "redis://a/b", "sentinel://a/b"])
def test_a_location_that_no_server_has_is_refused_and_no_password_is_told(location: str) -> None:
    with pytest.raises(SettingsError, match=r"^LOCATION: .*; ") as refused:
        _ = RedisCache(location, {}).get("a")
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ("serialiser", 'unknown; did you mean "serializer"'),
        ("db", "unknown; known: serializer .*LOCATION"),
        ("MAX_ENTRIES", "has no effect; .*maxmemory"),
    ],
)
def test_an_option_that_is_not_known_is_refused(option: str, remedy: str) -> None:
    with pytest.raises(SettingsError, match=rf"^OPTIONS\.{option}: {remedy}"):
        _ = RedisCache("", {"OPTIONS": {option: 1}}).get("a")


def test_a_cache_that_the_settings_turn_off_is_none(settings: Any, cache: RedisCache) -> None:
    settings.REDIS_MW = replace(settings.REDIS_MW, cache=None)
    with pytest.raises(ImproperlyConfigured, match="turns the cache off"):
        cache.get("a")


@pytest.mark.parametrize("serializer", [Text, Text()])
def test_a_serializer_stores_what_it_can(settings: Any, cache: RedisCache, serializer: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": OURS, "OPTIONS": {"serializer": serializer}}, "ours": {"BACKEND": OURS}}
    own, ours = caches["default"], caches["ours"]
    own.set_many({"a": object, "n": 5, "broken": "broken"})
    assert own.get("a") == "<class 'object'>" and own.incr("n") == 6 == own.get("n")
    assert own.get("broken", "miss") == "miss", "what it cannot read is made anew"
    assert ours.get("a", "miss") == "miss", "so is what another one wrote"
    ours.set("a", [1])
    assert own.get("a", "miss") == "miss"


@pytest.mark.parametrize(
    ("serializer", "why"),
    [
        ("builtins.dict", r"'builtins.dict' has no dumps\(\) and loads\(\)"),
        (object(), r"<object object at .*> has no dumps\(\) and loads\(\)"),
        ("no.such.Serializer", "'no.such.Serializer' cannot be made: ModuleNotFoundError: No module named 'no'"),
        ("Text", "'Text' cannot be made: ImportError"),
        ((7).__truediv__, "cannot be made: TypeError"),
    ],
)
def test_what_is_no_serializer_is_refused(serializer: Any, why: str) -> None:
    with pytest.raises(SettingsError, match=rf"^OPTIONS\.serializer: .*{why}.*; give the dotted path"):
        _ = RedisCache("", {"OPTIONS": {"serializer": serializer}}).get("a")


def test_every_async_method_is_native() -> None:
    """None of them hands work to a thread: those that Django's base class would are ours."""
    for name, method in vars(BaseCache).items():
        if inspect.iscoroutinefunction(method) and "sync_to_async" in method.__code__.co_names:
            assert name in vars(RedisCache), name


def test_versions_change_with_their_value(call: Call) -> None:
    call("set", "a", "x")
    assert call("incr_version", "a") == 2
    assert call("get", "a") is None and call("get", "a", version=2) == "x"
    assert call("decr_version", "a", version=2) == 1 and call("get", "a") == "x"
    with pytest.raises(ValueError):
        call("incr_version", "nothing")
