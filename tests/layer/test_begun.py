"""A flow that was advanced to its first effect is the same flow, but for what it raises before that."""

from typing import Any

import pytest
from by_hand import command
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.flows import Batch, Flow, begun, done


class Wrong(Exception):
    pass


EFFECTS = [Batch((command("PING", str(number)),)) for number in range(3)]


def asking(effects: list[Any], said: list[Any]) -> Flow[str]:
    """Asks for all of these, says what it is told, and goes on after what is thrown in."""
    try:
        for effect in effects:
            try:
                said.append((yield effect))
            except Wrong as error:
                said.append(error)
    finally:
        said.append("end")
    return "result"


def test_what_a_flow_raises_before_its_first_effect_is_raised_at_once() -> None:
    def flow() -> Flow[None]:
        raise Wrong
        yield

    with pytest.raises(Wrong):
        begun(flow())


def test_a_flow_that_asks_for_nothing_has_ended_with_its_value() -> None:
    flow = begun(done(42))
    with pytest.raises(StopIteration) as end:
        next(flow)
    assert end.value.value == 42


@given(st.lists(st.sampled_from(["reply", "throw"]), min_size=3, max_size=3))
def test_replies_and_errors_pass_through(steps: list[str]) -> None:
    said: list[Any] = []
    flow = begun(asking(EFFECTS, said))
    assert said == [], "nobody has answered yet"
    assert next(flow) is EFFECTS[0]
    expected: list[Any] = []
    for number, step in enumerate(steps, 1):
        expected.append([number] if step == "reply" else Wrong(number))
        effect: Any = None
        try:
            effect = flow.send([number]) if step == "reply" else flow.throw(expected[-1])
        except StopIteration as end:
            effect = end.value
        assert effect == [*EFFECTS, "result"][number]
    assert said == [*expected, "end"]


def test_an_error_that_it_does_not_expect_ends_it() -> None:
    said: list[Any] = []
    flow = begun(asking(EFFECTS, said))
    next(flow)
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    assert said == ["end"]


def test_to_close_it_closes_the_flow() -> None:
    said: list[Any] = []
    flow = begun(asking(EFFECTS, said))
    next(flow)
    flow.close()
    assert said == ["end"]


def test_one_that_is_closed_before_it_was_resumed_is_closed_too() -> None:
    said: list[Any] = []
    flow = begun(asking(EFFECTS, said))
    flow.close()
    del flow
    assert said == ["end"]
