"""The sync driver against a real server: what each flow gets, and what a bad day costs."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest

from redis_mw.engine import trips
from redis_mw.engine.resp import NOTHING
from redis_mw.engine.sync import SyncDriver
from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.events import Event
from redis_mw.flows import Batch, Command, Flow, Role, Script, Wait, one, send, together

DriverOf = Callable[..., SyncDriver]


def raw(
    *words: str | int | bytes, role: Role = "default", patience: float = 1.0, wakes: tuple[str, ...] = ()
) -> Command[Any]:
    return Command(words, lambda reply: reply, role=role, patience_us=int(patience * 1_000_000), wakes=wakes)


def scripted(text: str, *args: str | int, keys: tuple[str, ...] = ()) -> Command[Any]:
    script = Script("test", text, sha1(text.encode()).hexdigest())
    return Command(args, lambda reply: reply, keys=keys, script=script)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for another thread or process; the bound is only there to end a broken test."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


@pytest.fixture
def seen() -> Any:
    trips_seen: list[tuple[str, tuple[Any, ...], bool]] = []
    stop = trips.observe(lambda *trip: trips_seen.append(trip))
    yield trips_seen
    stop()


# What a flow gets.


def test_replies_are_raw_and_of_the_third_protocol(shared_valkey: Any, driver_of: DriverOf) -> None:
    driver = driver_of(shared_valkey.url)
    got = driver.run(
        send(raw("SET", "k", b"\xff"), raw("GET", "k"), raw("HSET", "h", "f", 1), raw("HGETALL", "h"), raw("GET", "no"))
    )
    assert got[:2] == (b"OK", b"\xff")
    assert got[3:] == ({b"f": b"1"}, None)


def test_an_error_reply_reaches_only_its_own_flow(shared_valkey: Any, driver_of: DriverOf) -> None:
    driver = driver_of(shared_valkey.url)
    _ = driver.run(send(raw("DEL", "list"), raw("LPUSH", "list", "x")))
    good, bad, after = driver.run(together(one(raw("ECHO", "a")), one(raw("GET", "list")), one(raw("ECHO", "b"))))
    assert (good, after) == (b"a", b"b")
    assert isinstance(bad, CommandError) and bad.code == "WRONGTYPE"


def test_a_batch_is_one_trip_however_many_commands_it_has(
    shared_valkey: Any, driver_of: DriverOf, seen: list[Any]
) -> None:
    driver = driver_of(shared_valkey.url)
    _ = driver.run(send(*[raw("ECHO", n) for n in range(20)]))
    assert [(endpoint, len(commands), detached) for endpoint, commands, detached in seen] == [
        (f"redis://127.0.0.1:{shared_valkey.port}/0", 20, False)
    ]


def test_a_script_the_server_does_not_know_is_sent_once_more_with_its_text(
    shared_valkey: Any, driver_of: DriverOf, seen: list[Any]
) -> None:
    driver = driver_of(shared_valkey.url)
    _ = driver.run(one(raw("SCRIPT", "FLUSH")))
    seen.clear()
    count = scripted("return redis.call('INCRBY', KEYS[1], ARGV[1])", 5, keys=("counted",))
    _ = driver.run(one(raw("DEL", "counted")))
    assert driver.run(send(raw("ECHO", "x"), count, count)) == (b"x", 5, 10)
    assert [[words[0] for words in commands] for _, commands, _ in seen] == [
        ["DEL"],
        ["ECHO", "EVALSHA", "EVALSHA"],
        ["EVAL", "EVAL"],
    ]
    assert driver.run(one(count)) == 15
    assert len(seen) == 4


def test_errors_that_are_no_outage_leave_the_breaker_alone(
    shared_valkey: Any, driver_of: DriverOf, events: list[Event]
) -> None:
    driver = driver_of(shared_valkey.url)
    fail = scripted("return redis.error_reply(ARGV[1])", "OOM command not allowed")
    readonly = scripted("return redis.error_reply(ARGV[1])", "READONLY You can't write")
    for _ in range(30):
        for reply in driver.run(send(fail, readonly, raw("LPUSH", "x"))):
            assert isinstance(reply, CommandError)
    oom, *_ = driver.run(send(fail, readonly))
    assert isinstance(oom, CommandError) and (oom.code, oom.message) == ("OOM", "command not allowed")
    assert events == []


def test_roles_on_two_servers_are_asked_in_one_step_and_fail_alone(
    valkey: Any, shared_valkey: Any, driver_of: DriverOf, seen: list[Any]
) -> None:
    driver = driver_of({"default": shared_valkey.url, "cache": valkey.url})
    batch = together(one(raw("ECHO", "a")), one(raw("ECHO", "b", role="cache")), one(raw("ECHO", "c", role="locks")))
    assert driver.run(batch) == (b"a", b"b", b"c")
    assert sorted(len(commands) for _, commands, _ in seen) == [1, 2]
    valkey.stop()
    batch = together(one(raw("ECHO", "a")), one(raw("ECHO", "b", role="cache")), one(raw("ECHO", "c", role="locks")))
    a, b, c = driver.run(batch)
    assert (a, c) == (b"a", b"c")
    assert isinstance(b, RedisUnavailable)


def test_equal_urls_share_one_endpoint(shared_valkey: Any, driver_of: DriverOf, seen: list[Any]) -> None:
    driver = driver_of({"default": shared_valkey.url, "cache": shared_valkey.url})
    _ = driver.run(together(one(raw("ECHO", "a")), one(raw("ECHO", "b", role="cache"))))
    assert len(seen) == 1


# How it gets there.


def test_a_unix_socket_is_a_server_like_any_other(shared_valkey: Any, driver_of: DriverOf) -> None:
    driver = driver_of(f"unix://{shared_valkey.path}?db=3")
    info: Any = driver.run(one(raw("CLIENT", "INFO")))
    assert b" db=3 " in info


def test_an_acl_user_is_who_we_are(shared_valkey: Any, driver_of: DriverOf) -> None:
    _ = shared_valkey.say("ACL", "SETUSER", "shop", "on", ">p@ss", "~*", "+@all", "-flushall")
    driver = driver_of(f"redis://shop:p%40ss@127.0.0.1:{shared_valkey.port}/0")
    who, refused = driver.run(send(raw("ACL", "WHOAMI"), raw("FLUSHALL")))
    assert who == b"shop"
    assert isinstance(refused, CommandError) and refused.code == "NOPERM"


def test_a_wrong_password_is_an_outage_that_says_so(shared_valkey: Any, driver_of: DriverOf) -> None:
    _ = shared_valkey.say("ACL", "SETUSER", "shop", "on", ">p@ss", "~*", "+@all")
    reply = driver_of(f"redis://shop:wrong@127.0.0.1:{shared_valkey.port}/0").run(one(raw("PING")))
    assert isinstance(reply, RedisUnavailable) and "WRONGPASS" in reply.reason and "wrong@" not in reply.reason


def test_tls_is_verified_against_the_authority_the_url_names(
    tls_port: int, certificate: tuple[Path, Path], driver_of: DriverOf
) -> None:
    good = driver_of(f"rediss://localhost:{tls_port}/0?ssl_ca_certs={certificate[0]}")
    assert good.run(send(raw("ECHO", "x" * 100_000), raw("ECHO", "b"))) == (b"x" * 100_000, b"b")
    assert good.run(one(raw("ECHO", "again"))) == b"again"
    reply = driver_of(f"rediss://localhost:{tls_port}/0").run(one(raw("PING")))
    assert isinstance(reply, RedisUnavailable) and "CERTIFICATE_VERIFY_FAILED" in reply.reason


def test_threads_get_their_own_replies_and_no_more_connections_than_allowed(valkey: Any, driver_of: DriverOf) -> None:
    driver = driver_of(valkey.url, pool=3)
    wrong: list[Any] = []

    def ask(thread: int) -> None:
        for turn in range(100):
            if driver.run(one(raw("ECHO", f"{thread}:{turn}", patience=10))) != f"{thread}:{turn}".encode():
                wrong.append((thread, turn))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    clients: Any = driver.run(one(raw("CLIENT", "LIST")))
    assert clients.count(b" name=redis-mw ") <= 3


def test_a_crowded_pool_is_not_the_servers_failure(valkey: Any, driver_of: DriverOf, events: list[Event]) -> None:
    driver = driver_of(valkey.url, pool=1)
    holder = threading.Thread(target=lambda: driver.run(one(raw("BLPOP", "nothing", 5, patience=10))))
    holder.start()
    until(lambda: b"blocked_clients:1" in valkey.say("INFO", "clients"), "the holder holds the only connection")
    for _ in range(6):
        reply = driver.run(one(raw("PING", patience=0.01)))
        assert isinstance(reply, RedisUnavailable) and "busy" in reply.reason
    _ = valkey.say("LPUSH", "nothing", "x")
    holder.join()
    assert driver.run(one(raw("PING"))) == b"PONG"
    assert events == []


def test_a_forked_child_talks_on_connections_of_its_own(shared_valkey: Any) -> None:
    script = Path(__file__).with_name("fork_script.py")
    done = subprocess.run([sys.executable, str(script), shared_valkey.url], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "0 wrong"), done.stderr


# A bad day.


def test_a_late_reply_is_never_somebody_elses(valkey: Any, driver_of: DriverOf) -> None:
    driver = driver_of(valkey.url)
    assert driver.run(one(raw("ECHO", "warm"))) == b"warm"
    reply = driver.run(one(raw("BLPOP", "nothing", 1, patience=0.05)))
    assert isinstance(reply, RedisUnavailable)
    for n in range(5):
        assert driver.run(one(raw("ECHO", n, patience=5))) == str(n).encode()


def test_a_hung_server_costs_one_patience_then_nothing_until_it_is_back(
    valkey: Any, driver_of: DriverOf, events: list[Event]
) -> None:
    driver = driver_of(valkey.url)
    assert driver.run(one(raw("PING"))) == b"PONG"
    valkey.freeze()
    assert isinstance(driver.run(one(raw("GET", "k", role="cache", patience=0.1))), RedisUnavailable)
    until(lambda: any(e.name == "redis.unavailable" and e.outcome == "quick" for e in events), "quick opens")
    assert isinstance(driver.run(one(raw("GET", "k", role="sessions", patience=1.0))), RedisUnavailable)
    until(lambda: any(e.name == "redis.unavailable" and e.outcome == "firm" for e in events), "firm opens")
    with_nothing_sent: list[Any] = []
    stop = trips.observe(lambda *trip: with_nothing_sent.append(trip))
    for role in ("cache", "sessions", "default"):
        reply = driver.run(one(raw("GET", "k", role=role)))
        assert isinstance(reply, RedisUnavailable) and reply.retry_after > 0
    stop()
    assert with_nothing_sent == []
    valkey.thaw()
    until(lambda: sum(e.name == "redis.recovered" for e in events) == 2, "both classes recover")
    assert driver.run(send(raw("PING"), raw("GET", "k", role="cache"))) == (b"PONG", None)


def test_a_server_that_takes_200_ms_goes_on_serving_sessions_and_is_not_asked_for_the_cache(
    slow_port: int, driver_of: DriverOf, events: list[Event]
) -> None:
    driver = driver_of(f"redis://127.0.0.1:{slow_port}/0")
    assert driver.run(one(raw("ECHO", "s", role="sessions"))) == b"s"
    assert isinstance(driver.run(one(raw("ECHO", "c", role="cache", patience=0.1))), RedisUnavailable)
    until(lambda: len(events) == 1, "quick opens")
    for n in range(3):
        cached, session = driver.run(
            together(one(raw("ECHO", "c", role="cache", patience=0.1)), one(raw("ECHO", n, role="sessions")))
        )
        assert isinstance(cached, RedisUnavailable)
        assert session == str(n).encode()
    assert [(event.name, event.outcome) for event in events] == [("redis.unavailable", "quick")]


def test_a_flow_waiting_on_a_server_that_is_given_up_is_ended(valkey: Any, driver_of: DriverOf) -> None:
    driver = driver_of(valkey.url)
    assert driver.run(one(raw("PING"))) == b"PONG"
    valkey.freeze()
    got: list[Any] = []
    patient = threading.Thread(target=lambda: got.append(driver.run(one(raw("GET", "k", patience=600)))))
    patient.start()
    assert isinstance(driver.run(one(raw("GET", "k", role="cache", patience=0.1))), RedisUnavailable)
    patient.join(30)
    assert len(got) == 1 and isinstance(got[0], RedisUnavailable)
    valkey.thaw()


def test_a_restarted_server_is_not_noticed_by_anybody(valkey: Any, driver_of: DriverOf, events: list[Event]) -> None:
    driver = driver_of(valkey.url)
    add = scripted("return redis.call('INCR', KEYS[1])", keys=("n",))
    assert driver.run(one(add)) == 1
    valkey.stop()
    valkey.start()
    assert driver.run(one(add)) == 1
    assert events == []


def test_a_server_that_is_not_there_is_an_outage_and_found_when_it_comes(
    valkey: Any, driver_of: DriverOf, events: list[Event]
) -> None:
    valkey.stop()
    driver = driver_of(valkey.url)
    assert isinstance(driver.run(one(raw("PING"))), RedisUnavailable)
    until(lambda: len(events) == 2, "a refused probe opens both classes")
    valkey.start()
    until(lambda: len(events) == 4, "the background probe finds it")
    assert driver.run(one(raw("PING"))) == b"PONG"


def test_eager_refuses_to_start_and_lazy_does_not(valkey: Any, driver_of: DriverOf) -> None:
    driver_of(valkey.url, connect="eager").ping()
    valkey.stop()
    with pytest.raises(RedisUnavailable):
        _ = driver_of(valkey.url, connect="eager")
    lazy = driver_of(valkey.url)
    with pytest.raises(RedisUnavailable):
        lazy.ping()


def test_the_deadline_bounds_all_batches_together(shared_valkey: Any, driver_of: DriverOf, seen: list[Any]) -> None:
    driver = driver_of(shared_valkey.url)
    _ = driver.run(one(raw("PING")))
    seen.clear()

    def flow() -> Flow[list[Any]]:
        got = []
        for _ in range(3):
            got.append((yield from one(raw("BLPOP", "nothing", 1, patience=5))))
        return got

    got = driver.run(flow(), deadline=0.05)
    assert [type(reply) for reply in got] == [RedisUnavailable] * 3
    assert len(seen) == 1


def test_the_switch_refuses_everything_without_a_word_to_the_server(
    shared_valkey: Any, driver_of: DriverOf, seen: list[Any]
) -> None:
    driver = driver_of(shared_valkey.url)
    driver.refuse_all = True
    replies = driver.run(send(raw("PING"), raw("GET", "k", role="cache")))
    assert [type(reply) for reply in replies] == [RedisUnavailable] * 2
    with pytest.raises(RedisUnavailable):
        driver.ping()
    driver.refuse_all = False
    assert driver.run(one(raw("PING"))) == b"PONG"
    assert len(seen) == 1


# Wake-ups.


def test_a_wake_up_between_the_batch_and_the_wait_is_not_lost(shared_valkey: Any, driver_of: DriverOf) -> None:
    def flow() -> Flow[str | None]:
        _ = yield from one(raw("ECHO", "queued", wakes=("gap",)))
        assert b":1\r\n" in shared_valkey.say("PUBLISH", "gap", "now")
        woken: str | None = yield Wait(("other", "gap"), 20)
        return woken

    assert driver_of(shared_valkey.url).run(flow()) == "gap"


def test_a_wait_ends_with_nothing_when_its_time_is_over(shared_valkey: Any, driver_of: DriverOf) -> None:
    def flow() -> Flow[str | None]:
        _ = yield from one(raw("ECHO", "queued", wakes=("quiet",)))
        woken: str | None = yield Wait(("quiet",), 0.01)
        return woken

    assert driver_of(shared_valkey.url).run(flow()) is None


def test_every_flow_that_waits_is_woken_and_the_channel_is_left_behind(shared_valkey: Any, driver_of: DriverOf) -> None:
    driver = driver_of(shared_valkey.url)
    woken: list[str | None] = []

    def flow() -> Flow[None]:
        _ = yield from one(raw("RPUSH", "ready", "x", wakes=("all",)))
        woken.append((yield Wait(("all",), 30)))

    _ = shared_valkey.say("DEL", "ready")
    threads = [threading.Thread(target=lambda: driver.run(flow())) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: shared_valkey.say("LLEN", "ready") == b":8\r\n", "all are queued")
    _ = shared_valkey.say("PUBLISH", "all", "now")
    for thread in threads:
        thread.join()
    assert woken == ["all"] * 8
    until(lambda: shared_valkey.say("PUBSUB", "NUMSUB", "all").endswith(b":0\r\n"), "nobody listens any more")


def test_a_lost_listening_connection_wakes_those_who_may_have_missed_something(
    shared_valkey: Any, driver_of: DriverOf
) -> None:
    def flow() -> Flow[str | None]:
        _ = yield from one(raw("ECHO", "queued", wakes=("lossy",)))
        assert shared_valkey.say("CLIENT", "KILL", "TYPE", "pubsub") == b":1\r\n"
        woken: str | None = yield Wait(("lossy",), 30)
        return woken

    assert driver_of(shared_valkey.url).run(flow()) == "lossy"


# Interruptions, detached flows, shared runs, the end.


def tamper(driver: Any, attribute: str, replaced: Callable[[Any], Any]) -> None:
    """Put something in the driver's one connection that does what a signal handler does, at a place of our choosing."""
    pool = driver._process().link("default")._pool
    connection = pool.take(time.monotonic() + 5, False)
    setattr(connection, attribute, replaced(getattr(connection, attribute)))
    pool.give(connection)


