"""What is stored of a request with an idempotency key, in which batch, and when it runs again instead."""

from collections.abc import Callable
from typing import Any

import pytest
from layered import App, placed, sent

from redis_mw import CannotEncode, Idempotent, Rule, SessionLimitReached, Sessions, SessionTooLarge
from redis_mw.testing import count_round_trips, outage

Make = Callable[..., App]
RULE = Rule("/pay", idempotency=Idempotent())


def test_the_answer_is_stored_in_the_batch_that_saves_the_session(make_app: Make) -> None:
    app = make_app(RULE)
    cookie = app.stored({"a": 1})
    exchange = app.opened("/pay", key="k", cookie=cookie)
    with sent() as batches, count_round_trips() as trips:
        app.commit(exchange, {"a": 2}, b"done")
    assert batches == [["save", "complete"]] and trips.awaited == 1
    assert not app.layer.finishes(exchange)
    assert app.replayed("/pay", key="k", cookie=cookie) == b"done"


def test_without_a_session_it_is_a_batch_of_its_own(make_app: Make) -> None:
    app = make_app(RULE, sessions=None)
    exchange = app.opened("/pay", key="k")
    with sent() as batches:
        app.commit(exchange)
    assert batches == [["complete"]]
    assert app.replayed("/pay", key="k") == b"done"


def test_a_session_that_cannot_be_written_leaves_the_key_to_a_repeat(make_app: Make) -> None:
    app = make_app(RULE, sessions=Sessions(max_bytes=100, patience=10))
    for data, error in (({"a": object()}, CannotEncode), ({"a": "x" * 200}, SessionTooLarge)):
        exchange = app.opened("/pay", key="k")
        with count_round_trips() as trips, pytest.raises(error):
            app.commit(exchange, data)
        assert trips.total == 0
        exchange.status = 500
        app.finish(exchange)
        assert app.claims() == []
    app.over(app.opened("/pay", key="k"))
    assert app.left_behind() == []


def test_a_login_is_written_before_the_key_is_completed(make_app: Make) -> None:
    app = make_app(RULE)
    exchange = app.opened("/pay", key="k")
    assert exchange.visit is not None
    exchange.visit.login(42)
    with sent() as batches:
        assert app.commit(exchange, {}).set_cookie is not None
    assert "create" in batches[0] and batches[-1] == ["complete"]


def user_of(data: Any) -> Any:
    return data.get("user")


@pytest.mark.parametrize("in_data", [False, True])
def test_a_login_that_is_one_too_many_completes_nothing(make_app: Make, in_data: bool) -> None:
    app = make_app(RULE, sessions=Sessions(max_sessions=1, on_max="refuse", user_of=user_of, patience=10))
    app.stored({"user": 42} if in_data else {}, user=42)
    exchange = app.opened("/pay", key="k")
    assert exchange.visit is not None
    if not in_data:
        exchange.visit.login(42)
    with sent() as batches, pytest.raises(SessionLimitReached):
        app.commit(exchange, {"user": 42})
    assert "complete" not in [name for batch in batches for name in batch]
    exchange.status = 409
    app.finish(exchange)
    assert app.claims() == []
    app.finish(app.opened("/pay", key="k"))


def test_an_answer_is_stored_once(make_app: Make) -> None:
    app = make_app(RULE)
    exchange = app.opened("/pay", key="k")
    app.commit(exchange, whole=b"first")
    with count_round_trips() as trips:
        app.commit(exchange, whole=b"second", status=500)
        app.run(app.layer.closing.complete(exchange, b"third"))
        app.finish(exchange)
        app.finish(exchange)
    assert trips.total == 0
    assert app.replayed("/pay", key="k") == b"first"


def test_a_stream_is_stored_before_its_end(make_app: Make) -> None:
    app = make_app(RULE)
    exchange = app.opened("/pay", key="k")
    app.commit(exchange, whole=None)
    exchange.started = True
    assert app.layer.closing.records(exchange) and len(app.claims()) == 1
    app.run(app.layer.closing.complete(exchange, b"streamed"))
    assert not app.layer.closing.records(exchange) and not app.layer.finishes(exchange)
    assert app.replayed("/pay", key="k") == b"streamed"


