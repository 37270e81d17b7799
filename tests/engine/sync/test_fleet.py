"""A cluster through the driver for threads: who has the keys is asked, and what servers say of them is followed."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from by_hand import until
from fleets import Watching, cached, calls, keys_on_each, others, ours, scripted
from redis.crc import key_slot

from redis_mw.engine import outlook, trips
from redis_mw.engine.embedded import EmbeddedServer
from redis_mw.engine.sync import SyncDriver
from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.flows import Command, Flow, Wait, Woken, one, send

DriverOf = Callable[..., SyncDriver]
Trip = tuple[str, list[Any]]
NOWHERE = "redis://127.0.0.1:1/0"
SLOTS = 16384


@pytest.fixture
def fleet_of(driver_of: DriverOf) -> DriverOf:
    """Makes drivers whose cache is on a cluster; their default server is nowhere unless ``default`` names it."""

    def make(url: str, *, default: str = NOWHERE, **options: object) -> SyncDriver:
        patient = {"warm_up": 10, "connect_within": 1}  # a busy machine that stands still for a moment is no outage
        return driver_of({"default": default, "cache": url}, **{**patient, **options})

    return make


@pytest.fixture
def seen() -> Iterator[list[Trip]]:
    """Every trip: its server or cluster, and the first word of each command."""
    trips_seen: list[Trip] = []
    stop = trips.observe(lambda name, sent, _detached: trips_seen.append((name, [words[0] for words in sent])))
    yield trips_seen
    stop()


def threads() -> set[threading.Thread]:
    """Those of all drivers."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("redis-mw-")}


def lasting(driver: SyncDriver, command: Command[Any], wanted: Any) -> None:
    """Ask until it is answered rightly, and then it always is."""
    until(lambda: driver.run(one(command)) == wanted, "the errors do not last")
    for _ in range(20):
        assert driver.run(one(command)) == wanted


class Door:
    """Takes connections and answers none of them, or ends each at once."""

    def __init__(self, ends: bool) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._ends = ends
        self._taken: list[socket.socket] = []
        self.connections = 0
        self.port: int = self._listening.getsockname()[1]
        self.url = f"cluster://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                taken, _ = self._listening.accept()
                self.connections += 1
                if self._ends:
                    taken.close()
                else:
                    self._taken.append(taken)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (self._listening, *self._taken):
            each.close()


@contextmanager
def door(*, ends: bool = False) -> Iterator[Door]:
    made = Door(ends)
    try:
        yield made
    finally:
        made.close()


# Where commands go.


def test_keys_of_every_slot_are_written_and_read_and_a_batch_over_three_servers_is_one_trip(
    cluster: Any, fleet_of: DriverOf, seen: list[Trip]
) -> None:
    keys: dict[int, str] = {}
    for number in count():
        _ = keys.setdefault(key_slot(f"all:{number}".encode()), f"all:{number}")
        if len(keys) == SLOTS:
            break
    driver = fleet_of(cluster.url)
    assert set(driver.run(send(*[cached("SET", key, key) for key in keys.values()]))) == {b"OK"}
    got = driver.run(send(*[cached("GET", key) for key in keys.values()]))
    assert got == tuple(key.encode() for key in keys.values())
    assert set(driver.run(send(*[cached("UNLINK", key) for key in keys.values()]))) == {1}
    assert [(name, len(words)) for name, words in seen] == [(cluster.url, SLOTS)] * 3


def test_all_parts_of_a_batch_are_sent_before_any_is_read(cluster: Any, fleet_of: DriverOf) -> None:
    gate, mark, _ = keys_on_each(cluster, "parts")
    driver = fleet_of(cluster.url)
    there = cluster.primary_of(mark).client()
    _ = driver.run(send(cached("DEL", gate), cached("DEL", mark)))

    def open_gate() -> None:
        until(lambda: bool(there.exists(mark)), "the second part has left while nobody answers the first")
        _ = cluster.primary_of(gate).client().lpush(gate, "open")

    opener = threading.Thread(target=open_gate)
    opener.start()
    opened, marked = driver.run(send(cached("BLPOP", gate, 15), cached("SET", mark, "x")))
    opener.join()
    assert (opened, marked) == ([gate.encode(), b"open"], b"OK")


