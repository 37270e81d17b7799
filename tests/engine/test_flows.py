"""Flows by hand: replies are scripted, no server and no driver."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.flows import Batch, Command, Effect, Flow, Wait, Woken, done, one, send, together


def ask(name: str) -> Command[str]:
    return Command((name,), lambda reply: f"parsed {reply}")


def names(effect: Effect) -> list[Any]:
    assert isinstance(effect, Batch)
    return [command.args[0] for command in effect.commands]


def ended(flow: Flow[Any], reply: Any) -> Any:
    """Send the last reply and give the flow's result."""
    with pytest.raises(StopIteration) as end:
        _ = flow.send(reply)
    return end.value.value


def steps(name: str, count: int) -> Flow[list[Any]]:
    """A flow of so many batches of one command each."""
    got: list[Any] = []
    for n in range(count):
        got.append((yield from one(ask(f"{name}{n}"))))
    return got


def answer(flow: Flow[Any]) -> tuple[list[list[Any]], Any]:
    """Run a flow of batches to its end, each command answered with its own name; the batches and the result."""
    batches: list[list[Any]] = []
    try:
        effect = next(flow)
        while True:
            batches.append(names(effect))
            effect = flow.send(batches[-1])
    except StopIteration as end:
        return batches, end.value


def test_one_parses_the_reply_and_passes_failures_through() -> None:
    flow = one(ask("a"))
    assert names(next(flow)) == ["a"]
    assert ended(flow, ["x"]) == "parsed x"
    for failure in (CommandError("OOM", "full"), RedisUnavailable("away")):
        flow = one(ask("a"))
        _ = next(flow)
        assert ended(flow, [failure]) is failure


def test_a_null_reply_is_parsed_like_any_other() -> None:
    flow = one(ask("a"))
    _ = next(flow)
    assert ended(flow, [None]) == "parsed None"


def test_send_gives_each_command_its_own_value_or_failure() -> None:
    flow = send(ask("a"), ask("b"), ask("c"))
    assert names(next(flow)) == ["a", "b", "c"]
    failure = CommandError("WRONGTYPE", "no")
    assert ended(flow, [1, failure, 3]) == ("parsed 1", failure, "parsed 3")


def test_nothing_to_send_is_no_trip() -> None:
    assert answer(send()) == ([], ())
    assert answer(done(7)) == ([], 7)
    assert answer(together()) == ([], ())


@given(st.lists(st.integers(0, 4), max_size=6))
def test_unequal_flows_share_every_trip_they_can(counts: list[int]) -> None:
    batches, result = answer(together(*[steps(f"f{i}-", count) for i, count in enumerate(counts)]))
    assert len(batches) == max(counts, default=0)
    for n, batch in enumerate(batches):
        assert batch == [f"f{i}-{n}" for i, count in enumerate(counts) if count > n]
    assert list(result) == [[f"parsed f{i}-{n}" for n in range(count)] for i, count in enumerate(counts)]


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), max_size=3))
def test_a_group_within_a_group_behaves_like_one_group(groups: list[list[int]]) -> None:
    def flows() -> list[list[Flow[Any]]]:
        return [[steps(f"{g}.{i}-", n) for i, n in enumerate(group)] for g, group in enumerate(groups)]

    nested, result = answer(together(*[together(*group) for group in flows()]))
    flat, flat_result = answer(together(*[flow for group in flows() for flow in group]))
    assert nested == flat
    assert [value for group in result for value in group] == list(flat_result)


def test_a_failed_command_reaches_only_the_flow_it_belongs_to() -> None:
    flow = together(one(ask("a")), send(ask("b"), ask("c")), one(ask("d")))
    assert names(next(flow)) == ["a", "b", "c", "d"]
    away = RedisUnavailable("away")
    assert ended(flow, [1, 2, away, 4]) == ("parsed 1", ("parsed 2", away), "parsed 4")


def broken(*replies: str) -> Flow[None]:
    for name in replies:
        _ = yield from one(ask(name))
    raise ZeroDivisionError("a bug")


@pytest.mark.parametrize("first", [(), ("x",), ("x", "y")])
def test_a_bug_in_one_flow_is_raised_after_the_others_have_ended(first: Iterable[str]) -> None:
    reached: list[str] = []

    def careful() -> Flow[None]:
        _ = yield from one(ask("take"))
        _ = yield from one(ask("give"))
        reached.append("end")

    flow = together(broken(*first), careful())
    with pytest.raises(ZeroDivisionError):
        _ = answer(flow)
    assert reached == ["end"]


def waiting(name: str, *channels: str, seconds: float = 1.0) -> Flow[Woken | None]:
    _ = yield from one(ask(name))
    woken: Woken | None = yield Wait(channels, seconds)
    return woken


def test_batches_go_first_and_a_wait_last() -> None:
    flow = together(waiting("w", "ch"), steps("s", 3))
    assert names(next(flow)) == ["w", "s0"]
    assert names(flow.send([0, 0])) == ["s1"]
    assert names(flow.send([0])) == ["s2"]
    assert flow.send([0]) == Wait(("ch",), 1.0)
    assert ended(flow, Woken("ch", 0.5))[0] == Woken("ch", 0.5)


