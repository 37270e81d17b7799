"""An ear of the whole process: who is called when a channel is published. On threads, on asyncio, on uvloop."""

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from by_hand import command, until

from redis_mw.flows import Flow, Wait, one

EngineOf = Callable[..., Any]
ProxyTo = Callable[..., Any]

SOON = 20.0
"""Seconds; only a broken test waits as long."""


class Calls:
    """Counts how often it was called, and can wait for the next time."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[None] = SimpleQueue()

    def __call__(self) -> None:
        self._calls.put(None)

    def next(self) -> None:
        """Return once it has been called again."""
        try:
            self._calls.get(timeout=SOON)
        except Empty:
            raise AssertionError("not called") from None

    @property
    def none_left(self) -> bool:
        return self._calls.empty()


def listening(engine: Any, channel: str = "news", role: str = "default") -> Calls:
    """Somebody who hears the channel from now on."""
    heard = Calls()
    engine.hear(role, channel, heard)
    heard.next()
    return heard


def test_whoever_publishes_is_heard_once_each_time(valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(valkey.url)
    news, weather = listening(engine), listening(engine, "weather")
    for _ in range(3):
        assert valkey.say("PUBLISH", "news", "x") == b":1\r\n"
        news.next()
    assert valkey.say("PUBLISH", "weather", "x") == b":1\r\n"
    weather.next()
    assert news.none_left and weather.none_left


def test_a_second_call_with_the_same_channel_does_nothing(valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(valkey.url)
    news, again = listening(engine), Calls()
    engine.hear("default", "news", again)
    _ = valkey.say("PUBLISH", "news", "x")
    news.next()
    _ = valkey.say("PUBLISH", "news", "y")
    news.next()
    assert again.none_left and news.none_left


def test_roles_hear_the_server_they_live_on_and_share_its_one_connection(
    valkey: Any, shared_valkey: Any, engine_of: EngineOf
) -> None:
    engine = engine_of({"default": valkey.url, "cache": shared_valkey.url})
    locks, cache, sessions = (listening(engine, role=role) for role in ("locks", "cache", "sessions"))
    locks.next()  # a second one makes the first one's channel be confirmed anew
    assert valkey.say("PUBSUB", "NUMSUB", "news").endswith(b":1\r\n")
    _ = valkey.say("PUBLISH", "news", "x")
    locks.next()
    sessions.next()
    assert cache.none_left
    _ = shared_valkey.say("PUBLISH", "news", "x")
    cache.next()
    assert locks.none_left and sessions.none_left


def test_flows_that_come_and_go_on_the_same_channel_are_no_matter(valkey: Any, engine_of: EngineOf) -> None:
    def waiting() -> Flow[Any]:
        _ = yield from one(command("SET", "waits", "x", wakes=("news",)))
        return (yield Wait(("news",), 60))

    engine = engine_of(valkey.url)
    news = listening(engine)
    run = engine.start(waiting())
    until(lambda: valkey.say("EXISTS", "waits") == b":1\r\n", "it waits")
    _ = valkey.say("PUBLISH", "news", "x")
    assert run.result(60).channel == "news"
    news.next()
    assert engine.run(one(command("PING", wakes=("news",)))) == b"PONG"
    assert valkey.say("PUBLISH", "news", "x") == b":1\r\n"
    news.next()


def test_an_error_of_whoever_is_called_harms_nobody(
    valkey: Any, engine_of: EngineOf, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls()

    def failing() -> None:
        calls()
        raise LookupError("a bug")

    engine = engine_of(valkey.url)
    engine.hear("cache", "news", failing)
    calls.next()
    news = listening(engine)
    calls.next()
    for _ in range(2):
        _ = valkey.say("PUBLISH", "news", "x")
        calls.next()
        news.next()
    assert "a bug" in caplog.text


# A bad day.


def test_a_lost_connection_is_heard_when_it_is_back_however_often_it_was_refused(
    valkey: Any, engine_of: EngineOf, delaying_proxy: ProxyTo
) -> None:
    proxy = delaying_proxy(valkey.url)
    news = listening(engine_of(proxy.url))
    before = proxy.connections
    proxy.cut()
    until(lambda: proxy.connections >= before + 3, "it tries again and again")
    assert news.none_left
    proxy.mend()
    news.next()
    assert news.none_left
    _ = valkey.say("PUBLISH", "news", "x")
    news.next()


def test_a_server_that_is_away_at_first_is_heard_when_it_comes(valkey: Any, engine_of: EngineOf) -> None:
    valkey.stop()
    engine, news = engine_of(valkey.url), Calls()
    engine.hear("default", "news", news)
    _ = engine.run(one(command("PING")))
    assert news.none_left
    valkey.start()
    news.next()
    _ = valkey.say("PUBLISH", "news", "x")
    news.next()


def test_nobody_is_told_to_look_again_before_the_server_listens(
    valkey: Any, engine_of: EngineOf, delaying_proxy: ProxyTo
) -> None:
    """What is published between the look and the subscription would be missed for ever."""
    proxy = delaying_proxy(valkey.url, delay=0.05)
    subscribed: list[bytes] = []
    calls = Calls()

    def heard() -> None:
        subscribed.append(valkey.say("PUBSUB", "NUMSUB", "news").split(b"\r\n")[-2])
        calls()

    engine_of(proxy.url, connect_within=2).hear("default", "news", heard)
    calls.next()
    proxy.reset()
    until(lambda: valkey.say("PUBSUB", "NUMSUB", "news").endswith(b":0\r\n") or not calls.none_left, "it is lost")
    calls.next()
    assert subscribed == [b":1"] * 2


def test_a_line_that_is_dead_without_a_word_is_noticed(
    valkey: Any, engine_of: EngineOf, delaying_proxy: ProxyTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_mw.engine.aio.wakes.PING_S", 0.2)
    monkeypatch.setattr("redis_mw.engine.sync.listener.PING_S", 0.2)
    proxy = delaying_proxy(valkey.url)
    news = listening(engine_of(proxy.url, warm_up=1, connect_within=1))
    before = proxy.connections
    proxy.freeze()
    until(lambda: proxy.connections > before, "it tries anew")
    proxy.thaw()
    news.next()


def test_a_server_that_lets_us_in_but_not_listen_is_not_stormed(
    valkey: Any, engine_of: EngineOf, delaying_proxy: ProxyTo
) -> None:
    _ = valkey.say("ACL", "SETUSER", "deaf", "on", ">p", "~*", "+@all", "resetchannels")
    proxy = delaying_proxy(valkey.url)
    news = Calls()
    began = time.monotonic()
    engine_of(proxy.url.replace("//", "//deaf:p@")).hear("default", "news", news)
    until(lambda: proxy.connections >= 5, "it goes on trying")
    assert time.monotonic() - began > 0.7, "it did not rest in between"
    assert news.none_left
    _ = valkey.say("ACL", "SETUSER", "deaf", "allchannels")
    news.next()


# The end.


def test_after_the_end_nobody_is_called_any_more(valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(valkey.url)
    news = listening(engine)
    engine.close()
    until(lambda: valkey.say("PUBLISH", "news", "x") == b":0\r\n", "nobody listens")
    assert news.none_left
    until(lambda: b"name=redis-mw" not in valkey.say("CLIENT", "LIST"), "no connection is left")


def test_a_closed_driver_hears_nothing(valkey: Any, engine_of: EngineOf) -> None:
    used, unused = engine_of(valkey.url), engine_of(valkey.url)
    _ = listening(used, "weather")
    news = Calls()
    for engine in (used, unused):
        engine.close()
        engine.hear("default", "news", news)
    until(lambda: b"name=redis-mw" not in valkey.say("CLIENT", "LIST"), "no connection was made, none is left")
    assert news.none_left
