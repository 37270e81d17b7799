"""How long a lease lasts: renewed, extended, lost, forgotten; and what happens while Redis is away."""

import gc
from collections.abc import Callable
from typing import Any

import pytest
from by_hand import command, until

from redis_mw import Event, LeaseLost, LockTimeout, NotOwner, RedisUnavailable
from redis_mw.flows import Wait, one
from redis_mw.testing import count_round_trips, outage

Make = Callable[..., Any]

PATIENT = 50


# Renewed.


def test_a_lease_is_renewed_as_long_as_it_is_held(client: Any, kept: Any) -> None:
    taken = client.acquire("a", "b", ttl=3, max_hold=300)
    first = kept.ends("a"), kept.ends("b")
    until(lambda: kept.ends("a") >= first[0] + 2 and kept.ends("b") >= first[1] + 2, "it is renewed again and again")
    assert not taken.lease.lost
    taken.release()
    assert kept.nothing()


def test_all_leases_of_a_process_are_renewed_in_one_trip(client: Any, kept: Any) -> None:
    holders = [client.acquire(f"a{number}", ttl=6) for number in range(20)]
    last = kept.ends("a19")
    with count_round_trips() as trips:
        until(lambda: all(kept.ends(f"a{number}") > last for number in range(20)), "all are renewed")
    assert trips.awaited == 0
    assert trips.detached <= 2  # two on a machine so busy that some were taken much later than the others
    for holder in holders:
        holder.release()


def test_a_shorter_lease_that_is_taken_later_is_renewed_in_its_own_time(client: Any, kept: Any) -> None:
    client.acquire("long", ttl=60)
    short = client.acquire("short", ttl=3)
    first = kept.ends("short")
    until(lambda: kept.ends("short") > first + 1, "it is renewed")
    assert not short.lease.lost


def test_renewing_ends_when_it_was_held_as_long_as_it_may_be(client: Any, kept: Any, heard: list[Event]) -> None:
    def work(lease: Any) -> None:
        until(lambda: kept.ends("a") > first + 0.5, "it is renewed")
        until(lambda: lease.lost, "it is over")

    first = kept.now() + 1.5
    with pytest.raises(LeaseLost, match="a"):
        client.inside(client.mw.locks.lock("a", ttl=1.5, max_hold=3), work)
    until(lambda: heard[-1].name == "lock.lost", "it is told")
    assert heard[-1].outcome == "max_hold"
    client.acquire("a", wait=0).release()


def test_a_lease_that_nobody_knows_any_more_is_not_renewed(client: Any, kept: Any) -> None:
    room = client.mw.locks.room
    _ = client.acquire("a", ttl=2)
    del _
    _ = gc.collect()
    until(lambda: kept.ends("a") == 0.0, "it ends")
    assert list(room.renewing(0.5)) == [Wait((), 0.5)]
    client.acquire("a", wait=0).release()


# Lost.


def test_a_lease_that_is_over_on_the_server_is_known_to_be_lost(client: Any, kept: Any, heard: list[Event]) -> None:
    def work(lease: Any) -> None:
        assert not lease.lost
        kept.client.delete(kept.key("a", "h"))
        until(lambda: lease.lost, "it is noticed")
        assert "lost" in repr(lease)

    with pytest.raises(LeaseLost) as caught:
        client.inside(client.mw.locks.lock("a", ttl=3), work)
    assert caught.value.names == ("a",)
    assert [(event.name, event.outcome) for event in heard] == [("lock.acquired", ""), ("lock.lost", "taken")]


def test_what_the_block_itself_raises_says_more_than_that_its_lease_was_lost(client: Any, kept: Any) -> None:
    def work(_: object) -> None:
        kept.client.delete(kept.key("a", "h"))
        raise LookupError("its own trouble")

    with pytest.raises(LookupError):
        client.inside(client.mw.locks.lock("a"), work)


def test_a_lease_lost_unnoticed_is_noticed_when_it_is_given_back(client: Any, kept: Any, heard: list[Event]) -> None:
    def work(_: object) -> None:
        kept.client.delete(kept.key("a", "h"))

    with pytest.raises(LeaseLost):
        client.inside(client.mw.locks.lock("a"), work)
    taken = client.acquire("a")
    kept.client.delete(kept.key("a", "h"))
    other = client.acquire("a")
    with pytest.raises(NotOwner):
        taken.release()
    assert len(kept.holders("a")) == 1, "somebody else's lock was given back"
    assert [event.name for event in heard].count("lock.lost") == 2
    other.release()


