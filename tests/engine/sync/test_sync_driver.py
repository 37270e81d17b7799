"""What is the sync driver's own: its pool, forks, interruptions, threads. The rest is in ``test_parity``."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from by_hand import until

from redis_mw.engine.resp import NOTHING
from redis_mw.engine.sync import SyncDriver
from redis_mw.errors import RedisUnavailable
from redis_mw.events import Event
from redis_mw.flows import Batch, Command, Flow, Role, Wait, one, together

DriverOf = Callable[..., SyncDriver]


def raw(
    *words: str | int | bytes, role: Role = "default", patience: float = 1.0, wakes: tuple[str, ...] = ()
) -> Command[Any]:
    return Command(words, lambda reply: reply, role=role, patience_us=int(patience * 1_000_000), wakes=wakes)


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


def threads() -> set[threading.Thread]:
    """Those of drivers; other tests may have left some that are about to end."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("redis-mw-")}


def test_a_tended_flow_that_was_past_its_last_look_when_it_was_asked_for_is_followed_by_another(
    shared_valkey: Any, driver_of: DriverOf
) -> None:
    others, driver = threads(), driver_of(shared_valkey.url)
    to_do, seen = ["first"], []
    looked, go = threading.Event(), threading.Event()

    def flow() -> Flow[None]:
        seen.append(tuple(to_do))
        to_do.clear()
        looked.set()
        assert go.wait(20)
        return
        yield

    driver.tend("k", flow)
    assert looked.wait(20)
    to_do.append("second")
    for _ in range(3):
        driver.tend("k", flow)
    go.set()
    until(lambda: len(seen) == 2, "another one looks")
    until(lambda: threads() <= others, "and no third")
    assert seen == [("first",), ("second",)]


# A bad day.


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


def test_eager_refuses_to_start_and_lazy_does_not(valkey: Any, driver_of: DriverOf) -> None:
    driver_of(valkey.url, connect="eager").ping()
    valkey.stop()
    with pytest.raises(RedisUnavailable):
        _ = driver_of(valkey.url, connect="eager")
    lazy = driver_of(valkey.url)
    with pytest.raises(RedisUnavailable):
        lazy.ping()


# Interruptions, and the end.


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


def test_nothing_is_left_behind(valkey: Any, driver_of: DriverOf) -> None:
    def flow() -> Flow[None]:
        _ = yield from one(raw("ECHO", "x", wakes=("c",)))
        _ = yield Wait(("c",), 0.001)

    others, driver = threads(), driver_of(valkey.url)
    driver.run(flow())
    driver.detach(one(raw("PING")), within=1)
    driver.tend("k", flow)
    driver.hear("default", "news", lambda: None)
    driver.close()
    until(lambda: valkey.say("CLIENT", "LIST").count(b"name=redis-mw") == 0, "all connections are closed")
    until(lambda: threads() <= others, "all threads have ended")
