"""Who answers instead of the application, in which order, and what is given back of what the same batch took."""

from collections.abc import Callable
from typing import Any

import pytest
from layered import App, placed, sent

from redis_mw import Idempotent, Limit, Lock, PolicyError, Rule
from redis_mw.layer.exchange import Replay, Respond
from redis_mw.testing import count_round_trips

Make = Callable[..., App]


def rule(limit: str = "9/minute", **more: Any) -> Rule:
    return Rule("/pay", limits=[limit], lock=Lock("pay", wait=0), idempotency=Idempotent(), **more)


def units(app: App) -> int:
    """How many of the limit are left."""
    (found,) = app.run(app.layer.explain(app.begin("/pay")))
    return found.verdict.remaining


def test_a_replay_is_one_trip_and_gives_back_the_lock_that_was_taken_with_it(make_app: Make) -> None:
    app = make_app(rule())
    app.over(app.opened("/pay", key="k"), whole=b"paid")
    exchange = app.begin("/pay", key="k")
    with count_round_trips() as trips:
        answer = app.open(exchange)
    assert isinstance(answer, Replay) and answer.response.body == b"paid"
    assert ("Idempotency-Replayed", "true") in answer.response.headers
    assert trips.total == 1 and len(app.holders("pay")) == 1 and not app.layer.closing.records(exchange)
    app.finish(exchange)
    assert app.left_behind() == []


def test_a_denied_request_gives_back_claim_lock_and_place_in_the_queue(make_app: Make) -> None:
    app = make_app(Rule("/pay", limits=["1/minute"], lock=Lock("pay", wait=10), idempotency=Idempotent()))
    first = app.opened("/pay", key="a")
    second = app.begin("/pay", key="b")
    assert isinstance(answer := app.open(second), Respond) and answer.response.status == 429
    assert app.waiters("pay") == 1 and len(app.claims()) == 2
    app.finish(second)
    assert app.waiters("pay") == 0 and len(app.claims()) == 1
    app.over(first)
    assert app.left_behind() == []


def test_who_is_known_to_be_denied_asks_for_nothing(make_app: Make) -> None:
    app = make_app(rule("1/minute"))
    app.over(app.opened("/pay", key="a"))
    assert app.refused("/pay", key="b") == 429
    with count_round_trips() as trips:
        assert app.refused("/pay", key="c") == 429
    assert trips.total == 0


def test_a_locked_out_request_keeps_its_units_and_gives_back_its_claim_so_a_repeat_runs(make_app: Make) -> None:
    app = make_app(rule())
    first = app.opened("/pay", key="a")
    exchange = app.begin("/pay", key="b")
    answer = app.open(exchange)
    assert isinstance(answer, Respond) and answer.response.status == 409
    assert dict(answer.response.headers)["retry-after"] == "1"
    app.finish(exchange)
    assert units(app) == 7
    app.over(first)
    again = app.opened("/pay", key="b")
    app.over(again, whole=b"b at last")
    assert app.replayed("/pay", key="b") == b"b at last"
    assert app.left_behind() == []


def test_a_busy_key_is_answered_before_a_busy_lock(make_app: Make) -> None:
    app = make_app(rule())
    first = app.opened("/pay", key="a")
    exchange = app.begin("/pay", key="a")
    answer = app.open(exchange)
    assert isinstance(answer, Respond) and b"in-progress" in answer.response.body
    app.finish(exchange)
    app.over(first)
    assert app.left_behind() == []


def test_a_full_queue_is_one_request_too_many(make_app: Make) -> None:
    app = make_app(Rule("/pay", lock=Lock("pay", wait=10)), locks={"queue": 0})
    first = app.opened("/pay")
    assert app.refused("/pay") == 429
    app.finish(first)
    assert app.left_behind() == []


@pytest.mark.parametrize(
    ("key", "body", "status"), [(None, b"", 400), ("two words unquoted \x7f", b"", 400), ("k", b"12345", 413)]
)
def test_a_request_that_is_wrong_claims_and_locks_nothing_but_counts(
    make_app: Make, key: str | None, body: bytes, status: int
) -> None:
    required = Idempotent(required=True)
    app = make_app(
        Rule("/pay", limits=["9/minute"], lock=Lock("pay"), idempotency=required), idempotency={"max_body": 4}
    )
    with sent() as batches:
        assert app.refused("/pay", key=key, body=body) == status
    assert batches == [["take"]]
    assert app.left_behind() == []


