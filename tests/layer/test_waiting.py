"""Requests that wait for others: for a lock, for a request with the same key, for both; and what they read then."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from by_hand import until
from layered import App, placed, sent

from redis_mw import Idempotent, Limit, Lock, Rule
from redis_mw.layer.exchange import Proceed, Replay, Respond

Make = Callable[..., App]


def queued(app: App, name: str) -> None:
    until(lambda: app.waiters(name) == 1, "nobody waits")


@pytest.mark.parametrize("name", ["cart", "cart:{session}", "cart:{user}"])
def test_a_session_is_read_again_under_a_lock_that_had_to_be_waited_for(
    make_app: Make, threads: ThreadPoolExecutor, name: str
) -> None:
    app = make_app(Rule("/cart", lock=Lock(name, wait=60)))
    cookie = app.stored({"n": 1}, user=42)
    first, second = app.opened("/cart", cookie=cookie), app.begin("/cart", cookie=cookie)
    assert first.hold is not None
    (lock,) = first.hold.ask.wanted.names
    waiting = threads.submit(app.open, second)
    queued(app, lock)
    app.over(first, {"n": 2})
    assert waiting.result(60) == Proceed()
    assert second.visit is not None and second.visit.initial == {"n": 2}
    app.over(second, {"n": 3})
    third = app.opened("/cart", cookie=cookie)
    assert third.visit is not None and third.visit.initial == {"n": 3}
    app.finish(third)
    assert app.left_behind() == []


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("read", [False, True])
def test_a_late_lock_reads_the_session_again_unless_somebody_may_have_looked_at_it(
    make_app: Make, threads: ThreadPoolExecutor, unseen: bool, read: bool
) -> None:
    app = make_app()
    late = placed(Lock("cart", wait=60), "late#1")
    cookie = app.stored({"n": 1})
    first = app.opened(cookie=cookie, eager=True)
    assert app.hold(first, late) is None
    second = app.opened(cookie=cookie, eager=read)
    waiting = threads.submit(app.hold, second, late, unseen=unseen)
    queued(app, "cart")
    app.over(first, {"n": 2})
    assert waiting.result(60) is None
    assert second.visit is not None
    assert second.visit.initial == {"n": 1 if read and not unseen else 2}
    app.finish(second)
    assert app.left_behind() == []


def test_a_late_lock_by_user_reads_a_session_that_was_not_read_under_it(
    make_app: Make, threads: ThreadPoolExecutor
) -> None:
    app = make_app()
    late = placed(Lock("cart:{user}", wait=60), "late#1")
    cookie = app.stored({"n": 1}, user=42)
    first, second = app.opened(cookie=cookie), app.opened(cookie=cookie)
    assert app.hold(first, late) is None
    waiting = threads.submit(app.hold, second, late)
    queued(app, "cart:42")
    app.over(first, {"n": 2})
    assert waiting.result(60) is None
    assert second.visit is not None and second.visit.initial == {"n": 2}
    app.finish(second)


def test_who_waited_too_long_leaves_the_queue(make_app: Make) -> None:
    app = make_app(Rule("/", lock=Lock("a", wait=0.05), idempotency=Idempotent()))
    first = app.opened(key="a")
    assert app.refused(key="b") == 409
    assert app.waiters("a") == 0 and len(app.claims()) == 1
    app.finish(first)
    assert app.left_behind() == []


def test_of_several_locks_the_least_patient_says_how_long_and_the_longest_lease_lasts(make_app: Make) -> None:
    app = make_app()
    marks = placed(Lock("a", wait=0, ttl=2), "view#1"), placed(Lock("b", wait=60, ttl=9), "view#2")
    first = app.opened("/", *marks)
    assert first.hold is not None and first.hold.ttl_us == 9_000_000
    assert app.refused("/", placed(Lock("c", wait=60), "other#1"), placed(Lock("b", wait=0), "other#2")) == 409
    app.finish(first)
    assert app.left_behind() == []


def test_readers_share_what_a_writer_waits_for(make_app: Make, threads: ThreadPoolExecutor) -> None:
    app = make_app(Rule("/", methods=["GET"], lock=Lock("a", shared=True, wait=60)), Rule("/", lock=Lock("a", wait=60)))
    readers = [app.opened(method="GET") for _ in range(2)]
    assert len(app.holders("a")) == 2
    writer = app.begin()
    waiting = threads.submit(app.open, writer)
    queued(app, "a")
    for reader in readers:
        app.finish(reader)
    assert waiting.result(60) == Proceed()
    assert len(app.holders("a")) == 1
    app.finish(writer)


def test_who_waits_for_a_key_leaves_the_lock_to_the_one_that_has_it_and_takes_it_anew(
    make_app: Make, threads: ThreadPoolExecutor
) -> None:
    app = make_app(Rule("/pay", idempotency=Idempotent(wait=60)))
    first = app.opened("/pay", key="k")
    cookieless = app.begin("/pay", placed(Lock("pay", wait=60)), key="k")
    waiting = threads.submit(app.open, cookieless)
    until(lambda: app.client.pubsub_channels(f"{app.settings.prefix}:i1:*") != [], "nobody waits for the key")
    until(lambda: app.holders("pay") == [] and app.waiters("pay") == 0, "it does not leave the lock")
    assert app.hold(first, placed(Lock("pay", wait=0), "late#1")) is None, "the one that runs may lock"
    first_hold = first.hold
    app.commit(first, status=500)
    assert first_hold is not None
    until(lambda: app.waiters("pay") == 1, "it does not queue")
    app.finish(first)
    assert waiting.result(60) == Proceed()
    assert len(app.holders("pay")) == 1
    assert cookieless.hold is not None and cookieless.hold.fence > first_hold.fence
    app.over(cookieless)
    assert app.left_behind() == []


def test_who_waited_for_a_key_and_is_answered_by_it_holds_no_lock(make_app: Make, threads: ThreadPoolExecutor) -> None:
    app = make_app(Rule("/pay", lock=Lock("pay", wait=60), idempotency=Idempotent(wait=60)))
    first, second = app.opened("/pay", key="k"), app.begin("/pay", key="k")
    waiting = threads.submit(app.open, second)
    until(lambda: app.client.pubsub_channels(f"{app.settings.prefix}:i1:*") != [], "nobody waits for the key")
    until(lambda: app.waiters("pay") == 0, "it does not leave the lock")
    app.over(first, whole=b"once")
    answer = waiting.result(60)
    assert isinstance(answer, Replay) and answer.response.body == b"once"
    assert app.holders("pay") == []
    assert not app.layer.finishes(second)
    assert app.left_behind() == []


def test_a_session_is_read_again_by_who_waited_for_a_key_and_then_got_the_lock_at_once(
    make_app: Make, threads: ThreadPoolExecutor
) -> None:
    app = make_app(Rule("/pay", lock=Lock("pay", wait=60), idempotency=Idempotent(wait=60, scope="client")))
    cookie = app.stored({"n": 1})
    first, second = app.opened("/pay", key="k", cookie=cookie), app.begin("/pay", key="k", cookie=cookie)
    waiting = threads.submit(app.open, second)
    until(lambda: app.client.pubsub_channels(f"{app.settings.prefix}:i1:*") != [], "nobody waits for the key")
    app.run(app.layer.commit(first, {"n": 2}))
    app.finish(first)
    assert waiting.result(60) == Proceed()
    assert second.visit is not None and second.visit.initial == {"n": 2}
    app.over(second)
    assert app.left_behind() == []


def test_who_waited_for_a_key_in_vain_holds_nothing(make_app: Make) -> None:
    app = make_app(Rule("/pay", lock=Lock("pay", wait=60), idempotency=Idempotent(wait=0.05)))
    first = app.opened("/pay", key="k")
    exchange = app.begin("/pay", key="k")
    answer: Any = app.open(exchange)
    assert isinstance(answer, Respond) and b"in-progress" in answer.response.body
    assert not app.layer.finishes(exchange)
    app.over(first)
    assert app.left_behind() == []


def test_a_claim_that_ends_while_its_request_waits_for_a_lock_is_not_run_by_two(
    make_app: Make, threads: ThreadPoolExecutor
) -> None:
    app = make_app(Rule("/pay", lock=Lock("pay", wait=60), idempotency=Idempotent()), idempotency={"lease": 0.05})
    other = app.opened("/pay", key="another")
    first, second = app.begin("/pay", key="k"), app.begin("/pay", key="k")
    waiting = threads.submit(app.open, first)
    queued(app, "pay")
    assert first.attempt is not None
    record = first.attempt.room.commands.key(first.attempt.name)
    until(lambda: app.lease_is_over(record), "it does not end")
    again = threads.submit(app.open, second)
    until(lambda: app.waiters("pay") == 2 or again.done(), "neither")
    app.finish(other)
    ran = 0
    for exchange, opened in ((first, waiting), (second, again)):
        if opened.result(60) == Proceed():
            ran += 1
            app.over(exchange, whole=b"once")
        else:
            app.finish(exchange)
    assert ran == 1
    assert app.left_behind() == []


def test_limits_are_counted_once_however_long_a_request_waits(make_app: Make, threads: ThreadPoolExecutor) -> None:
    app = make_app(Rule("/", lock=Lock("a", wait=60), limits=[Limit("9/minute")]))
    first, second = app.opened(), app.begin()
    with sent() as batches:
        waiting = threads.submit(app.open, second)
        queued(app, "a")
        app.finish(first)
        assert waiting.result(60) == Proceed()
    assert [name for batch in batches for name in batch].count("take") == 1
    app.finish(second)
