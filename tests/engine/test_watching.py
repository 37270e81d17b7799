"""Who watches what is changed is told all of it, or that he is not told all. On threads, on asyncio, on uvloop."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from by_hand import command, until

from redis_mw.flows import one

EngineOf = Callable[..., Any]
ProxyTo = Callable[..., Any]

SOON = 20.0
"""Seconds; only a broken test waits as long."""
CACHE = ("c:",)


class Watching:
    """Puts down what it is told: "begin", "end", the keys of a change, or None for all keys."""

    def __init__(self) -> None:
        self._told: SimpleQueue[Any] = SimpleQueue()
        self.on = False

    def begin(self) -> None:
        self.on = True
        self._told.put("begin")

    def changed(self, keys: Sequence[str] | None) -> None:
        self._told.put(keys)

    def end(self) -> None:
        self.on = False
        self._told.put("end")

    def next(self) -> Any:
        """What it is told next."""
        try:
            return self._told.get(timeout=SOON)
        except Empty:
            raise AssertionError("told nothing") from None

    @property
    def none_left(self) -> bool:
        return self._told.empty()


def watching(engine: Any, prefixes: tuple[str, ...] = CACHE, role: str = "cache") -> Watching:
    """Somebody who is told of changes from now on."""
    watcher = Watching()
    engine.watch(role, prefixes, watcher)
    assert watcher.next() == "begin"
    return watcher


def connections(valkey: Any) -> int:
    """How many of ours track."""
    listed: bytes = valkey.say("CLIENT", "LIST")
    return sum(b"name=redis-mw" in line and b"flags=tB" in line for line in listed.split(b"\n"))


# What is told.


@pytest.mark.parametrize(
    ("before", "change"),
    [
        ("", "SET c:k v"),
        ("SET c:k 1", "INCR c:k"),
        ("", "HSET c:k f v"),
        ("HSET c:k f v", "HDEL c:k f"),
        ("SET c:k v", "DEL c:k"),
        ("SET c:k v", "UNLINK c:k"),
        ("SET c:k v", "EXPIRE c:k 100"),
        ("SET c:k v", "PEXPIREAT c:k 1"),
        ("SET k v", "RENAME k c:k"),
        ("SET k v", "COPY k c:k"),
        ("", "EVAL redis.call('SET',KEYS[1],'v') 1 c:k"),
        ("SET k v", "EVAL redis.call('SELECT',1)redis.call('SET',KEYS[1],'v') 1 c:k"),
    ],
)
def test_whatever_changes_a_key_is_told(shared_valkey: Any, engine_of: EngineOf, before: str, change: str) -> None:
    _ = shared_valkey.say("DEL", "c:k", "k")
    _ = shared_valkey.say(*before.split()) if before else None
    watcher = watching(engine_of(shared_valkey.url))
    _ = shared_valkey.say(*change.split())
    assert watcher.next() == ["c:k"]
    assert watcher.none_left


def test_a_key_that_expires_is_told_and_nobody_need_look_at_it(shared_valkey: Any, engine_of: EngineOf) -> None:
    watcher = watching(engine_of(shared_valkey.url))
    _ = shared_valkey.say("SET", "c:k", "v", "PX", "30")
    assert (watcher.next(), watcher.next()) == (["c:k"], ["c:k"])


def test_our_own_changes_are_told_too(shared_valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(shared_valkey.url)
    watcher = watching(engine)
    _ = engine.run(one(command("SET", "c:k", "v")))
    assert watcher.next() == ["c:k"]


def test_what_has_other_names_is_not_told(shared_valkey: Any, engine_of: EngineOf) -> None:
    watcher = watching(engine_of(shared_valkey.url), ("c:", "d:"))
    for key in ("k", "C:k", "cc:k", "xc:k", "d:k"):
        _ = shared_valkey.say("SET", key, "v")
    assert watcher.next() == ["d:k"]
    assert watcher.none_left


def test_without_prefixes_all_is_told_and_names_that_are_no_text_harm_nobody(valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(valkey.url)
    watcher = watching(engine, ())
    _ = engine.run(one(command("SET", b"\xff", "v")))
    assert watcher.next() == ["\udcff"]
    _ = engine.run(one(command("SET", "ä", "v")))
    assert watcher.next() == ["ä"]


@pytest.mark.parametrize("flush", ["FLUSHALL", "FLUSHDB"])
def test_that_all_is_gone_is_told_as_such(valkey: Any, engine_of: EngineOf, flush: str) -> None:
    watcher = watching(engine_of(valkey.url))
    _ = valkey.say(flush)
    assert watcher.next() is None


def test_thousands_of_changes_at_once_are_all_told(valkey: Any, engine_of: EngineOf) -> None:
    watcher = watching(engine_of(valkey.url))
    _ = valkey.say("EVAL", "for n = 1, 30000 do redis.call('SET', 'c:' .. n, n) end", "0")
    missing = {f"c:{number}" for number in range(1, 30001)}
    while missing:
        missing.difference_update(watcher.next())


def test_over_tls_all_is_told_too(
    shared_valkey: Any, tls_port: int, certificate: tuple[Path, Path], engine_of: EngineOf
) -> None:
    watcher = watching(engine_of(f"rediss://localhost:{tls_port}/0?ssl_ca_certs={certificate[0]}", connect_within=5))
    _ = shared_valkey.say("EVAL", "for n = 1, 9000 do redis.call('SET', 'c:' .. n, n) end", "0")
    missing = {f"c:{number}" for number in range(1, 9001)}
    while missing:
        missing.difference_update(watcher.next())
    _ = shared_valkey.say("SET", "c:k", "v")
    assert watcher.next() == ["c:k"]


def test_a_second_call_does_nothing_and_others_have_connections_of_their_own(valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(valkey.url)
    watcher = watching(engine)
    for _ in range(3):
        engine.watch("cache", CACHE, watcher)
    other = watching(engine, ("d:",))
    assert connections(valkey) == 2
    _ = valkey.say("MSET", "c:k", "v", "d:k", "v")
    assert (watcher.next(), other.next()) == (["c:k"], ["d:k"])
    assert watcher.none_left and other.none_left


def test_a_role_is_watched_on_the_server_where_it_lives(valkey: Any, shared_valkey: Any, engine_of: EngineOf) -> None:
    watcher = watching(engine_of({"default": valkey.url, "cache": shared_valkey.url}))
    _ = valkey.say("SET", "c:default", "v")
    _ = shared_valkey.say("SET", "c:cache", "v")
    assert watcher.next() == ["c:cache"]
    assert watcher.none_left


def test_when_one_of_two_drivers_that_watch_for_the_same_ends_it_the_other_begins_anew(
    valkey: Any, engine_of: EngineOf
) -> None:
    engines, watcher = (engine_of(valkey.url), engine_of(valkey.url)), Watching()
    for engine in engines:
        engine.watch("cache", CACHE, watcher)
        assert watcher.next() == "begin"
    engines[0].close()
    assert [watcher.next(), watcher.next()] == ["end", "begin"]
    _ = valkey.say("SET", "c:k", "v")
    assert watcher.next() == ["c:k"]


class Failing(Watching):
    """Fails at what it is told, where it is to begin the first time only."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self._at = at

    def begin(self) -> None:
        super().begin()
        if self._at == "begin":
            self._at = ""
            raise LookupError("a bug")

    def changed(self, keys: Sequence[str] | None) -> None:
        super().changed(keys)
        raise LookupError("a bug")