def test_a_limit_comes_before_what_is_wrong_with_the_key(make_app: Make) -> None:
    app = make_app(Rule("/pay", limits=["1/minute"], idempotency=Idempotent(required=True)))
    assert [app.refused("/pay"), app.refused("/pay")] == [400, 429]


def test_another_request_under_the_same_key_is_told_so(make_app: Make) -> None:
    app = make_app(rule())
    app.over(app.opened("/pay", key="k", body=b"1"))
    assert app.refused("/pay", key="k", body=b"2") == 422
    assert app.left_behind() == []


def test_locks_that_are_not_all_shared_are_an_error_that_names_both(make_app: Make) -> None:
    app = make_app()
    marks = placed("a", "here#1"), placed(Lock("b", shared=True), "there#2")
    exchange = app.begin("/", *marks)
    with count_round_trips() as trips, pytest.raises(PolicyError, match=r"here#1, there#2.*mw\.locks\.lock"):
        app.open(exchange)
    app.finish(exchange)
    assert trips.total == 0


def test_a_late_lock_that_wants_more_than_is_shared_is_an_error_too(make_app: Make) -> None:
    app = make_app(Rule("/", lock=Lock("a", shared=True)))
    exchange = app.opened("/")
    assert app.hold(exchange, placed(Lock("a", shared=True), "also shared")) is None
    with pytest.raises(PolicyError, match="late#1"):
        app.hold(exchange, placed("a", "late#1"))
    app.finish(exchange)
    assert app.left_behind() == []


def test_a_parameter_that_the_route_lacks_is_an_error_and_nothing_is_taken(make_app: Make) -> None:
    app = make_app(rule())
    exchange = app.begin("/pay", placed("order:{order}"), key="k")
    with count_round_trips() as trips, pytest.raises(PolicyError, match="order"):
        app.open(exchange)
    app.finish(exchange)
    assert trips.total == 0 and app.left_behind() == []


def test_a_session_that_is_required_and_away_gives_back_what_was_taken(
    make_app: Make, redis_mw_url: str, server: Any
) -> None:
    app = make_app(rule(session="require"), url={"default": redis_mw_url, "sessions": server.url}, connect_within=1)
    cookie = app.stored({"a": 1})
    server.kill()
    exchange = app.begin("/pay", key="k", cookie=cookie)
    answer = app.open(exchange)
    assert isinstance(answer, Respond) and answer.response.status == 503
    assert len(app.holders("pay")) == 1 and len(app.claims()) == 1 and not app.layer.closing.records(exchange)
    app.finish(exchange)
    assert app.left_behind() == []


def test_a_late_limit_that_denies_gives_back_the_key_and_the_lock(make_app: Make) -> None:
    app = make_app(rule())
    late = placed(Limit("1/minute"), "late#1")
    first = app.opened("/pay", key="a")
    assert app.hold(first, late) is None
    app.over(first)
    second = app.opened("/pay", key="b")
    assert isinstance(app.hold(second, late), Respond)
    assert app.layer.finishes(second) and not app.layer.closing.records(second)
    app.finish(second)
    assert app.left_behind() == []
    app.finish(app.opened("/pay", key="b"))


def test_what_answers_instead_of_a_late_view_may_be_its_answer_of_before(make_app: Make) -> None:
    app = make_app()
    late = placed(Idempotent(), "late#1")

    def held() -> Any:
        exchange = app.opened("/pay", headers={"idempotency-key": "k"})
        app.layer.routed(exchange, [late], exchange.route)
        app.read(exchange)
        return exchange, app.hold(exchange, late)

    exchange, answer = held()
    assert answer is None and app.layer.closing.records(exchange)
    app.over(exchange, whole=b"once")
    exchange, answer = held()
    assert isinstance(answer, Replay) and answer.response.body == b"once"
    app.finish(exchange)
    assert app.left_behind() == []
