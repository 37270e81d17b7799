"""The decorator: what it writes, what it returns, and that nothing it decorates is silently unprotected."""

import asyncio
import inspect
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest

from redis_mw import (
    Idempotent,
    LayerMissing,
    Limit,
    Lock,
    Refused,
    SettingsError,
    Strikes,
    current,
    idempotent,
    limited,
    locked,
)
from redis_mw.policy.current import CURRENT, GATE, Context
from redis_mw.policy.marks import Placed, marks_of, marks_on


class Gate:
    """Notes what is held; refuses what it is told to."""

    def __init__(self, refuses: str = "") -> None:
        self.held: list[Placed] = []
        self.refuses = refuses

    def hold(self, placed: Placed) -> None:
        self.held.append(placed)
        if placed.mark.policy.rate == self.refuses:
            raise Refused(429, 1, {"title": "Too Many Requests"})

    async def ahold(self, placed: Placed) -> None:
        await asyncio.sleep(0)
        self.hold(placed)


@contextmanager
def behind(gate: Gate) -> Any:
    token = GATE.set(gate)
    try:
        yield gate
    finally:
        GATE.reset(token)


def view(number: int, *, name: str = "x") -> str:
    """A view."""
    return f"{number} {name}"


async def coroutine(number: int, *, name: str = "x") -> str:
    """A view."""
    return f"{number} {name}"


def called(view: Callable[..., Any], *args: Any, **given: Any) -> Any:
    answer = view(*args, **given)
    return asyncio.run(answer) if inspect.isawaitable(answer) else answer


VIEWS = pytest.mark.parametrize("view", [view, coroutine], ids=["sync", "async"])


@VIEWS
def test_a_decorated_view_is_the_same_to_whoever_looks_at_it(view: Callable[..., Any]) -> None:
    decorated = limited("5/minute")(view)
    assert (decorated.__name__, decorated.__doc__, decorated.__module__) == (view.__name__, "A view.", __name__)
    assert inspect.signature(decorated) == inspect.signature(view)
    assert inspect.iscoroutinefunction(decorated) == inspect.iscoroutinefunction(view)
    assert inspect.unwrap(decorated) is view


@VIEWS
def test_every_mark_is_held_before_the_view_runs_the_outermost_first(view: Callable[..., Any]) -> None:
    decorated = limited("3/minute")(limited("2/minute")(limited("1/minute")(view)))
    assert [mark.policy.rate for mark in marks_on(decorated)] == ["1/minute", "2/minute", "3/minute"]
    with behind(Gate()) as gate:
        assert called(decorated, 7, name="y") == "7 y"
    assert [placed.mark.policy.rate for placed in gate.held] == ["3/minute", "2/minute", "1/minute"]
    assert [placed.place for placed in gate.held] == [f"{__name__}.{view.__name__}#{n}" for n in (3, 2, 1)]
    assert set(gate.held) == set(marks_of(decorated)), "what is found early has the same place"


@VIEWS
def test_what_is_refused_does_not_run(view: Callable[..., Any]) -> None:
    decorated = limited("2/minute")(limited("1/minute")(view))
    with behind(Gate("1/minute")) as gate, pytest.raises(Refused):
        called(decorated, 7)
    assert len(gate.held) == 2


@VIEWS
def test_without_a_layer_it_raises(view: Callable[..., Any]) -> None:
    with pytest.raises(LayerMissing, match=r"a decorated view was called.*mount RedisMiddleware or RedisExtension"):
        called(limited("5/minute")(view), 7)


def test_a_class_based_view_is_marked_and_its_dispatch_enforces() -> None:
    class View:
        def dispatch(self, number: int) -> int:
            return number

    decorated = limited("2/minute")(limited("1/minute")(View))
    assert decorated is View and [mark.policy.rate for mark in marks_on(View)] == ["1/minute", "2/minute"]
    with pytest.raises(LayerMissing):
        View().dispatch(7)
    with behind(Gate()) as gate:
        assert View().dispatch(7) == 7
    assert [placed.mark for placed in gate.held] == list(reversed(marks_on(View)))
    assert {placed.mark for placed in marks_of(View.dispatch, "get", cls=View)} == set(marks_on(View))


def test_a_subclass_leaves_its_base_alone() -> None:
    class Base:
        async def dispatch_request(self) -> str:
            return "done"

    class Page(Base):
        pass

    _ = limited("1/minute")(Page)
    assert marks_on(Base) == () and asyncio.run(Base().dispatch_request()) == "done"
    with pytest.raises(LayerMissing):
        asyncio.run(Page().dispatch_request())


def test_a_class_that_dispatches_nothing_is_an_error() -> None:
    with pytest.raises(TypeError, match="is no class-based view"):
        limited("1/minute")(type("Plain", (), {}))


def test_the_marks_of_a_method_hold_for_its_requests() -> None:
    class View:
        @limited("1/minute")
        def get(self) -> None: ...

        def post(self) -> None: ...

    (placed,) = marks_of(object(), "get", cls=View)
    assert placed.place.endswith("View.get#1") and marks_of(object(), "post", cls=View) == ()


def test_its_arguments_are_those_of_a_limit_checked_at_once() -> None:
    arguments = inspect.signature(limited).parameters
    assert list(arguments) == list(Limit.__struct_fields__)
    defaults = {name: each.default for name, each in arguments.items() if name != "rate"}
    assert defaults == {name: getattr(Limit("1/s"), name) for name in defaults}
    given: dict[str, Any] = {"by": ["user", "route"], "cost": 2, "on_deny": "charge", "strikes": Strikes(after=2)}
    (mark,) = marks_on(limited("5/minute", **given)(lambda: None))
    assert mark.policy == Limit("5/minute", **{**given, "by": ("user", "route")})
    with pytest.raises(SettingsError, match=r"limited\(\.\.\.\)\.rate.*often"):
        limited("often")
    with pytest.raises(SettingsError, match=r"limited\(\.\.\.\)\.burst"):
        limited("5/minute", algorithm="gcra")


def test_the_current_request_is_known_to_code_that_was_not_handed_it() -> None:
    with pytest.raises(LayerMissing):
        current()
    context = Context(mw=object())
    token = CURRENT.set(context)
    assert current() is context and current().verdicts == ()
    CURRENT.reset(token)


@pytest.mark.parametrize(
    ("decorator", "arguments", "path"),
    [
        (locked, {"name": "order:{"}, "locked(...).name"),
        (locked, {"name": "a", "ttl": 0}, "locked(...).ttl"),
        (locked, {"name": "a", "wait": -1}, "locked(...).wait"),
        (locked, {"name": "a", "methods": ["not a method"]}, "locked(...).methods[0]"),
        (idempotent, {"scope": "{a}{b}"}, "idempotent(...).scope"),
        (idempotent, {"wait": float("nan")}, "idempotent(...).wait"),
        (idempotent, {"required": "yes"}, "idempotent(...).required"),
    ],
)
def test_what_no_lock_or_key_could_mean_is_an_error_where_it_is_written(
    decorator: Any, arguments: Any, path: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        decorator(**arguments)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_locks_and_keys_are_written_on_the_view_like_limits() -> None:
    def name(request: Any) -> str:
        return "a"

    decorated = locked(name, wait=0, shared=True)(idempotent(required=True, methods=["PUT"])(view))
    policies = [mark.policy for mark in marks_on(decorated)]
    assert policies == [Idempotent(required=True, methods=("PUT",)), Lock(name, wait=0, shared=True)]
    with pytest.raises(LayerMissing):
        decorated(1)