@pytest.mark.parametrize("at", ["begin", "changed"])
def test_one_that_fails_may_have_missed_something_so_it_is_ended_and_begun_anew(
    valkey: Any, engine_of: EngineOf, caplog: pytest.LogCaptureFixture, at: str
) -> None:
    engine, watcher = engine_of(valkey.url), Failing(at)
    engine.watch("cache", CACHE, watcher)
    assert watcher.next() == "begin"
    if at == "changed":
        _ = valkey.say("SET", "c:k", "v")
        assert watcher.next() == ["c:k"]
    assert [watcher.next(), watcher.next()] == ["end", "begin"]
    assert "a bug" in caplog.text


# A bad day.


def test_a_killed_connection_is_an_end_at_once_and_a_beginning_when_there_is_another(
    valkey: Any, engine_of: EngineOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    for driver in ("aio", "sync"):  # nobody asks whether it is there
        monkeypatch.setattr(f"redis_mw.engine.{driver}.tracker.PING_S", 3600.0)
    watcher = watching(engine_of(valkey.url))
    for _ in range(2):
        _ = valkey.say("CLIENT", "KILL", "TYPE", "normal")
        assert [watcher.next(), watcher.next()] == ["end", "begin"]
    _ = valkey.say("SET", "c:k", "v")
    assert watcher.next() == ["c:k"]


def test_a_server_that_hangs_is_an_end_after_about_two_seconds(valkey: Any, engine_of: EngineOf) -> None:
    watcher = watching(engine_of(valkey.url, warm_up=0.5, connect_within=0.5))
    valkey.freeze()
    began = time.monotonic()
    assert watcher.next() == "end"
    assert time.monotonic() - began < 8
    valkey.thaw()
    assert watcher.next() == "begin"
    _ = valkey.say("SET", "c:k", "v")
    assert watcher.next() == ["c:k"]


def test_a_server_that_goes_is_an_end_and_one_that_comes_back_a_beginning(valkey: Any, engine_of: EngineOf) -> None:
    watcher = watching(engine_of(valkey.url))
    valkey.stop()
    assert watcher.next() == "end"
    assert watcher.none_left
    valkey.start()
    assert watcher.next() == "begin"


def test_a_server_that_is_away_at_first_is_watched_when_it_comes(valkey: Any, engine_of: EngineOf) -> None:
    valkey.stop()
    engine, watcher = engine_of(valkey.url), Watching()
    engine.watch("cache", CACHE, watcher)
    _ = engine.run(one(command("PING")))
    assert watcher.none_left
    valkey.start()
    assert watcher.next() == "begin"


def test_a_line_that_is_dead_without_a_word_is_noticed(
    valkey: Any, engine_of: EngineOf, delaying_proxy: ProxyTo
) -> None:
    proxy = delaying_proxy(valkey.url)
    watcher = watching(engine_of(proxy.url, warm_up=0.5, connect_within=0.5))
    proxy.freeze()
    assert watcher.next() == "end"
    proxy.thaw()
    assert watcher.next() == "begin"


def test_the_beginning_is_not_told_before_the_server_tracks(
    valkey: Any, engine_of: EngineOf, delaying_proxy: ProxyTo
) -> None:
    """Who read in between would not be told what is changed after that."""
    proxy = delaying_proxy(valkey.url, delay=0.05)
    tracked: list[int] = []

    class Asking(Watching):
        def begin(self) -> None:
            tracked.append(connections(valkey))
            super().begin()

    engine, watcher = engine_of(proxy.url, connect_within=2), Asking()
    engine.watch("cache", CACHE, watcher)
    assert watcher.next() == "begin"
    proxy.reset()
    until(lambda: connections(valkey) == 0, "it is lost")
    assert (watcher.next(), watcher.next()) == ("end", "begin")
    assert tracked == [1, 1]


def test_a_server_that_lets_us_in_but_not_track_is_not_stormed_and_we_are_warned_once(
    valkey: Any, engine_of: EngineOf, delaying_proxy: ProxyTo, caplog: pytest.LogCaptureFixture
) -> None:
    _ = valkey.say("ACL", "SETUSER", "blind", "on", ">p", "~*", "+@all", "-client")
    proxy = delaying_proxy(valkey.url)
    watcher = Watching()
    began = time.monotonic()
    engine_of(proxy.url.replace("//", "//blind:p@")).watch("cache", CACHE, watcher)
    until(lambda: proxy.connections >= 3, "it goes on trying")
    assert time.monotonic() - began > 0.5, "it did not rest in between"
    assert watcher.none_left
    assert [record.levelname for record in caplog.records].count("WARNING") == 1 and "NOPERM" in caplog.text
    _ = valkey.say("ACL", "SETUSER", "blind", "+client")
    assert watcher.next() == "begin"


def test_a_driver_that_refuses_everything_ends_at_once_who_watches(valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(valkey.url)
    watcher = watching(engine)
    engine.driver.refuse_all = True
    assert not watcher.none_left and watcher.next() == "end"
    late = Watching()
    engine.watch("cache", ("d:",), late)
    until(lambda: connections(valkey) == 0, "it hangs up")
    assert watcher.none_left and late.none_left
    engine.driver.refuse_all = False
    assert (watcher.next(), late.next()) == ("begin", "begin")


# The end.


def test_a_closed_driver_has_ended_who_watches_and_leaves_nothing(valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(valkey.url)
    watcher = watching(engine)
    engine.close()
    assert not watcher.none_left and watcher.next() == "end"
    engine.watch("cache", CACHE, watcher)
    engine.watch("cache", CACHE, late := Watching())
    until(lambda: b"name=redis-mw" not in valkey.say("CLIENT", "LIST"), "no connection is left")
    assert watcher.none_left and late.none_left


def test_an_unused_driver_that_is_closed_watches_nothing(valkey: Any, engine_of: EngineOf) -> None:
    engine, watcher = engine_of(valkey.url), Watching()
    engine.close()
    engine.watch("cache", CACHE, watcher)
    assert b"name=redis-mw" not in valkey.say("CLIENT", "LIST") and watcher.none_left
