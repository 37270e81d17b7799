"""What a request has taken is kept while it runs, however long that is, and not longer."""

import threading
from collections.abc import Callable

import pytest
from by_hand import until
from layered import App

from redis_mw import Idempotent, Lock, Rule
from redis_mw.faces.attending import attend

Make = Callable[..., App]
RULE = Rule("/pay", lock=Lock("pay", ttl=0.4, wait=0), idempotency=Idempotent())


def tended() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "redis-mw-tend"}


@pytest.fixture
def app(make_app: Make) -> App:
    return make_app(RULE, idempotency={"lease": 0.4})


def ends(app: App) -> tuple[float, float]:
    """When the lease of the lock and that of the claim are over."""
    (held,) = app.client.zrange(app._lock("pay", "h"), 0, -1, withscores=True)
    (record,) = app.claims()
    return held[1], float(app.client.hget(record, "l") or 0)


def test_leases_are_renewed_until_the_request_was_finished(app: App) -> None:
    before = tended()
    exchange = app.opened("/pay", key="k")
    attend(app.mw.driver, app.rooms, exchange)
    attend(app.mw.driver, app.rooms, exchange)
    assert len(tended() - before) == 2, "one for all locks of a pace, one for all claims"
    lock, claim = ends(app)
    until(lambda: min(ends(app)) > max(lock, claim) + 800_000, "they were not renewed twice")
    assert app.refused("/pay", key="k") == 409 and app.refused("/pay", key="another") == 409
    assert exchange.hold is not None and not exchange.hold.over
    app.over(exchange)
    until(lambda: not tended() - before, "they go on")
    assert app.left_behind() == []


def test_a_request_that_is_replayed_has_nothing_renewed(app: App) -> None:
    app.over(app.opened("/pay", key="k"))
    before = tended()
    exchange = app.begin("/pay", key="k")
    app.open(exchange)
    app.finish(exchange)
    attend(app.mw.driver, app.rooms, exchange)
    assert tended() == before
    assert app.left_behind() == []


def test_a_lock_that_is_lost_is_told_while_the_request_runs(app: App) -> None:
    exchange = app.opened("/pay", key="k")
    lost = threading.Event()
    assert exchange.hold is not None
    exchange.hold.on_lost = lost.set
    attend(app.mw.driver, app.rooms, exchange)
    app.client.delete(app._lock("pay", "h"))
    assert lost.wait(20)
    assert exchange.hold.lost == "taken"
    app.over(exchange)
    assert app.replayed("/pay", key="k") == b"done"
    assert app.left_behind() == []


def test_a_claim_that_was_taken_over_is_renewed_no_more_and_its_answer_not_stored(make_app: Make) -> None:
    app = make_app(Rule("/pay", idempotency=Idempotent()), idempotency={"lease": 0.05})
    first = app.opened("/pay", key="k")
    (record,) = app.claims()
    until(lambda: app.lease_is_over(record), "it does not end")
    second = app.opened("/pay", key="k")
    app.over(first, whole=b"late")
    assert len(app.claims()) == 1
    app.over(second, whole=b"second")
    assert app.replayed("/pay", key="k") == b"second"