class Interrupted:
    """A poll that is interrupted once while it waits for a reply."""

    def __init__(self, poll: Any, before: Callable[[], object]) -> None:
        self._poll = poll
        self._before = before
        self._armed = True

    def poll(self, timeout: float) -> Any:
        if self._armed and timeout > 1000:
            self._armed = False
            _ = self._before()
            raise KeyboardInterrupt
        return self._poll.poll(timeout)


class Torn:
    """A parser that is interrupted when bytes have been taken off the socket."""

    def feed(self, data: bytes) -> None:
        raise KeyboardInterrupt

    def gets(self) -> object:
        return NOTHING


def test_an_interrupted_flow_undoes_its_work_after_its_batch_has_settled(valkey: Any, driver_of: DriverOf) -> None:
    driver = driver_of(valkey.url)
    ran_before: list[bytes] = []

    def flow() -> Flow[None]:
        try:
            _ = yield Batch((raw("BLPOP", "gate", 30, patience=30), raw("SET", "taken", "x", patience=30)))
        except KeyboardInterrupt:
            ran_before.append(valkey.say("EXISTS", "taken"))
            _ = yield from one(raw("DEL", "taken"))
            raise

    opener = threading.Timer(
        0.2, valkey.say, ("LPUSH", "gate", "open")
    )  # the server is still busy when we are interrupted
    tamper(driver, "_poll", lambda poll: Interrupted(poll, opener.start))
    with pytest.raises(KeyboardInterrupt):
        driver.run(flow())
    assert ran_before == [b":1\r\n"]
    driver.close()
    assert valkey.say("EXISTS", "taken", "gate") == b":0\r\n"


