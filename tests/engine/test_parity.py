"""What both drivers do alike, written once: on threads, on asyncio, on uvloop, against real servers."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from by_hand import command, scripted, until

from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.events import Event
from redis_mw.flows import Batch, Flow, Wait, Woken, one, send, together

EngineOf = Callable[..., Any]


def queued(channel: str, seconds: float = 30.0) -> Flow[Woken | None]:
    """Announce that we shall wait, say that we are there, wait."""
    _ = yield from one(command("INCR", f"queue:{channel}", wakes=(channel,)))
    woken: Woken | None = yield Wait((channel,), seconds)
    return woken


# What a flow gets.


def test_replies_are_raw_and_of_the_third_protocol(shared_valkey: Any, engine_of: EngineOf) -> None:
    got = engine_of(shared_valkey.url).run(
        send(
            command("SET", "k", b"\xff"),
            command("GET", "k"),
            command("HSET", "h", "f", 1),
            command("HGETALL", "h"),
            command("GET", "no"),
        )
    )
    assert got[:2] == (b"OK", b"\xff")
    assert got[3:] == ({b"f": b"1"}, None)


def test_an_error_reply_reaches_only_its_own_flow(shared_valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(shared_valkey.url)
    _ = engine.run(send(command("DEL", "list"), command("LPUSH", "list", "x")))
    good, bad, after = engine.run(
        together(one(command("ECHO", "a")), one(command("GET", "list")), one(command("ECHO", "b")))
    )
    assert (good, after) == (b"a", b"b")
    assert isinstance(bad, CommandError) and bad.code == "WRONGTYPE"


def test_what_a_flow_raises_is_raised_by_run(shared_valkey: Any, engine_of: EngineOf) -> None:
    def flow() -> Flow[None]:
        _ = yield from one(command("PING"))
        raise LookupError("a bug")

    with pytest.raises(LookupError, match="a bug"):
        engine_of(shared_valkey.url).run(flow())


def test_a_batch_is_one_trip_however_many_commands_it_has(
    shared_valkey: Any, engine_of: EngineOf, seen: list[Any]
) -> None:
    _ = engine_of(shared_valkey.url).run(send(*[command("ECHO", n) for n in range(20)]))
    assert [(endpoint, len(commands), detached) for endpoint, commands, detached in seen] == [
        (f"redis://127.0.0.1:{shared_valkey.port}/0", 20, False)
    ]


def test_a_script_the_server_does_not_know_is_sent_once_more_with_its_text(
    shared_valkey: Any, engine_of: EngineOf, seen: list[Any]
) -> None:
    engine = engine_of(shared_valkey.url)
    count = scripted("return redis.call('INCRBY', KEYS[1], ARGV[1])", 5, keys=("counted",))
    _ = engine.run(send(command("DEL", "counted"), command("SCRIPT", "FLUSH")))
    seen.clear()
    assert engine.run(send(command("ECHO", "x"), count, count)) == (b"x", 5, 10)
    assert engine.run(one(count)) == 15
    assert [[words[0] for words in commands] for _, commands, _ in seen] == [
        ["ECHO", "EVALSHA", "EVALSHA"],
        ["EVAL", "EVAL"],
        ["EVALSHA"],
    ]


def test_a_script_that_itself_answers_noscript_is_believed_the_second_time(
    shared_valkey: Any, engine_of: EngineOf, seen: list[Any]
) -> None:
    reply = engine_of(shared_valkey.url).run(one(scripted("return redis.error_reply('NOSCRIPT my own')")))
    assert isinstance(reply, CommandError) and reply.message == "my own"
    assert len(seen) == 2


def test_errors_that_are_no_outage_leave_the_breaker_alone(
    shared_valkey: Any, engine_of: EngineOf, events: list[Event]
) -> None:
    engine = engine_of(shared_valkey.url)
    full = scripted("return redis.error_reply(ARGV[1])", "OOM command not allowed")
    readonly = scripted("return redis.error_reply(ARGV[1])", "READONLY You can't write")
    for _ in range(30):
        for reply in engine.run(send(full, readonly, command("LPUSH", "x"))):
            assert isinstance(reply, CommandError)
    oom, *_ = engine.run(send(full, readonly))
    assert isinstance(oom, CommandError) and (oom.code, oom.message) == ("OOM", "command not allowed")
    assert events == []


def test_roles_on_two_servers_are_asked_in_one_step_and_fail_alone(
    valkey: Any, shared_valkey: Any, engine_of: EngineOf, seen: list[Any]
) -> None:
    engine = engine_of({"default": shared_valkey.url, "cache": valkey.url})

    def batch() -> Flow[Any]:
        return send(command("ECHO", "a"), command("ECHO", "b", role="cache"), command("ECHO", "c", role="locks"))

    assert engine.run(batch()) == (b"a", b"b", b"c")
    assert sorted(len(commands) for _, commands, _ in seen) == [1, 2]
    valkey.stop()
    a, b, c = engine.run(batch())
    assert (a, c) == (b"a", b"c")
    assert isinstance(b, RedisUnavailable)


def test_equal_urls_share_one_endpoint(shared_valkey: Any, engine_of: EngineOf, seen: list[Any]) -> None:
    engine = engine_of({"default": shared_valkey.url, "cache": shared_valkey.url})
    _ = engine.run(together(one(command("ECHO", "a")), one(command("ECHO", "b", role="cache"))))
    assert len(seen) == 1


# Bounds and switches.


def test_ping_asks_on_a_connection_of_its_own(valkey: Any, engine_of: EngineOf) -> None:
    def accepted() -> int:
        return int(valkey.say("INFO", "stats").partition(b"total_connections_received:")[2].partition(b"\r")[0])

    engine = engine_of(valkey.url)
    assert engine.run(one(command("PING"))) == b"PONG"
    before = accepted()
    engine.ping()
    assert accepted() - before == 2  # its own and the one that asks here


def test_the_deadline_bounds_all_batches_together(shared_valkey: Any, engine_of: EngineOf, seen: list[Any]) -> None:
    engine = engine_of(shared_valkey.url)
    assert engine.run(one(command("PING"))) == b"PONG"
    seen.clear()

    def flow() -> Flow[list[Any]]:
        got: list[Any] = []
        for _ in range(3):
            got.append((yield from one(command("BLPOP", "nothing", 0.3))))
        got.append((yield Wait(("bell",), 60)))
        return got

    *replies, woken = engine.run(flow(), deadline=0.05)
    assert [type(reply) for reply in replies] == [RedisUnavailable] * 3
    assert woken is None
    assert len(seen) == 1


def test_the_switch_refuses_everything_without_a_word_to_the_server(
    valkey: Any, engine_of: EngineOf, seen: list[Any]
) -> None:
    engine = engine_of(valkey.url)
    engine.driver.refuse_all = True
    replies = engine.run(send(command("PING"), command("GET", "k", role="cache"), command("PING", wakes=("bell",))))
    assert [type(reply) for reply in replies] == [RedisUnavailable] * 3
    assert engine.run(queued("bell", 0.01)) is None
    with pytest.raises(RedisUnavailable):
        engine.ping()
    assert b"name=redis-mw" not in valkey.say("CLIENT", "LIST")
    engine.driver.refuse_all = False
    assert engine.run(one(command("PING"))) == b"PONG"
    assert len(seen) == 1


# Wake-ups.


def test_a_wake_up_between_the_batch_and_the_wait_is_kept_and_heard_once(
    shared_valkey: Any, engine_of: EngineOf
) -> None:
    def flow() -> Flow[Any]:
        _ = yield Batch((command("PING", wakes=("door", "gate")),))
        assert b":1\r\n" in shared_valkey.say("PUBLISH", "gate", "now")
        _ = yield Batch((command("PING"),))
        first = yield Wait(("door", "gate"), 30)
        second = yield Wait(("door", "gate"), 0.01)
        return first, second

    first, second = engine_of(shared_valkey.url).run(flow())
    assert first.channel == "gate" and first.after >= 0
    assert second is None


def test_who_is_woken_is_told_what_was_said_the_last_of_it_if_he_comes_late(
    shared_valkey: Any, engine_of: EngineOf
) -> None:
    def flow() -> Flow[Any]:
        _ = yield Batch((command("PING", wakes=("said",)),))
        assert shared_valkey.say("PUBLISH", "said", "one") == b":1\r\n"
        assert shared_valkey.say("PUBLISH", "said", "two") == b":1\r\n"
        _ = yield Batch((command("INCR", "said:heard"),))
        late = yield Wait(("said",), 30)
        while late.message == b"one":  # the other one is under way
            late = yield Wait(("said",), 30)
        _ = yield Batch((command("INCR", "said:waits"),))
        return late.message, (yield Wait(("said",), 30)).message

    engine = engine_of(shared_valkey.url)
    _ = shared_valkey.say("DEL", "said:waits")
    run = engine.start(flow())
    until(lambda: shared_valkey.say("EXISTS", "said:waits") == b":1\r\n", "it waits")
    _ = shared_valkey.say("PUBLISH", "said", "three")
    assert run.result(60) == (b"two", b"three")


def test_every_flow_that_waits_is_woken_and_the_channel_is_left_behind(shared_valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(shared_valkey.url)
    _ = shared_valkey.say("DEL", "queue:all")
    waiting: list[Future[Any]] = [engine.start(queued("all")) for _ in range(8)]
    until(lambda: shared_valkey.say("GET", "queue:all") == b"$1\r\n8\r\n", "all are queued")
    _ = shared_valkey.say("PUBLISH", "all", "now")
    assert [run.result(60).channel for run in waiting] == ["all"] * 8
    until(lambda: shared_valkey.say("PUBSUB", "NUMSUB", "all").endswith(b":0\r\n"), "nobody listens any more")


def test_a_lost_listening_connection_wakes_those_who_may_have_missed_something(
    valkey: Any, engine_of: EngineOf
) -> None:
    def flow() -> Flow[Any]:
        _ = yield from one(command("PING", wakes=("lossy",)))
        assert valkey.say("CLIENT", "KILL", "TYPE", "pubsub") == b":1\r\n"
        return (yield Wait(("lossy",), 30))

    woken = engine_of(valkey.url).run(flow())
    assert (woken.channel, woken.message) == ("lossy", b"")


# Shared runs, detached flows, the end.


def test_a_shared_run_happens_once_for_all_who_ask_meanwhile_and_anew_afterwards(
    valkey: Any, engine_of: EngineOf
) -> None:
    engine = engine_of(valkey.url)

    def flow() -> Flow[Any]:
        count = yield from one(command("INCR", "runs"))
        _ = yield from one(command("BLPOP", "gate", 20, patience=30))
        return count

    leader = engine.share("key", flow())
    until(lambda: b"blocked_clients:1" in valkey.say("INFO", "clients"), "the leader runs")
    _ = valkey.say("LPUSH", "gate", "x", "y")
    assert leader.result(60) == 1
    assert engine.share("key", flow()).result(60) == 2


def test_followers_of_a_shared_run_get_its_error(valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(valkey.url)

    def failing() -> Flow[None]:
        _ = yield from one(command("BLPOP", "gate", 20, patience=30))
        raise LookupError("a bug")

    askers = [engine.share("key", failing()) for _ in range(4)]
    until(lambda: b"blocked_clients:1" in valkey.say("INFO", "clients"), "the leader runs")
    _ = valkey.say("LPUSH", "gate", *["x"] * 4)
    for asker in askers:
        with pytest.raises(LookupError, match="a bug"):
            asker.result(60)


def test_detached_flows_are_done_before_the_driver_is_closed(valkey: Any, engine_of: EngineOf, seen: list[Any]) -> None:
    engine = engine_of(valkey.url)
    for _ in range(200):
        engine.detach(one(command("INCR", "n")), within=10)
    engine.close()
    engine.close()
    assert valkey.say("GET", "n") == b"$3\r\n200\r\n"
    assert len(seen) == 200 and all(detached for _, _, detached in seen)


def test_a_detached_flow_is_bounded_in_time(valkey: Any, engine_of: EngineOf) -> None:
    replies: list[Any] = []

    def flow() -> Flow[None]:
        replies.append((yield from one(command("BLPOP", "nothing", 0.3, patience=60))))
        replies.append((yield Wait(("bell",), 60)))

    engine = engine_of(valkey.url)
    assert engine.run(one(command("PING"))) == b"PONG"
    engine.detach(flow(), within=0.05)
    engine.close()
    assert isinstance(replies[0], RedisUnavailable) and replies[1] is None


def test_a_detached_flow_that_fails_is_logged_and_harms_nobody(
    shared_valkey: Any, engine_of: EngineOf, caplog: pytest.LogCaptureFixture
) -> None:
    def failing() -> Flow[None]:
        raise LookupError("a bug")
        yield

    engine = engine_of(shared_valkey.url)
    engine.detach(failing(), within=1)
    engine.detach(one(command("SET", "after", "x")), within=5)
    engine.close()
    assert "a bug" in caplog.text
    assert shared_valkey.say("GET", "after") == b"$1\r\nx\r\n"


def test_a_closed_driver_answers_as_if_redis_were_away(valkey: Any, engine_of: EngineOf, seen: list[Any]) -> None:
    used, unused = engine_of(valkey.url), engine_of(valkey.url)
    assert used.run(one(command("PING"))) == b"PONG"
    seen.clear()
    done: list[Any] = []

    def late() -> Flow[None]:
        done.append((yield from one(command("INCR", "late"))))

    for engine in (used, unused):
        engine.close()
        reply, woken = engine.run(together(one(command("PING")), queued("bell", 0.01)))
        assert isinstance(reply, RedisUnavailable) and "closed" in reply.reason
        assert woken is None
        assert isinstance(engine.share("key", one(command("PING"))).result(60), RedisUnavailable)
        engine.detach(late(), within=1)
        with pytest.raises(RedisUnavailable, match="closed"):
            engine.ping()
    until(lambda: len(done) == 2, "detached flows end too")
    assert all(isinstance(reply, RedisUnavailable) for reply in done)
    assert seen == []
    until(lambda: b"name=redis-mw" not in valkey.say("CLIENT", "LIST"), "no connection was made, none is left")