def test_who_takes_over_knows_that_it_was_not_given_back(client: Any, kept: Any, heard: list[Event]) -> None:
    _ = client.acquire("a", ttl=0.5)
    del _
    _ = gc.collect()
    client.acquire("a", wait=PATIENT).release()
    names = [event.name for event in heard]
    # On a machine that was busy elsewhere meanwhile the lease is over before anybody waits for it.
    assert (names[0], names.count("lock.taken_over"), len(names)) == ("lock.acquired", 1, 3)


# Extended.


def test_a_lease_can_be_extended(client: Any, kept: Any) -> None:
    taken = client.acquire("a", ttl=5)
    taken.extend(100)
    assert kept.ends("a") - kept.now() > 60
    taken.extend(2)
    first = kept.ends("a")
    assert first - kept.now() <= 2
    until(lambda: kept.ends("a") > first, "it is renewed in its new pace")
    with pytest.raises(ValueError):
        taken.extend(0)
    taken.release()


def test_a_lease_that_is_over_cannot_be_extended(client: Any, kept: Any) -> None:
    taken = client.acquire("a")
    kept.client.delete(kept.key("a", "h"))
    with pytest.raises(LeaseLost):
        taken.extend(10)
    assert taken.lease.lost


# Redis away.


def test_without_redis_nothing_is_locked_and_it_is_an_error(client: Any) -> None:
    with outage(client.mw), pytest.raises(RedisUnavailable):
        client.acquire("a")
    client.acquire("a", wait=0).release()


def test_where_the_settings_let_it_pass_the_lease_says_that_nothing_is_locked(make: Make, kept: Any) -> None:
    client = make(on_outage="open")
    with outage(client.mw):
        one, other = client.acquire("a"), client.acquire("a")
        assert one.lease.degraded and other.lease.degraded and one.lease.fence == 0
        assert not one.lease.lost and "degraded" in repr(one.lease)
        one.extend(5)
        one.release()
        client.inside(client.mw.locks.lock("a"), lambda lease: None)
    other.release()
    taken = client.acquire("a")
    assert not taken.lease.degraded
    taken.release()


def test_what_is_held_when_redis_goes_away_is_lost_when_it_could_not_be_renewed(
    client: Any, heard: list[Event]
) -> None:
    taken = client.acquire("a", ttl=2)
    with outage(client.mw):
        until(lambda: taken.lease.lost, "it is over")
        until(lambda: heard[-1].name == "lock.lost", "it is told")
        assert heard[-1].outcome == "silence"
        with pytest.raises(NotOwner):
            taken.release()


def test_a_block_that_ends_while_redis_is_away_had_its_lock_all_the_time(client: Any) -> None:
    def away(lease: Any) -> None:
        client.mw.driver.refuse_all = True

    client.inside(client.mw.locks.lock("a"), away)
    taken = client.mw.locks.lock("b")
    client.mw.driver.refuse_all = False
    client.do(taken.acquire)
    client.mw.driver.refuse_all = True
    with pytest.raises(RedisUnavailable):
        client.do(taken.release)
    client.mw.driver.refuse_all = False


def test_what_was_taken_without_an_answer_is_given_back(make: Make, server: Any, kept: Any) -> None:
    client = make(url=server.url, patience=0.3)
    client.acquire("warm").release()
    server.freeze()
    with pytest.raises(RedisUnavailable):
        client.acquire("a")
    server.thaw()
    again = make(url=server.url)
    until(lambda: _free(again, "a"), "nobody holds it")


def test_a_server_that_is_full_refuses_and_nothing_is_held(make: Make, server: Any) -> None:
    client = make(url=server.url)
    holder = client.acquire("a")
    assert client.run(_config("maxmemory", "1")) == b"OK"
    with pytest.raises(RedisUnavailable, match="OOM"):
        client.acquire("b")
    holder.release()
    assert client.run(_config("maxmemory", "0")) == b"OK"
    client.acquire("a", "b", wait=0).release()


def test_who_waits_when_redis_goes_away_is_told(make: Make, server: Any) -> None:
    client = make(url=server.url, patience=1)
    client.acquire("a", ttl=1.5)
    waits = client.acquiring("a", wait=PATIENT)
    server.kill()
    with pytest.raises(RedisUnavailable):
        waits.result(PATIENT)


def test_an_idle_watchdog_ends(client: Any) -> None:
    room = client.mw.locks.room
    client.acquire("a").release()
    assert list(room.renewing(8.0)) == [Wait((), 8.0)]


def _free(client: Any, name: str) -> bool:
    try:
        client.acquire(name, wait=0).release()
    except LockTimeout:
        return False
    return True


def _config(name: str, value: str) -> Any:
    return one(command("CONFIG", "SET", name, value, role="locks"))