def test_a_connection_interrupted_while_bytes_moved_is_never_used_again(valkey: Any, driver_of: DriverOf) -> None:
    driver = driver_of(valkey.url)
    tamper(driver, "_reader", lambda reader: Torn())
    with pytest.raises(KeyboardInterrupt):
        _ = driver.run(one(raw("ECHO", "lost")))
    assert driver.run(one(raw("ECHO", "mine"))) == b"mine"


def test_detached_flows_are_done_before_the_driver_is_closed(valkey: Any, driver_of: DriverOf, seen: list[Any]) -> None:
    driver = driver_of(valkey.url)
    for _ in range(200):
        driver.detach(one(raw("INCR", "n")), within=10)
    driver.close()
    driver.close()
    assert valkey.say("GET", "n") == b"$3\r\n200\r\n"
    assert len(seen) == 200 and all(detached for _, _, detached in seen)


def test_a_shared_run_happens_once_for_all_who_ask_meanwhile(valkey: Any, driver_of: DriverOf) -> None:
    driver = driver_of(valkey.url)
    got: list[Any] = []

    def flow() -> Flow[Any]:
        count = yield from one(raw("INCR", "runs"))
        _ = yield from one(raw("BLPOP", "gate", 20, patience=20))
        return count

    threads = [threading.Thread(target=lambda: got.append(driver.share("key", flow()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: b"blocked_clients:1" in valkey.say("INFO", "clients"), "the leader runs")
    until(lambda: sum(t.is_alive() for t in threads) == 8, "the others wait")
    _ = valkey.say("LPUSH", "gate", *["x"] * 8)
    for thread in threads:
        thread.join()
    runs = int(valkey.say("GET", "runs").split(b"\r\n")[1])
    assert len(got) == 8
    assert max(got) == runs < 8


def test_followers_of_a_shared_run_get_its_error(shared_valkey: Any, driver_of: DriverOf) -> None:
    driver = driver_of(shared_valkey.url)
    inside, go = threading.Event(), threading.Event()

    def failing() -> Flow[None]:
        inside.set()
        assert go.wait(20)
        raise LookupError("the leader's")
        yield

    errors: list[BaseException] = []

    def ask() -> None:
        try:
            driver.share("k", failing())
        except LookupError as error:
            errors.append(error)

    leader = threading.Thread(target=ask)
    leader.start()
    assert inside.wait(20)
    follower = threading.Thread(target=ask)
    follower.start()
    go.set()
    leader.join()
    follower.join()
    assert len(errors) == 2


def test_a_leader_that_is_interrupted_takes_nobody_along(shared_valkey: Any, driver_of: DriverOf) -> None:
    driver = driver_of(shared_valkey.url)
    inside, go = threading.Event(), threading.Event()

    def interrupted() -> Flow[str]:
        inside.set()
        assert go.wait(20)
        raise KeyboardInterrupt
        yield

    def lead() -> None:
        with pytest.raises(KeyboardInterrupt):
            _ = driver.share("k", interrupted())

    got: list[Any] = []
    leader = threading.Thread(target=lead)
    leader.start()
    assert inside.wait(20)
    follower = threading.Thread(target=lambda: got.append(driver.share("k", one(raw("ECHO", "mine")))))
    follower.start()
    go.set()
    leader.join()
    follower.join()
    assert got == [b"mine"]


def test_a_detached_flow_that_fails_is_logged_and_harms_nobody(
    shared_valkey: Any, driver_of: DriverOf, caplog: pytest.LogCaptureFixture
) -> None:
    def failing() -> Flow[None]:
        raise LookupError("a bug")
        yield

    driver = driver_of(shared_valkey.url)
    driver.detach(failing(), within=1)
    driver.detach(one(raw("SET", "after", "x")), within=5)
    driver.close()
    assert "a bug" in caplog.text
    assert shared_valkey.say("GET", "after") == b"$1\r\nx\r\n"


def test_a_closed_driver_says_so(shared_valkey: Any, driver_of: DriverOf) -> None:
    with driver_of(shared_valkey.url) as driver:
        _ = driver.run(one(raw("PING")))
    with pytest.raises(RuntimeError, match="closed"):
        _ = driver.run(one(raw("PING")))


def test_nothing_is_left_behind(valkey: Any, driver_of: DriverOf) -> None:
    def flow() -> Flow[None]:
        _ = yield from one(raw("ECHO", "x", wakes=("c",)))
        _ = yield Wait(("c",), 0.001)

    driver = driver_of(valkey.url)
    driver.run(flow())
    driver.detach(one(raw("PING")), within=1)
    driver.close()
    until(lambda: valkey.say("CLIENT", "LIST").count(b"name=redis-mw") == 0, "all connections are closed")
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("redis-mw-")], "all threads have ended")