def test_replies_come_back_to_their_places_whoever_gave_them(
    cluster: Any, server: EmbeddedServer, fleet_of: DriverOf, seen: list[Trip]
) -> None:
    a, b, c = keys_on_each(cluster, "places")
    plain: list[Command[Any]] = [Command(("ECHO", n), lambda reply: reply) for n in (1, 2)]
    driver = fleet_of(cluster.url, default=server.url)
    _ = driver.run(send(*[cached("SET", key, key) for key in (a, b, c)]))
    seen.clear()
    batch = (cached("GET", a), plain[0], cached("GET", b), cached("LPUSH", a, 1), cached("GET", c), plain[1])
    first, one_, second, wrong, third, two = driver.run(send(*batch))
    assert (first, one_, second, third, two) == (a.encode(), b"1", b.encode(), c.encode(), b"2")
    assert isinstance(wrong, CommandError) and wrong.code == "WRONGTYPE"
    assert sorted((name, len(words)) for name, words in seen) == [(cluster.url, 4), (server.url, 2)]


def test_a_command_without_keys_goes_to_any_primary(cluster: Any, fleet_of: DriverOf) -> None:
    question: Command[Any] = Command(("CLUSTER", "MYID"), lambda reply: reply, role="cache", patience_us=20_000_000)
    driver, primaries = fleet_of(cluster.url), {node.id.encode() for node in cluster.primaries()}
    answers: set[Any] = set()

    def all_have_answered() -> bool:
        answers.add(driver.run(one(question)))
        return answers >= primaries

    until(all_have_answered, "each is asked some time")
    assert answers == primaries


def test_a_password_is_in_no_name(fleet_of: DriverOf, seen: list[Trip]) -> None:
    driver = fleet_of("cluster://user:secret@127.0.0.1:1,127.0.0.1:2")
    reply = driver.run(one(cached("GET", "k")))
    assert isinstance(reply, RedisUnavailable)
    assert "cluster://127.0.0.1:1,127.0.0.1:2" in str(reply) and "secret" not in str(reply)
    assert seen == []


# What servers say of their slots.


def test_a_slot_that_has_moved_is_followed_and_the_second_time_known(
    cluster: Any, fleet_of: DriverOf, seen: list[Trip]
) -> None:
    key = "moved:1"
    slot, home = key_slot(key.encode()), cluster.primary_of(key)
    driver = fleet_of(cluster.url)
    assert driver.run(one(cached("SET", key, "v"))) == b"OK"
    try:
        cluster.move_slot(slot, others(cluster, key)[0])
        seen.clear()
        for _ in range(2):
            assert driver.run(one(cached("GET", key))) == b"v"
    finally:
        cluster.move_slot(slot, home)
    assert seen == [(cluster.url, ["GET"])] * 3


def test_a_slot_that_is_on_its_way_is_asked_for_where_it_goes_each_time(
    cluster: Any, fleet_of: DriverOf, seen: list[Trip]
) -> None:
    key = "asked:1"
    slot, home = key_slot(key.encode()), cluster.primary_of(key)
    there = others(cluster, key)[0]
    driver = fleet_of(cluster.url)
    assert isinstance(driver.run(one(cached("DEL", key))), int)
    cluster.begin_move(slot, there)
    try:
        seen.clear()
        assert driver.run(one(cached("SET", key, "new"))) == b"OK"
        assert driver.run(one(cached("GET", key))) == b"new"
        assert [words for _, words in seen] == [["SET"], ["ASKING", "SET"], ["GET"], ["ASKING", "GET"]]
        cluster.finish_move(slot, there)
        assert driver.run(one(cached("GET", key))) == b"new"
    finally:
        cluster.move_slot(slot, home)


