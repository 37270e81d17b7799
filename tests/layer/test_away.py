"""Redis is away: at each step of a request with a lock and an idempotency key, by each policy."""

from collections.abc import Callable
from typing import Any

import pytest
from layered import App, placed, sent
from stepping import Stepped

from redis_mw import Idempotent, Lock, Rule
from redis_mw.layer.exchange import Proceed, Respond
from redis_mw.testing import outage

Make = Callable[..., App]
LOCKED = Rule("/locked", lock=Lock("a", wait=60))
KEYED = Rule("/keyed", idempotency=Idempotent(wait=60))
OPEN = {"on_outage": "open"}


@pytest.mark.parametrize("path", ["/locked", "/keyed"])
def test_where_nobody_can_be_kept_out_nobody_gets_in(make_app: Make, path: str) -> None:
    app = make_app(LOCKED, KEYED)
    exchange = app.begin(path, key="k")
    with outage(app.mw):
        answer = app.open(exchange)
        assert isinstance(answer, Respond) and answer.response.status == 503
        assert dict(answer.response.headers)["retry-after"] == "1"
    assert not app.layer.closing.records(exchange)
    assert app.layer.finishes(exchange), "the question may have arrived"
    app.finish(exchange)
    assert app.left_behind() == []


def test_a_request_that_is_let_pass_says_that_it_is_not_locked(make_app: Make) -> None:
    app = make_app(LOCKED, locks=OPEN)
    exchange = app.begin("/locked")
    with outage(app.mw), sent() as batches:
        assert app.open(exchange) == Proceed()
        with app.inside(exchange) as locks:
            assert locks.lease is not None and locks.lease.degraded and locks.lease.fence == 0
            assert not locks.lease.lost
    assert batches == []
    app.finish(exchange)
    assert app.left_behind() == []


def test_a_request_that_is_let_pass_is_stored_if_redis_is_back_by_then(make_app: Make) -> None:
    app = make_app(KEYED, idempotency=OPEN)
    exchange = app.begin("/keyed", key="k")
    with outage(app.mw):
        assert app.open(exchange) == Proceed()
    assert app.layer.closing.records(exchange)
    app.over(exchange, whole=b"done")
    assert app.replayed("/keyed", key="k") == b"done"


def test_one_that_was_let_pass_does_not_disturb_one_that_runs(make_app: Make) -> None:
    app = make_app(KEYED, idempotency=OPEN)
    unprotected = app.begin("/keyed", key="k")
    with outage(app.mw):
        assert app.open(unprotected) == Proceed()
    first = app.opened("/keyed", key="k")
    app.over(unprotected, whole=b"unprotected")
    assert len(app.claims()) == 1
    app.over(first, whole=b"first")
    assert app.replayed("/keyed", key="k") == b"first"


@pytest.mark.parametrize("path", ["/locked", "/keyed"])
@pytest.mark.parametrize("policy", [{}, OPEN], ids=["closed", "open"])
@pytest.mark.parametrize("steps", [1, 3])
def test_an_outage_while_a_request_waits_leaves_nothing_behind(
    make_app: Make, path: str, policy: dict[str, Any], steps: int
) -> None:
    app = make_app(LOCKED, KEYED, locks=policy, idempotency=policy)
    first, second = app.opened(path, key="k"), app.begin(path, key="k")
    stepped = Stepped(app.run, app.layer.open(second, eager=False))
    for _ in range(steps):
        stepped.step()
    stepped.meet_an_outage()
    answer = stepped.finish()
    if path == "/locked" and policy:
        assert answer == Proceed()
    else:
        assert answer.response.status in (409, 503)
    app.finish(second)
    app.over(first)
    assert app.left_behind() == []


@pytest.mark.parametrize("policy", [{}, OPEN], ids=["closed", "open"])
def test_who_is_named_by_a_session_that_is_away_is_refused(make_app: Make, policy: dict[str, Any]) -> None:
    app = make_app(locks=policy)
    cookie = app.stored({}, user=42)
    exchange = app.begin("/", placed("cart:{user}"), cookie=cookie)
    with outage(app.mw):
        answer = app.open(exchange)
    assert isinstance(answer, Respond) and answer.response.status == 503
    assert not app.layer.finishes(exchange)


def test_an_outage_when_the_claim_is_asked_for_again_refuses_the_request(make_app: Make) -> None:
    app = make_app(Rule("/pay", lock=Lock("pay", wait=60), idempotency=Idempotent()))
    other = app.opened("/pay", key="another")
    exchange = app.begin("/pay", key="k", cookie=app.stored({"a": 1}))
    stepped = Stepped(app.run, app.layer.open(exchange, eager=True))
    stepped.step()
    app.finish(other)
    with sent() as batches:
        stepped.step()
    assert batches == [["acquire"]]
    stepped.meet_an_outage()
    assert stepped.finish().response.status == 503
    app.finish(exchange)
    assert app.left_behind() == []


def test_who_could_not_leave_the_lock_while_it_waited_for_a_key_leaves_it_in_the_end(make_app: Make) -> None:
    app = make_app(Rule("/pay", lock=Lock("pay", wait=60), idempotency=Idempotent(wait=60)))
    first, second = app.opened("/pay", key="k"), app.begin("/pay", key="k")
    stepped = Stepped(app.run, app.layer.open(second, eager=False))
    stepped.step()
    assert app.waiters("pay") == 1
    stepped.meet_an_outage()
    assert stepped.finish().response.status == 409
    app.finish(second)
    assert app.waiters("pay") == 0
    app.over(first)
    assert app.left_behind() == []


def test_who_could_not_give_back_the_lock_while_it_waited_for_a_key_gives_it_back_in_the_end(make_app: Make) -> None:
    app = make_app(Rule("/pay", idempotency=Idempotent(wait=60)))
    first, second = app.opened("/pay", key="k"), app.begin("/pay", placed("pay"), key="k")
    stepped = Stepped(app.run, app.layer.open(second, eager=False))
    stepped.step()
    assert len(app.holders("pay")) == 1
    stepped.meet_an_outage()
    assert stepped.finish().response.status == 409
    app.finish(second)
    app.over(first)
    assert app.left_behind() == []
