"""Where decorators leave their marks: on whatever of a view an integration may find."""

from functools import wraps
from typing import Any

import pytest

from redis_mw import LayerMissing, limited
from redis_mw.policy.marks import marks_of, marks_on


def policies(carrier: Any) -> list[str]:
    return [str(mark.policy.rate) for mark in marks_on(carrier)]


def registering(registered: list[Any]) -> Any:
    """A route decorator: it keeps what it is given, and gives it back."""

    def route(view: Any) -> Any:
        registered.append(view)
        return view

    return route


def test_however_many_stand_above_the_route_decorator_it_has_registered_them_all() -> None:
    registered: list[Any] = []

    @limited("3/minute")
    @limited("2/minute")
    @registering(registered)
    @limited("1/minute")
    def view() -> None: ...

    assert policies(registered[0]) == ["1/minute", "2/minute", "3/minute"] == policies(view)
    with pytest.raises(LayerMissing):
        registered[0]()


def test_a_decorated_function_that_somebody_else_wraps_is_not_marked_for_him() -> None:
    def view() -> None: ...

    @wraps(view)
    def foreign() -> None:
        view()

    _ = limited("1/minute")(foreign)
    assert policies(foreign) == ["1/minute"]
    assert policies(view) == []


def test_what_holds_views_is_marked_and_given_back() -> None:
    class Blueprint:
        def register_blueprint(self) -> None: ...

    group = Blueprint()
    assert limited("1/minute")(limited("2/minute")(group)) is group  # type: ignore[type-var]
    assert policies(group) == ["2/minute", "1/minute"]


def test_what_is_no_view_is_an_error_and_not_left_unprotected() -> None:
    with pytest.raises(TypeError, match="cannot be called"):
        limited("1/minute")(classmethod(lambda cls: None))  # type: ignore[type-var]


def test_a_mark_met_on_two_carriers_is_found_once() -> None:
    @limited("1/minute")
    class View:
        def dispatch_request(self) -> None: ...

    assert len(marks_of(None, "dispatch_request", cls=View)) == 1