def test_keys_of_which_one_has_gone_already_are_an_outage_of_their_flow(cluster: Any, fleet_of: DriverOf) -> None:
    key = "{try}:here"
    slot, home = key_slot(key.encode()), cluster.primary_of(key)
    there = others(cluster, key)[0]
    driver = fleet_of(cluster.url)
    assert driver.run(one(cached("SET", key, "v"))) == b"OK"
    cluster.begin_move(slot, there)
    try:
        both, fine = driver.run(send(cached("MGET", key, "{try}:there"), cached("GET", key)))
    finally:
        cluster.finish_move(slot, there)
        cluster.move_slot(slot, home)
    assert isinstance(both, RedisUnavailable) and "TRYAGAIN" in str(both)
    assert fine == b"v"


def test_a_script_is_sent_as_text_only_to_the_server_that_does_not_know_it(
    cluster: Any, fleet_of: DriverOf, seen: list[Trip]
) -> None:
    keys = keys_on_each(cluster, "script")
    driver = fleet_of(cluster.url)
    increments = [scripted("return redis.call('INCR', KEYS[1])", key) for key in keys]
    _ = driver.run(send(*[cached("DEL", key) for key in keys]))
    assert driver.run(send(*increments)) == (1, 1, 1)
    _ = cluster.primary_of(keys[1]).client().script_flush()
    seen.clear()
    assert driver.run(send(*increments)) == (2, 2, 2)
    assert driver.run(send(*increments)) == (3, 3, 3)
    assert [words for _, words in seen] == [["EVALSHA"] * 3, ["EVAL"], ["EVALSHA"] * 3]


def test_a_script_that_is_unknown_where_its_slot_went_is_sent_there_as_text(
    cluster: Any, fleet_of: DriverOf, seen: list[Trip]
) -> None:
    key, *_ = keys_on_each(cluster, "went")
    slot, home = key_slot(key.encode()), cluster.primary_of(key)
    there = others(cluster, key)[0]
    other = next(other for other in keys_on_each(cluster, "stays") if cluster.primary_of(other) is not home)
    text = "return redis.call('INCR', KEYS[1]) -- where it went"
    driver = fleet_of(cluster.url)
    _ = driver.run(send(cached("DEL", key), cached("DEL", other)))
    assert driver.run(send(scripted(text, key), scripted(text, other))) == (1, 1)
    cluster.move_slot(slot, there)
    try:
        for node in (there, cluster.primary_of(other)):
            _ = node.client().script_flush()
        seen.clear()
        assert driver.run(send(scripted(text, key), scripted(text, other))) == (2, 2)
    finally:
        cluster.move_slot(slot, home)
    assert seen[0][1] == ["EVALSHA", "EVALSHA"] and seen[-1][1] == ["EVAL"]


def test_a_script_that_is_unknown_where_its_slot_goes_runs_there_all_the_same(cluster: Any, fleet_of: DriverOf) -> None:
    key = "going:1"
    slot, home = key_slot(key.encode()), cluster.primary_of(key)
    there = others(cluster, key)[0]
    driver = fleet_of(cluster.url)
    assert isinstance(driver.run(one(cached("DEL", key))), int)
    cluster.begin_move(slot, there)
    try:
        for node in (home, there):
            _ = node.client().script_flush()
        increment = scripted("return redis.call('INCR', KEYS[1]) -- where it goes", key)
        assert [driver.run(one(increment)) for _ in range(2)] == [1, 2]
    finally:
        cluster.finish_move(slot, there)
        cluster.move_slot(slot, home)


# Servers that fail.


def test_a_primary_that_dies_fails_its_own_commands_until_its_replica_has_taken_over(
    own_cluster: Any, fleet_of: DriverOf
) -> None:
    a, b, c = keys_on_each(own_cluster, "dies")
    driver = fleet_of(own_cluster.url)
    assert driver.run(send(*[cached("SET", key, "v") for key in (a, b, c)])) == (b"OK",) * 3
    own_cluster.primary_of(a).kill()
    gone, second, third = driver.run(send(*[cached("GET", key, patience=0.5) for key in (a, b, c)]))
    assert isinstance(gone, RedisUnavailable)
    assert (second, third) == (b"v", b"v")
    lasting(driver, cached("SET", a, "new"), b"OK")
    assert driver.run(send(*[cached("GET", key) for key in (a, b, c)])) == (b"new", b"v", b"v")