def test_two_waits_become_one_and_only_the_flow_that_is_woken_goes_on() -> None:
    flow = together(waiting("a", "x", seconds=5), waiting("b", "y", "z", seconds=2))
    _ = next(flow)
    wait = flow.send([0, 0])
    assert isinstance(wait, Wait)
    assert (set(wait.channels), wait.seconds) == ({"x", "y", "z"}, 2)
    assert flow.send(Woken("z", 1.5, b"said")) == Wait(("x",), 3.5)
    assert ended(flow, Woken("x", 2.0)) == (Woken("x", 3.5), Woken("z", 1.5, b"said"))


def test_a_wait_whose_time_is_over_when_another_is_woken_ends_with_it() -> None:
    flow = together(waiting("a", "x", seconds=5), waiting("b", "y", seconds=2))
    _ = next(flow)
    _ = flow.send([0, 0])
    assert ended(flow, Woken("x", 2.25)) == (Woken("x", 2.25), None)


def test_the_trips_of_one_flow_do_not_begin_the_wait_of_another_anew() -> None:
    def twice() -> Flow[None]:
        for name in ("first", "second"):
            _ = yield Wait(("w",), 10)
            _ = yield from one(ask(name))

    flow = together(waiting("a", "x", seconds=5), twice())
    assert names(next(flow)) == ["a"]
    assert flow.send([0]) == Wait(("x", "w"), 5)
    assert names(flow.send(Woken("w", 3))) == ["first"]
    assert flow.send([0]) == Wait(("x", "w"), 2)
    assert names(flow.send(Woken("w", 1))) == ["second"]
    assert flow.send([0]) == Wait(("x",), 1)
    assert ended(flow, None) == (None, None)


def test_a_wait_in_a_group_within_a_group_keeps_its_time() -> None:
    inner = together(waiting("a", "x", seconds=8), waiting("b", "y", seconds=6))
    flow = together(inner, waiting("c", "z", seconds=2))
    _ = next(flow)
    assert flow.send([0, 0, 0]) == Wait(("x", "y", "z"), 2)
    assert flow.send(None) == Wait(("x", "y"), 4)
    assert flow.send(Woken("y", 1)) == Wait(("x",), 5)
    assert ended(flow, None) == ((None, Woken("y", 3)), None)


def test_when_the_shorter_wait_is_over_the_longer_one_waits_what_is_left() -> None:
    flow = together(waiting("a", "x", seconds=5), waiting("b", "y", seconds=2))
    _ = next(flow)
    _ = flow.send([0, 0])
    assert flow.send(None) == Wait(("x",), 3)
    assert ended(flow, None) == (None, None)


def test_a_channel_wakes_every_flow_that_waits_for_it() -> None:
    flow = together(waiting("a", "x"), waiting("b", "x", "y"))
    _ = next(flow)
    _ = flow.send([0, 0])
    assert ended(flow, Woken("x", 0.25)) == (Woken("x", 0.25), Woken("x", 0.25))


def taking(name: str, undone: list[str], steps_: int = 1) -> Flow[str]:
    try:
        for _ in range(steps_):
            _ = yield from one(ask(f"take {name}"))
        return name
    except KeyboardInterrupt:
        _ = yield from one(ask(f"undo {name}"))
        undone.append(name)
        raise


def test_an_interruption_is_thrown_into_every_flow_and_the_undo_leaves_as_one_batch() -> None:
    undone: list[str] = []
    flow = together(taking("a", undone), taking("b", undone, 2), taking("c", undone))
    assert names(next(flow)) == ["take a", "take b", "take c"]
    stop = KeyboardInterrupt()
    assert names(flow.throw(stop)) == ["undo a", "undo b", "undo c"]
    with pytest.raises(KeyboardInterrupt) as caught:
        _ = flow.send([0, 0, 0])
    assert caught.value is stop
    assert undone == ["a", "b", "c"]


def test_an_interruption_in_a_later_step_undoes_only_what_has_not_ended() -> None:
    undone: list[str] = []
    flow = together(taking("a", undone), taking("b", undone, 2))
    _ = next(flow)
    assert names(flow.send([0, 0])) == ["take b"]
    assert names(flow.throw(KeyboardInterrupt())) == ["undo b"]
    with pytest.raises(KeyboardInterrupt):
        _ = flow.send([0])


def test_a_flow_that_has_nothing_to_undo_ends_at_once() -> None:
    flow = together(one(ask("a")), one(ask("b")))
    _ = next(flow)
    with pytest.raises(KeyboardInterrupt):
        _ = flow.throw(KeyboardInterrupt())


def test_an_interruption_during_a_wait_reaches_those_who_wait() -> None:
    undone: list[str] = []

    def queued() -> Flow[None]:
        try:
            _ = yield Wait(("ch",), 1)
        except KeyboardInterrupt:
            _ = yield from one(ask("leave the queue"))
            undone.append("left")
            raise

    flow = together(queued(), done(1))
    assert next(flow) == Wait(("ch",), 1)
    assert names(flow.throw(KeyboardInterrupt())) == ["leave the queue"]
    with pytest.raises(KeyboardInterrupt):
        _ = flow.send([0])
    assert undone == ["left"]


def test_an_abandoned_group_closes_its_flows() -> None:
    closed: list[str] = []

    def flow(name: str) -> Flow[None]:
        try:
            _ = yield from one(ask(name))
        finally:
            closed.append(name)

    group = together(flow("a"), flow("b"))
    _ = next(group)
    group.close()
    assert sorted(closed) == ["a", "b"]