def test_a_stream_that_was_cut_off_has_run_all_the_same(make_app: Make) -> None:
    app = make_app(RULE)
    exchange = app.opened("/pay", key="k")
    app.commit(exchange, whole=None)
    exchange.started = True
    app.finish(exchange)
    app.finish(exchange)
    again = app.begin("/pay", key="k")
    answer: Any = app.open(again)
    assert answer.response.status == 409 and b"not-kept" in answer.response.body
    app.finish(again)
    assert app.left_behind() == []


def test_what_is_larger_than_is_kept_has_run_all_the_same(make_app: Make) -> None:
    app = make_app(RULE, idempotency={"max_response": 4})
    app.over(app.opened("/pay", key="k"), whole=b"12345")
    assert app.refused("/pay", key="k") == 409


@pytest.mark.parametrize("status", [500, 503, 409, 429])
@pytest.mark.parametrize("streams", [False, True])
def test_what_failed_runs_again(make_app: Make, status: int, streams: bool) -> None:
    app = make_app(RULE)
    exchange = app.opened("/pay", key="k")
    app.commit(exchange, whole=None if streams else b"sorry", status=status)
    exchange.started = True
    app.finish(exchange)
    assert app.claims() == []
    app.over(app.opened("/pay", key="k"), whole=b"at last")
    assert app.replayed("/pay", key="k") == b"at last"


def test_who_never_answered_runs_again(make_app: Make) -> None:
    app = make_app(RULE)
    exchange = app.opened("/pay", key="k")
    app.finish(exchange)
    app.finish(exchange)
    app.over(app.opened("/pay", key="k"))
    assert app.left_behind() == []


def test_an_answer_that_could_not_be_stored_is_stored_after_it_was_sent(make_app: Make) -> None:
    app = make_app(RULE)
    exchange = app.opened("/pay", key="k")
    with outage(app.mw):
        app.commit(exchange, whole=b"kept")
    exchange.started = True
    assert app.layer.finishes(exchange)
    app.finish(exchange)
    assert app.replayed("/pay", key="k") == b"kept"


def test_the_keys_of_a_view_count_before_those_of_a_rule(make_app: Make) -> None:
    app = make_app(Rule("/pay", idempotency=Idempotent(required=True)))
    exchange = app.opened("/pay", placed(Idempotent()))
    assert exchange.attempt is None
    app.finish(exchange)
    assert app.refused("/pay", placed(Idempotent(), "view#1"), placed(Idempotent(required=True), "view#2")) == 400


def test_a_late_view_that_needs_a_key_is_refused_without_one(make_app: Make) -> None:
    app = make_app(Rule("/pay", idempotency=Idempotent()))
    exchange = app.opened("/pay")
    answer: Any = app.hold(exchange, placed(Idempotent(required=True), "late#1"))
    assert answer.response.status == 400
    app.finish(exchange)


def test_a_key_that_is_claimed_is_not_claimed_again_by_a_late_view(make_app: Make) -> None:
    app = make_app(RULE)
    exchange = app.opened("/pay", key="k")
    with count_round_trips() as trips:
        assert app.hold(exchange, placed(Idempotent(required=True), "late#1")) is None
    assert trips.total == 0 and app.layer.closing.records(exchange)
    app.over(exchange)
    assert app.left_behind() == []


def test_a_claim_that_could_not_be_given_back_is_given_back_after_the_response(make_app: Make) -> None:
    app = make_app(RULE)
    exchange = app.opened("/pay", key="k")
    with outage(app.mw):
        app.commit(exchange, whole=b"sorry", status=500)
    exchange.started = True
    assert not app.layer.closing.records(exchange) and app.layer.finishes(exchange)
    app.finish(exchange)
    assert app.left_behind() == []


def test_a_claim_that_can_not_be_given_back_at_all_is_renewed_no_more(make_app: Make) -> None:
    app = make_app(RULE)
    exchange = app.opened("/pay", key="k")
    with outage(app.mw):
        app.finish(exchange)
    assert app.rooms.idempotency is not None and not app.rooms.idempotency.memory.leases
    assert len(app.claims()) == 1, "it ends by itself"
