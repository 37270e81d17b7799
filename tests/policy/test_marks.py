"""Where decorators leave their marks, and which of them integrations find."""

from functools import partial, update_wrapper, wraps
from inspect import iscoroutinefunction
from typing import Any

import pytest

from redis_mw import limited
from redis_mw.policy.current import GATE
from redis_mw.policy.marks import marks_of


def rates(view: Any, **options: Any) -> list[str]:
    return [str(placed.mark.policy.rate) for placed in marks_of(view, **options)]


def multiply(*decorators: Any) -> Any:
    """What Django's ``method_decorator`` does: each decorator is tried on a function of its own, for its attributes."""

    def decorate(method: Any) -> Any:
        def wrapper(self: Any) -> Any:
            bound: Any = wraps(method)(partial(method.__get__(self, type(self))))
            for decorator in reversed(decorators):
                bound = decorator(bound)
            return bound()

        for decorator in reversed(decorators):

            @decorator
            def dummy() -> None: ...

            _ = update_wrapper(wrapper, dummy)
        return update_wrapper(wrapper, method)

    return decorate


class Gate:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.held: list[Any] = []

    def hold(self, placed: Any) -> None:
        self.held.append(placed.mark)

    async def ahold(self, placed: Any) -> None:
        self.held.append(placed.mark)


def test_marks_survive_where_only_one_attribute_of_a_name_does() -> None:
    class View:
        @multiply(limited("1/minute"), limited("2/minute"))
        @multiply(limited("3/minute"))
        @limited("4/minute")
        def get(self) -> str:
            return "hello"

    assert sorted(rates(View.get)) == ["1/minute", "2/minute", "3/minute", "4/minute"]
    gate = Gate()
    token = GATE.set(gate)
    try:
        for _ in range(2):
            assert View().get() == "hello"
    finally:
        GATE.reset(token)
    assert {placed.mark for placed in marks_of(View.get)} == set(gate.held)


def test_what_stands_above_a_view_is_not_what_the_view_enforces() -> None:
    def view() -> None: ...

    above = limited("1/minute")(view)
    assert rates(view) == ["1/minute"]
    assert rates(view, above=False) == []
    assert rates(above) == rates(above, above=False) == ["1/minute"]


@pytest.mark.asyncio
async def test_what_only_says_that_it_is_async_is_awaited() -> None:
    """As asgiref marks the views of Django's classes, on Pythons that have no mark of their own."""

    async def body() -> str:
        return "hello"

    def view() -> Any:
        return body()

    view._is_coroutine = object()  # type: ignore[attr-defined]
    decorated = limited("1/minute")(view)
    assert iscoroutinefunction(decorated)
    token = GATE.set(Gate())
    try:
        assert await decorated() == "hello"
    finally:
        GATE.reset(token)