def test_a_planned_failover_costs_no_command(own_cluster: Any, fleet_of: DriverOf) -> None:
    key = "planned:1"
    driver = fleet_of(own_cluster.url)
    assert driver.run(one(cached("SET", key, 0))) == b"OK"
    failing_over = threading.Thread(target=own_cluster.fail_over, args=(own_cluster.replica_of(key),))
    failing_over.start()
    written = 0
    while failing_over.is_alive() or written < 50:
        written += 1
        assert driver.run(one(cached("INCR", key))) == written
    failing_over.join()


def test_servers_that_have_left_are_closed(
    own_cluster: Any, fleet_of: DriverOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlook, "CALM_S", 0.02)
    monkeypatch.setattr(outlook, "AGAIN_S", 0.0)
    key = "left:1"
    driver = fleet_of(own_cluster.url)

    def waiting() -> Flow[None]:
        assert (yield from one(cached("SET", key, "v", wakes=("left",)))) == b"OK"
        _ = yield Wait(("left",), 0.001)

    driver.run(waiting())
    before = own_cluster.primary_of(key)
    assert ours(before) >= 2
    own_cluster.fail_over(own_cluster.replica_of(key))

    def alone() -> bool:
        assert driver.run(one(cached("GET", key))) == b"v"
        return ours(before) == 0

    until(alone, "no connection to it is left, nor one that listens")
    assert ours(own_cluster.primary_of(key)) >= 1


def test_ping_asks_every_primary(own_cluster: Any, server: EmbeddedServer, fleet_of: DriverOf) -> None:
    fleet_of(own_cluster.url, default=server.url, connect="eager").ping()
    own_cluster.primaries()[2].kill()
    with pytest.raises(RedisUnavailable):
        _ = fleet_of(own_cluster.url, default=server.url, connect="eager")


# Nobody tells who has what.


