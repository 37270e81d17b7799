"""How both drivers reach a server, and what it costs when there is none: on threads, on asyncio, on uvloop."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from by_hand import command, scripted, until

from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.events import Event
from redis_mw.flows import Flow, one, send

EngineOf = Callable[..., Any]

SHORT = {"sessions": {"patience": 0.3}, "locks": {"patience": 0.3}, "idempotency": {"patience": 0.3}}
"""A firm class that gives up soon."""
PATIENT = {"patience": 10, **{name: {"patience": 10} for name in SHORT}}
"""What a busy machine does is no outage to this."""


# How it gets there.


def test_a_unix_socket_is_a_server_like_any_other(shared_valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(f"unix://{shared_valkey.path}?db=3")
    assert b" db=3 " in engine.run(one(command("CLIENT", "INFO")))
    engine.ping()


def test_an_acl_user_is_who_we_are(shared_valkey: Any, engine_of: EngineOf) -> None:
    _ = shared_valkey.say("ACL", "SETUSER", "shop", "on", ">p@ss", "~*", "+@all", "-flushall")
    engine = engine_of(f"redis://shop:p%40ss@127.0.0.1:{shared_valkey.port}/0")
    who, refused = engine.run(send(command("ACL", "WHOAMI"), command("FLUSHALL")))
    assert who == b"shop"
    assert isinstance(refused, CommandError) and refused.code == "NOPERM"


def test_a_wrong_password_is_an_outage_that_says_so(shared_valkey: Any, engine_of: EngineOf) -> None:
    _ = shared_valkey.say("ACL", "SETUSER", "shop", "on", ">p@ss", "~*", "+@all")
    reply = engine_of(f"redis://shop:wrong@127.0.0.1:{shared_valkey.port}/0").run(one(command("PING")))
    assert isinstance(reply, RedisUnavailable) and "WRONGPASS" in reply.reason and "wrong@" not in reply.reason


@pytest.mark.parametrize("host", ["x" * 80, "no..name"])
def test_a_host_that_is_no_name_is_an_outage(host: str, engine_of: EngineOf) -> None:
    engine = engine_of(f"redis://{host}:1/0")
    assert isinstance(engine.run(one(command("PING"))), RedisUnavailable)
    with pytest.raises(RedisUnavailable):
        engine.ping()


def test_tls_is_verified_against_the_authority_the_url_names(
    tls_port: int, certificate: tuple[Path, Path], engine_of: EngineOf, events: list[Event]
) -> None:
    good = engine_of(f"rediss://localhost:{tls_port}/0?ssl_ca_certs={certificate[0]}")
    large = command("ECHO", "x" * 100_000)
    assert good.run(send(large, command("ECHO", "b"))) == (b"x" * 100_000, b"b")
    good.ping()
    reply = engine_of(f"rediss://localhost:{tls_port}/0").run(one(command("PING")))
    assert isinstance(reply, RedisUnavailable) and "CERTIFICATE_VERIFY_FAILED" in reply.reason
    until(lambda: len(events) == 2, "the probe is refused like everybody")


def test_many_flows_at_once_get_their_own_replies(shared_valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(shared_valkey.url)

    def asking(number: int) -> Flow[list[bytes]]:
        got: list[bytes] = []
        for step in range(10):
            got.append((yield from one(command("ECHO", f"{number}:{step}"))))
        return got

    under_way = [engine.start(asking(number)) for number in range(100)]
    for number, run in enumerate(under_way):
        assert run.result(60) == [f"{number}:{step}".encode() for step in range(10)]


# A bad day.


def test_a_late_reply_is_never_somebody_elses(valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(valkey.url)
    assert engine.run(one(command("ECHO", "warm"))) == b"warm"
    assert isinstance(engine.run(one(command("BLPOP", "nothing", 0.3, patience=0.05))), RedisUnavailable)
    for number in range(5):
        assert engine.run(one(command("ECHO", number))) == str(number).encode()


def test_a_hung_server_costs_one_patience_then_nothing_until_it_is_back(
    valkey: Any, engine_of: EngineOf, events: list[Event], seen: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "redis_mw.engine")
    engine = engine_of(valkey.url.replace("//", "//:hidden@"), **SHORT)
    page, session = command("GET", "k", role="cache", patience=0.1), command("GET", "k", role="sessions", patience=0.3)
    patiently = command("GET", "k", role="cache"), command("GET", "k", role="sessions")
    assert engine.run(send(*patiently)) == (None, None)
    valkey.freeze()
    under_way = [engine.start(one(page)) for _ in range(10)]
    assert all(isinstance(run.result(60), RedisUnavailable) for run in under_way)
    until(lambda: ("redis.unavailable", "quick") in [(e.name, e.outcome) for e in events], "quick opens")
    assert isinstance(engine.run(one(session)), RedisUnavailable)
    until(lambda: ("redis.unavailable", "firm") in [(e.name, e.outcome) for e in events], "firm opens")
    seen.clear()
    for _ in range(20):
        for reply in engine.run(send(page, session, command("PING", wakes=("bell",)))):
            assert isinstance(reply, RedisUnavailable) and "away" in reply.reason and reply.retry_after > 0
    assert seen == []
    valkey.thaw()
    engine.ping()  # asks, whatever the breaker says
    until(lambda: sum(e.name == "redis.recovered" for e in events) == 2, "both classes recover")
    assert engine.run(send(*patiently)) == (None, None)
    told = [(record.levelname, record.getMessage().partition(" ")[0]) for record in caplog.records]
    name = f"redis://127.0.0.1:{valkey.port}/0"
    assert told == [("WARNING", name)] * 2 + [("INFO", name)] * 2
    assert len(events) == 4 and "hidden" not in caplog.text


def test_a_flow_waiting_on_a_server_that_is_given_up_is_ended(valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(valkey.url, **SHORT)
    assert engine.run(one(command("PING"))) == b"PONG"
    valkey.freeze()
    patient = [engine.start(one(command("GET", "k", patience=600))) for _ in range(3)]
    assert isinstance(engine.run(one(command("GET", "k", role="cache", patience=0.1))), RedisUnavailable)
    assert all(isinstance(run.result(60), RedisUnavailable) for run in patient)
    valkey.thaw()


def test_who_had_no_patience_says_nothing_about_the_server(
    shared_valkey: Any, engine_of: EngineOf, events: list[Event]
) -> None:
    engine = engine_of(shared_valkey.url, **PATIENT)
    assert engine.run(one(command("PING"))) == b"PONG"
    for _ in range(8):
        hasty = engine.run(one(command("BLPOP", "nothing", 0.2, role="cache", patience=0.005)))
        assert isinstance(hasty, RedisUnavailable)
    assert engine.run(one(command("PING", role="cache"))) == b"PONG"
    assert events == []


def test_a_restarted_server_is_not_noticed_by_anybody(
    valkey: Any, engine_of: EngineOf, events: list[Event], seen: list[Any]
) -> None:
    engine = engine_of(valkey.url)
    add = scripted("return redis.call('INCR', KEYS[1])", keys=("n",))
    assert engine.run(one(add)) == 1
    valkey.stop()
    valkey.start()
    seen.clear()
    assert engine.run(one(add)) == 1
    assert engine.run(one(add)) == 2
    assert [words[0][0] for _, words, _ in seen] == ["EVALSHA", "EVAL", "EVALSHA"]
    assert events == []


def test_a_server_that_is_not_there_is_an_outage_and_found_when_it_comes(
    valkey: Any, engine_of: EngineOf, events: list[Event]
) -> None:
    valkey.stop()
    engine = engine_of(valkey.url)
    assert isinstance(engine.run(one(command("PING"))), RedisUnavailable)
    with pytest.raises(RedisUnavailable, match=str(valkey.port)):
        engine.ping()
    until(lambda: len(events) == 2, "a refused probe opens both classes")
    valkey.start()
    until(lambda: len(events) == 4, "the background probe finds it")
    assert engine.run(one(command("PING"))) == b"PONG"
