"""One request with a key from its beginning to its end, on a real server, by each driver."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import redis
from attempts import SENDER, begun_by

from redis_mw import IdempotencyError, Idempotent
from redis_mw.errors import RedisUnavailable
from redis_mw.events import Event
from redis_mw.flows import Batch, Flow, together
from redis_mw.http.request import Fields, Request
from redis_mw.idempotency.attempt import REPLAYED, Attempt
from redis_mw.idempotency.claim import forget
from redis_mw.idempotency.outcomes import Busy, First, Mismatch, Orphan, Replay, Unkept
from redis_mw.idempotency.refusals import TYPE
from redis_mw.idempotency.room import Room
from redis_mw.policy.caller import Caller
from redis_mw.testing import count_round_trips

Make = Callable[..., Attempt]
Run = Callable[..., Any]
HEADERS = [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Location", "/orders/1")]


def told(heard: list[Event]) -> list[tuple[str, str]]:
    return [(event.name.removeprefix("idempotency."), event.outcome) for event in heard]


def begun(room: Room, *pairs: tuple[str, str], method: str = "POST", **policy: Any) -> Any:
    request = Request(method, "/pay", headers=Fields(pairs))
    return begun_by(SENDER, room, room.entry(Idempotent(**policy), "here"), request)


# Which requests are attempts


def test_a_request_without_a_key_is_none_unless_it_must_have_one(room: Room) -> None:
    assert begun(room) is None
    refused = begun(room, required=True)
    assert isinstance(refused, IdempotencyError)
    assert (refused.status, refused.reason, refused.retry_after) == (400, "missing", None)
    assert refused.problem["title"] == "Idempotency-Key is missing" and refused.problem["type"] == TYPE


@pytest.mark.parametrize("pairs", [[("Idempotency-Key", "a b")], [("Idempotency-Key", "a"), ("idempotency-key", "a")]])
def test_a_malformed_key_is_never_taken_for_none(room: Room, pairs: list[tuple[str, str]]) -> None:
    refused = begun(room, *pairs)
    assert isinstance(refused, IdempotencyError)
    assert (refused.status, refused.reason) == (400, "malformed")


def test_a_policy_is_for_its_methods(room: Room) -> None:
    entry = room.entry(Idempotent(), "here")
    assert [method for method in ("GET", "POST", "PATCH", "PUT") if entry.holds_for(method)] == ["POST", "PATCH"]
    assert room.entry(Idempotent(methods=("GET",)), "here").holds_for("GET")


def test_the_settings_name_the_field(make_room: Callable[..., Room]) -> None:
    room = make_room(header="X-Request-Token")
    assert begun(room, ("Idempotency-Key", "a")) is None
    assert isinstance(begun(room, ("x-request-token", "a")), Attempt)
    assert begun(room, required=True).problem["title"] == "X-Request-Token is missing"


@pytest.mark.parametrize("length", ["11", "9" * 5000, "00011"])
def test_a_body_that_will_be_too_large_is_refused_before_it_is_read(
    make_room: Callable[..., Room], length: str
) -> None:
    refused = begun(make_room(max_body=10), ("Idempotency-Key", "a"), ("Content-Length", length))
    assert isinstance(refused, IdempotencyError) and (refused.status, refused.reason) == (413, "too-large")


@pytest.mark.parametrize("length", ["10", "0010", "", "-1", "\u0661\u0661", "x"])
def test_a_length_that_says_nothing_of_the_kind_refuses_nothing(make_room: Callable[..., Room], length: str) -> None:
    assert isinstance(begun(make_room(max_body=10), ("Idempotency-Key", "a"), ("Content-Length", length)), Attempt)


def test_a_body_that_becomes_too_large_is_refused_and_asks_nothing(
    make_room: Callable[..., Room], attempt: Make, run: Run
) -> None:
    late = attempt(body=b"12345", in_room=make_room(max_body=10))
    assert late.read(b"67890")
    assert not late.read(b"!")
    assert late.refused is not None and late.refused.status == 413
    with count_round_trips() as counted:
        run(late.ask())
        run(late.settle())
    assert counted.total == 0 and not late.runs and not late.settles


# A life


def test_the_first_runs_and_a_repeat_gets_its_answer(attempt: Make, run: Run, heard: list[Event]) -> None:
    first, again = attempt(), attempt()
    with count_round_trips() as counted:
        run(first.ask())
        assert first.outcome == First() and first.runs and first.refused is None and first.replay is None
        run(first.complete(201, HEADERS, b"done"))
    assert (counted.awaited, counted.detached) == (2, 0)
    assert not first.runs and not first.settles
    with count_round_trips() as counted:
        run(again.ask())
        run(again.settle())
    assert (counted.awaited, counted.detached) == (1, 0)
    assert again.replay is not None and not again.runs and again.refused is None
    assert (again.replay.status, again.replay.body) == (201, b"done")
    assert again.replay.headers == (HEADERS[0], HEADERS[2], REPLAYED)
    assert told(heard) == [("first", ""), ("replay", "")]


def test_while_one_runs_another_is_told_so_and_nothing_of_it_is_taken(
    attempt: Make, run: Run, heard: list[Event]
) -> None:
    first, other = attempt(), attempt()
    run(first.ask())
    run(other.ask())
    assert isinstance(other.outcome, Busy) and not other.runs and not other.waits
    refused = other.refused
    assert refused is not None and (refused.status, refused.reason, refused.retry_after) == (409, "in-progress", 1.0)
    assert refused.problem["title"] == "A request is outstanding for this Idempotency-Key"
    with count_round_trips() as counted:
        run(other.release())
        run(other.settle())
        run(other.complete(200, [], b"no"))
    assert counted.total == 0
    run(first.complete(200, [], b"mine"))
    assert told(heard) == [("first", ""), ("busy", "")]


@pytest.mark.parametrize("complete", [False, True])
def test_a_key_that_was_used_for_something_else_is_refused_in_any_state(
    attempt: Make, run: Run, heard: list[Event], complete: bool
) -> None:
    first, other = attempt(body=b"1"), attempt(body=b"2")
    run(first.ask())
    if complete:
        run(first.complete(200, [], b""))
    run(other.ask())
    assert other.outcome == Mismatch() and not other.runs and other.replay is None
    assert other.refused is not None and (other.refused.status, other.refused.reason) == (422, "reused")
    assert other.refused.problem["title"] == "Idempotency-Key is already used"
    assert told(heard)[-1] == ("mismatch", "")


def test_two_callers_may_use_one_key(room: Room, run: Run) -> None:
    entry = room.entry(Idempotent(), "here")
    request = Request("POST", "/pay", headers=Fields((("Idempotency-Key", "a"),)))
    for caller in (Caller("192.0.2.7"), Caller("192.0.2.8"), Caller(session="s1"), Caller(session="s2")):
        one = begun_by(caller, room, entry, request)
        assert isinstance(one, Attempt)
        run(one.ask())
        assert one.outcome == First()
        run(one.complete(200, [], b""))


@pytest.mark.parametrize("status", [500, 503, 408, 409, 425, 429])
def test_a_failure_and_a_not_now_are_forgotten_and_a_repeat_runs(attempt: Make, run: Run, status: int) -> None:
    first, again = attempt(), attempt()
    run(first.ask())
    run(first.complete(status, [], b"no"))
    assert not first.settles
    run(again.ask())
    assert again.outcome == First()


def test_the_settings_may_keep_failures(make_room: Callable[..., Room], attempt: Make, run: Run) -> None:
    room = make_room(store_5xx=True)
    first, again = attempt(in_room=room), attempt(in_room=room)
    run(first.ask())
    run(first.complete(500, [], b"no"))
    run(again.ask())
    assert again.replay is not None and again.replay.status == 500


@pytest.mark.parametrize("body", [None, b"12345678901"])
def test_a_body_that_is_not_kept_is_never_run_for_again(
    make_room: Callable[..., Room], attempt: Make, run: Run, heard: list[Event], body: bytes | None
) -> None:
    room = make_room(max_response=10)
    first, again = attempt(in_room=room), attempt(in_room=room)
    assert first.recorder(()).body == b""
    run(first.ask())
    run(first.complete(201, HEADERS, body))
    run(again.ask())
    assert isinstance(again.outcome, Unkept) and not again.runs and again.replay is None
    refused = again.refused
    assert refused is not None and (refused.status, refused.reason, refused.retry_after) == (409, "not-kept", None)
    assert (refused.problem["completed-status"], refused.problem["location"]) == (201, "/orders/1")
    assert told(heard)[-1] == ("replay", "not kept")


def test_what_was_never_completed_is_given_back_when_the_request_is_over(attempt: Make, run: Run) -> None:
    for give_back in ("release", "settle"):
        failed = attempt()
        run(failed.ask())
        assert failed.settles
        run(getattr(failed, give_back)())
        assert not failed.settles and not failed.runs
        with count_round_trips() as counted:
            run(failed.release())
            run(failed.settle())
            run(failed.complete(200, [], b"late"))
            run(failed.ask())
        assert counted.total == 0
    again = attempt()
    run(again.ask())
    assert again.outcome == First()


def test_completing_twice_is_completing_once(attempt: Make, run: Run) -> None:
    first, again = attempt(), attempt()
    run(first.ask())
    run(first.complete(200, [], None))
    with count_round_trips() as counted:
        run(first.complete(200, [], b"whole"))
        run(first.release())
    assert counted.total == 0
    run(again.ask())
    assert isinstance(again.outcome, Unkept)


# Runs that die


def dead(attempt: Attempt, run: Run) -> None:
    """Ask, and be as gone as a killed process: nobody renews."""
    attempt.room.commands.now_us = 1_000_000
    run(attempt.ask())
    attempt.room.commands.now_us = 1_000_000 + 30_000_001
    _ = [attempt.room.memory.leases.drop(*held) for held in list(attempt.room.memory.leases._held)]


def test_a_run_that_died_is_taken_over_and_cannot_overwrite_the_other_one(
    attempt: Make, run: Run, heard: list[Event]
) -> None:
    late, second, third = attempt(), attempt(), attempt()
    dead(late, run)
    run(second.ask())
    assert second.outcome == First(run=2)
    run(late.complete(200, [], b"of the first"))
    run(second.complete(200, [], b"of the second"))
    run(third.ask())
    assert third.replay is not None and third.replay.body == b"of the second"
    assert told(heard) == [("first", ""), ("first", "taken over"), ("orphan", "late"), ("replay", "")]


def test_a_late_run_gives_nothing_back_that_is_anothers(attempt: Make, run: Run) -> None:
    late, second, third = attempt(), attempt(), attempt()
    dead(late, run)
    run(second.ask())
    run(late.release())
    run(third.ask())
    assert isinstance(third.outcome, Busy)


def test_where_nobody_may_guess_a_run_that_died_stays_unknown_until_the_application_knows(
    make_room: Callable[..., Room], attempt: Make, run: Run, heard: list[Event]
) -> None:
    room = make_room(dead="unknown")
    late, second, third = (attempt(in_room=room) for _ in range(3))
    dead(late, run)
    run(second.ask())
    assert second.outcome == Orphan() and not second.runs
    assert second.refused is not None
    assert (second.refused.status, second.refused.reason, second.refused.retry_after) == (409, "unknown", None)
    assert told(heard)[-1] == ("orphan", "")
    assert run(forget(room.commands, second.name)) is True
    run(third.ask())
    assert third.outcome == First()


def test_a_late_answer_is_the_answer_where_nobody_took_over(
    make_room: Callable[..., Room], attempt: Make, run: Run
) -> None:
    room = make_room(dead="unknown")
    late, again = attempt(in_room=room), attempt(in_room=room)
    dead(late, run)
    run(late.complete(200, [], b"late"))
    run(again.ask())
    assert again.replay is not None and again.replay.body == b"late"


def test_what_cannot_be_read_is_unknown_whatever_the_policy(
    attempt: Make, run: Run, heard: list[Event], client: "redis.Redis[Any]"
) -> None:
    first, again = attempt(), attempt()
    run(first.ask())
    run(first.complete(200, [], b"x"))
    client.hset(first.room.commands.key(first.name), "r", b"\x01garbage")
    run(again.ask())
    assert again.outcome == Orphan(damaged=True) and again.refused is not None and again.refused.reason == "unknown"
    assert told(heard)[-1] == ("damaged", "")


def test_a_record_that_was_lost_is_made_anew_when_its_run_completes(
    attempt: Make, run: Run, client: "redis.Redis[Any]"
) -> None:
    first, again = attempt(), attempt()
    run(first.ask())
    client.delete(first.room.commands.key(first.name))
    run(first.complete(200, [], b"x"))
    run(again.ask())
    assert isinstance(again.outcome, Replay)


# Redis away, by hand


def answered(flow: Flow[Any], *replies: Any) -> list[Any]:
    """Perform a flow with these replies, one for each command; the names of the scripts it called."""
    names: list[Any] = []
    left = list(replies)
    try:
        effect = next(flow)
        while True:
            assert isinstance(effect, Batch)
            names += [command.script.name.rpartition(".")[2] for command in effect.commands if command.script]
            effect = flow.send([left.pop(0) for _ in effect.commands])
    except StopIteration:
        assert not left
        return names


AWAY = RedisUnavailable("gone", 2.5)
ONCE = [b"first", 1]


def test_without_redis_nothing_runs_and_what_may_have_been_taken_is_given_back(
    attempt: Make, heard: list[Event]
) -> None:
    first = attempt()
    assert answered(first.ask(), AWAY) == ["claim"]
    assert not first.runs and not first.degraded and first.settles
    refused = first.refused
    assert refused is not None and (refused.status, refused.reason, refused.retry_after) == (503, "unavailable", 2.5)
    assert answered(first.settle(), 1) == ["release"]
    assert not first.settles
    assert told(heard) == [("degraded", "closed")]


def test_the_settings_may_let_it_run_unprotected_and_its_answer_is_kept_if_it_can_be(
    make_room: Callable[..., Room], attempt: Make, heard: list[Event]
) -> None:
    first = attempt(in_room=make_room(on_outage="open"))
    assert answered(first.ask(), AWAY) == ["claim"]
    assert first.runs and first.degraded and first.refused is None
    assert answered(first.complete(200, [], b"x"), 1) == ["complete"]
    assert not first.runs and not first.settles
    assert told(heard) == [("degraded", "open")]


def test_an_answer_that_cannot_be_saved_is_saved_after_the_response_if_it_can_be(
    attempt: Make, heard: list[Event]
) -> None:
    first = attempt()
    _ = answered(first.ask(), ONCE)
    assert answered(first.complete(200, [], b"x"), AWAY) == ["complete"]
    assert first.settles and first.room.memory.leases
    assert answered(first.release()) == [] and answered(first.complete(500, [], b"y")) == []
    assert answered(first.settle(), 1) == ["complete"]
    assert not first.settles and not first.room.memory.leases
    assert told(heard) == [("first", "")]


def test_one_that_still_cannot_is_told_of_and_its_lease_ends(attempt: Make, heard: list[Event]) -> None:
    first = attempt()
    _ = answered(first.ask(), ONCE)
    _ = answered(first.complete(200, [], b"x"), AWAY)
    assert answered(first.settle(), AWAY) == ["complete"]
    assert not first.settles and not first.room.memory.leases
    assert told(heard)[-1] == ("orphan", "not saved")


def test_an_interrupted_completion_is_done_after_the_response(attempt: Make) -> None:
    first = attempt()
    _ = answered(first.ask(), ONCE)
    flow = first.complete(200, [], b"x")
    _ = next(flow)
    with pytest.raises(KeyboardInterrupt):
        _ = flow.throw(KeyboardInterrupt())
    assert answered(first.settle(), 1) == ["complete"]


def test_an_interrupted_release_is_done_after_the_response(attempt: Make) -> None:
    first = attempt()
    _ = answered(first.ask(), ONCE)
    flow = first.release()
    _ = next(flow)
    with pytest.raises(KeyboardInterrupt):
        _ = flow.throw(KeyboardInterrupt())
    assert answered(first.settle(), 1) == ["release"]


def test_redis_going_away_changes_nothing_about_one_that_is_running(
    make_room: Callable[..., Room], attempt: Make
) -> None:
    other = attempt(in_room=make_room(on_outage="open"), wait=5)
    _ = answered(other.ask(), [b"busy", 1_000_000])
    assert other.waits
    assert answered(other.wait(), AWAY) == ["claim"]
    assert not other.runs and other.refused is not None and other.refused.reason == "in-progress"
    assert answered(other.settle(), 0) == ["release"]


def test_events_name_no_key_and_no_caller(attempt: Make, heard: list[Event]) -> None:
    first = attempt("a-very-secret-key")
    _ = answered(together(first.ask()), ONCE)
    (event,) = heard
    assert event.policy == "here" and event.feature == "idempotency"
    assert first.name.startswith(event.detail["record"]) and len(event.detail["record"]) == 12
    assert b"a-very-secret" not in msgspec.json.encode(event) and b"192.0.2" not in msgspec.json.encode(event)