def test_many_threads_that_begin_at_once_share_one_look(cluster: Any, fleet_of: DriverOf) -> None:
    before = sum(calls(node, "cluster|slots") for node in cluster.nodes)
    driver, barrier = fleet_of(cluster.url), threading.Barrier(32)
    got: list[Any] = []

    def begin() -> None:
        _ = barrier.wait(20)
        got.append(driver.run(one(cached("SET", "shared:1", "v"))))

    callers = [threading.Thread(target=begin) for _ in range(32)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert got == [b"OK"] * 32
    assert sum(calls(node, "cluster|slots") for node in cluster.nodes) == before + 1


def test_while_no_seed_answers_nobody_waits_longer_than_its_patience(fleet_of: DriverOf) -> None:
    with door() as silent:
        driver = fleet_of(silent.url, warm_up=600)
        for n in range(3):
            assert isinstance(driver.run(one(cached("GET", f"k{n}", patience=0.05))), RedisUnavailable)
        assert isinstance(driver.run(one(cached("GET", "k", patience=600)), deadline=0.05), RedisUnavailable)
        assert silent.connections == 1


def test_a_look_goes_on_though_nobody_waits_for_it(
    own_cluster: Any, fleet_of: DriverOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlook, "CALM_S", 3600.0)  # so there is no second one
    for node in own_cluster.nodes:
        node.freeze()
    driver = fleet_of(own_cluster.url, warm_up=60)
    try:
        assert isinstance(driver.run(one(cached("SET", "slow:1", "v", patience=0.05))), RedisUnavailable)
    finally:
        for node in own_cluster.nodes:
            node.thaw()
    until(lambda: driver.run(one(cached("SET", "slow:1", "v", patience=0.05))) == b"OK", "it is known in the end")


def test_when_no_seed_has_answered_commands_are_answered_at_once_for_a_while(
    fleet_of: DriverOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlook, "CALM_S", 3600.0)
    with door(ends=True) as closed:
        driver = fleet_of(closed.url)
        for _ in range(20):
            assert isinstance(driver.run(one(cached("GET", "k", patience=600))), RedisUnavailable)
        assert closed.connections == 1
    monkeypatch.setattr(outlook, "CALM_S", 0.0)
    with door(ends=True) as closed:
        driver = fleet_of(closed.url)
        for _ in range(3):
            assert isinstance(driver.run(one(cached("GET", "k", patience=600))), RedisUnavailable)
        until(lambda: closed.connections == 3, "it is asked each time")


def test_other_roles_do_without_the_cluster(server: EmbeddedServer, fleet_of: DriverOf) -> None:
    with door() as silent:
        driver = fleet_of(silent.url, default=server.url, warm_up=600)
        echo: Command[Any] = Command(("ECHO", "x"), lambda reply: reply, patience_us=20_000_000)
        got, missing = driver.run(send(echo, cached("GET", "k", patience=0.05)))
        assert got == b"x" and isinstance(missing, RedisUnavailable)


def test_seeds_that_are_silent_or_gone_do_not_matter_while_one_answers(cluster: Any, fleet_of: DriverOf) -> None:
    with door() as silent, door(ends=True) as gone:
        url = f"{silent.url},127.0.0.1:{gone.port},127.0.0.1:{cluster.nodes[5].port}"
        for _ in range(5):  # they are asked in random order
            assert isinstance(fleet_of(url).run(one(cached("EXISTS", "seeds:1"))), int)


def test_a_server_that_is_no_cluster_tells_nothing(
    server: EmbeddedServer, fleet_of: DriverOf, caplog: pytest.LogCaptureFixture
) -> None:
    driver = fleet_of(server.url.replace("redis://", "cluster://").removesuffix("/0"))
    assert isinstance(driver.run(one(cached("GET", "k"))), RedisUnavailable)
    assert "nobody tells which servers cluster://" in caplog.text


# Replicas.


def test_what_may_be_read_from_replicas_is_and_the_rest_is_not(cluster: Any, fleet_of: DriverOf) -> None:
    key = "replicas:1"
    primary, replica = cluster.primary_of(key), cluster.replica_of(key)
    driver = fleet_of(cluster.url, read_replicas=True)
    assert driver.run(one(cached("SET", key, "v"))) == b"OK"
    lasting(driver, cached("GET", key, replica=True), b"v")
    here, there = calls(primary, "get"), calls(replica, "get")
    for _ in range(10):
        assert driver.run(one(cached("GET", key, replica=True))) == b"v"
    assert (calls(primary, "get") - here, calls(replica, "get") - there) == (0, 10)
    for _ in range(10):
        assert driver.run(one(cached("GET", key))) == b"v"
    assert (calls(primary, "get") - here, calls(replica, "get") - there) == (10, 10)


def test_without_the_setting_nothing_is_read_from_replicas(cluster: Any, fleet_of: DriverOf) -> None:
    key = "primaries:1"
    driver, before = fleet_of(cluster.url), calls(cluster.replica_of(key), "get")
    for _ in range(10):
        assert driver.run(one(cached("GET", key, replica=True))) is None
    assert calls(cluster.replica_of(key), "get") == before


def test_a_replica_that_does_not_answer_is_left_alone_and_used_again_when_it_does(
    own_cluster: Any, fleet_of: DriverOf
) -> None:
    key = "frozen:1"
    replica = own_cluster.replica_of(key)
    read = cached("GET", key, replica=True, patience=0.1)
    driver = fleet_of(own_cluster.url, read_replicas=True)
    assert driver.run(one(cached("SET", key, "v"))) == b"OK"
    lasting(driver, cached("GET", key, replica=True), b"v")
    replica.freeze()
    assert isinstance(driver.run(one(read)), RedisUnavailable)
    lasting(driver, cached("GET", key, replica=True), b"v")
    replica.thaw()
    before = calls(replica, "get")

    def used() -> bool:
        _ = driver.run(one(read))
        return calls(replica, "get") > before

    until(used, "it is used again")


# Wake-ups.


def test_a_flow_is_woken_by_whomever_its_wake_up_was_sent_to(cluster: Any, fleet_of: DriverOf) -> None:
    keys = keys_on_each(cluster, "wakes")
    driver = fleet_of(cluster.url, read_replicas=True)
    woken: list[Woken | None] = []

    def waiting(key: str) -> Flow[None]:
        channel = f"ch:{key}"
        _ = yield from one(cached("GET", key, wakes=(channel,), replica=True))
        woken.append((yield Wait((channel,), 30)))

    for node in cluster.nodes:
        woken.clear()
        sleepers = [threading.Thread(target=driver.run, args=(waiting(key),)) for key in keys]
        for sleeper in sleepers:
            sleeper.start()

        def all_are_up(node: Any = node) -> bool:
            for key in keys:
                _ = node.client().publish(f"ch:{key}", "m")
            return len(woken) == 3

        until(all_are_up, "what is published anywhere is heard")
        for sleeper in sleepers:
            sleeper.join()
        assert [each is not None and each.message for each in woken] == [b"m"] * 3


def test_who_hears_a_channel_hears_it_also_after_a_failover(own_cluster: Any, fleet_of: DriverOf) -> None:
    channel = "heard:1"
    heard: list[None] = []
    driver = fleet_of(own_cluster.url)
    driver.hear("cache", channel, lambda: heard.append(None))
    until(lambda: bool(heard), "the first call is the confirmation")
    for node in own_cluster.nodes:
        before = len(heard)
        _ = node.client().publish(channel, "")
        until(lambda before=before: len(heard) > before, "what is published anywhere is heard")  # type: ignore[misc]
    before = len(heard)
    own_cluster.primary_of(channel).kill()
    until(lambda: len(heard) > before, "something may have been missed, though nobody has sent anything")
    before = len(heard)

    def hears() -> bool:
        _ = own_cluster.primary_of(channel).client().publish(channel, "")
        return len(heard) > before

    until(hears, "it listens to another one")


# What is changed.


def changes_are_told(cluster: Any, watcher: Watching, keys: Sequence[str]) -> None:
    for key in keys:
        _ = cluster.primary_of(key).client().incr(key)
        until(lambda key=key: [key] in watcher.told, f"that {key} was changed is told")  # type: ignore[misc]
    watcher.told.clear()


def test_what_is_changed_on_any_primary_is_told(cluster: Any, fleet_of: DriverOf) -> None:
    keys, watcher = keys_on_each(cluster, "told"), Watching()
    driver = fleet_of(cluster.url)
    driver.watch("cache", ("told:",), watcher)
    until(lambda: watcher.on, "it begins")
    assert watcher.told == ["begin"]
    changes_are_told(cluster, watcher, keys)
    assert watcher.on
    driver.close()
    assert watcher.told == ["end"]


def test_a_planned_failover_ends_it_as_soon_as_we_hear_of_it_and_it_begins_anew(
    own_cluster: Any, fleet_of: DriverOf
) -> None:
    keys, watcher = keys_on_each(own_cluster, "planned"), Watching()
    driver = fleet_of(own_cluster.url)
    driver.watch("cache", ("planned:",), watcher)
    until(lambda: watcher.on, "it begins")
    own_cluster.fail_over(own_cluster.replica_of(keys[0]))
    watcher.told.clear()
    _ = driver.run(one(cached("GET", keys[0])))
    assert watcher.told[:1] == ["end"]
    until(lambda: watcher.on, "it begins anew")
    watcher.told.clear()
    changes_are_told(own_cluster, watcher, keys)


def test_the_death_of_a_primary_ends_it_until_its_successor_is_heard_though_nobody_sends_anything(
    own_cluster: Any, fleet_of: DriverOf
) -> None:
    keys, watcher = keys_on_each(own_cluster, "dead"), Watching()
    driver = fleet_of(own_cluster.url)
    driver.watch("cache", ("dead:",), watcher)
    until(lambda: watcher.on, "it begins")
    own_cluster.primary_of(keys[0]).kill()
    until(lambda: watcher.told[-1] == "end", "it ends")
    until(lambda: watcher.on, "it begins anew")
    watcher.told.clear()
    changes_are_told(own_cluster, watcher, keys)


def test_who_watches_before_any_server_answers_begins_when_one_does(
    own_cluster: Any, fleet_of: DriverOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlook, "CALM_S", 0.01)
    for node in own_cluster.nodes:
        node.freeze()
    watcher = Watching()
    driver = fleet_of(own_cluster.url, warm_up=0.05)
    driver.watch("cache", ("k:",), watcher)
    assert isinstance(driver.run(one(cached("GET", "k:1", patience=600))), RedisUnavailable)
    assert watcher.told == []
    for node in own_cluster.nodes:
        node.thaw()
    until(lambda: watcher.on, "it begins")


# The end, and other processes.


def test_a_driver_that_refuses_everything_sends_nothing(cluster: Any, fleet_of: DriverOf, seen: list[Trip]) -> None:
    watcher = Watching()
    with door() as silent:
        refusing = fleet_of(silent.url)
        refusing.refuse_all = True
        refusing.watch("cache", ("k:",), watcher)
        assert isinstance(refusing.run(one(cached("GET", "k"))), RedisUnavailable)
        refusing.close()
        assert (silent.connections, watcher.told) == (0, [])
    driver = fleet_of(cluster.url)
    driver.watch("cache", ("refused:",), watcher)
    until(lambda: watcher.on, "it begins")
    assert driver.run(one(cached("GET", "refused:1"))) is None
    driver.refuse_all = True
    seen.clear()
    assert not watcher.on
    assert isinstance(driver.run(one(cached("GET", "refused:1"))), RedisUnavailable)
    assert seen == []
    driver.refuse_all = False
    assert driver.run(one(cached("GET", "refused:1"))) is None
    until(lambda: watcher.on, "it begins anew")


def test_nothing_is_left_once_a_driver_is_closed(cluster: Any, fleet_of: DriverOf) -> None:
    keys, watcher, heard = keys_on_each(cluster, "closed"), Watching(), threading.Event()
    others, driver = threads(), fleet_of(cluster.url, read_replicas=True)
    driver.watch("cache", ("closed:",), watcher)
    driver.hear("cache", "closed", heard.set)
    until(lambda: watcher.on and heard.is_set(), "it begins")
    assert driver.run(send(*[cached("GET", key) for key in keys])) == (None,) * 3
    assert driver.run(send(*[cached("GET", key, replica=True) for key in keys])) == (None,) * 3
    assert all(ours(node) for node in cluster.nodes)
    driver.close()
    assert not watcher.on
    until(lambda: not any(ours(node) for node in cluster.nodes), "all connections are closed")
    until(lambda: threads() <= others, "all threads have ended")
    assert isinstance(driver.run(one(cached("GET", "k"))), RedisUnavailable)


def test_the_end_waits_for_no_server_that_is_silent(fleet_of: DriverOf) -> None:
    with door() as silent:
        driver = fleet_of(silent.url, warm_up=600)
        waiting = threading.Thread(target=driver.run, args=(one(cached("GET", "k", patience=600)),))
        waiting.start()
        until(lambda: silent.connections == 1, "it is asked")
        driver.close()
        waiting.join(20)
        assert not waiting.is_alive()


def test_a_fork_starts_afresh(cluster: Any) -> None:
    script = Path(__file__).with_name("fork_fleet_script.py")
    done = subprocess.run([sys.executable, str(script), cluster.url], capture_output=True, text=True, timeout=120)
    assert done.stdout == "0 wrong\n", done.stderr


def test_who_is_interrupted_while_a_look_begins_has_begun_it(
    cluster: Any, fleet_of: DriverOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        if thread.name == "redis-mw-lookout":
            raise KeyboardInterrupt

    driver = fleet_of(cluster.url)
    with monkeypatch.context() as interrupting:
        interrupting.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _ = driver.run(one(cached("GET", "cut:1")))
    assert driver.run(one(cached("GET", "cut:1"))) is None
