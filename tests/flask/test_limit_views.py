"""Decorated views, in every way in which Flask takes one: counted once, in the one batch of the request."""

import asyncio

import pytest
from flask import Blueprint, session
from flask.views import MethodView, View

from redis_mw import LayerMissing, current, limited
from redis_mw.testing import count_round_trips

TWO = limited("2/minute")


def page():
    """A fresh view: a decorator above a route decorator leaves its word on the function itself."""

    def view():
        return "a page"

    return view


def foreign(view):
    """A decorator that drops what others wrote on a function."""

    def wrapper(*args, **kwargs):
        return view(*args, **kwargs)

    return wrapper


@TWO
class Decorated(MethodView):
    def get(self):
        return "a page"


class Inherited(Decorated):
    pass


class OnMethod(MethodView):
    @TWO
    def get(self):
        return "a page"

    def post(self):
        return "a post"


class OnDispatch(View):
    @TWO
    def dispatch_request(self):
        return "a page"


class Listed(View):
    decorators = [TWO]

    def dispatch_request(self):
        return "a page"


class ListedBelowAForeignOne(View):
    decorators = [TWO, foreign]

    def dispatch_request(self):
        return "a page"


class Kept(MethodView):
    init_every_request = False

    @TWO
    async def get(self):
        await asyncio.sleep(0)
        return "a page"


def below(app):
    app.get("/x")(TWO(page()))


def above(app):
    TWO(app.get("/x")(page()))


def two_above(app):
    limited("8/minute")(TWO(app.get("/x")(page())))


def added(app):
    app.add_url_rule("/x", "x", TWO(page()))


def asynchronous(app):
    @app.get("/x")
    @TWO
    async def view():
        await asyncio.sleep(0)
        return "a page"


def in_a_blueprint(app):
    part = Blueprint("part", __name__)
    part.get("/x")(TWO(page()))
    app.register_blueprint(part)


def nested(app):
    inner, outer = Blueprint("inner", __name__), Blueprint("outer", __name__, url_prefix="/x")
    inner.get("/y")(TWO(page()))
    outer.register_blueprint(inner)
    app.register_blueprint(outer)


def whole_blueprint(app):
    part = Blueprint("part", __name__)
    assert TWO(part) is part
    part.get("/x")(page())
    app.register_blueprint(part)


def whole_nest(app):
    inner, outer = Blueprint("inner", __name__), TWO(Blueprint("outer", __name__, url_prefix="/x"))
    inner.get("/y")(page())
    outer.register_blueprint(inner)
    app.register_blueprint(outer)


def whole_application(app):
    app.get("/x")(page())
    TWO(app)


def by_class(cls):
    def register(app):
        app.add_url_rule("/x", view_func=cls.as_view("x"))

    register.__name__ = cls.__name__
    return register


def under_a_foreign_decorator(app):
    app.add_url_rule("/x", "x", foreign(TWO(page())))


def class_under_a_foreign_decorator(app):
    app.add_url_rule("/x", "x", foreign(Decorated.as_view("x")))


SEEN = [
    below,
    above,
    two_above,
    added,
    asynchronous,
    in_a_blueprint,
    nested,
    whole_blueprint,
    whole_nest,
    whole_application,
    *map(by_class, (Decorated, Inherited, OnMethod, OnDispatch, Listed, Kept)),
]
UNSEEN = [under_a_foreign_decorator, class_under_a_foreign_decorator, by_class(ListedBelowAForeignOne)]


def counted(app, path):
    """Status, round trips and what is left of the limit, for each of three requests."""
    client = app.test_client()
    found = []
    for _ in range(3):
        with count_round_trips() as trips:
            answer = client.get(path)
        left = [member for member in answer.headers["RateLimit"].split(", ") if member.startswith('"2-per-m"')]
        found.append((answer.status_code, trips.awaited, [member.split(";")[1] for member in left]))
    return found


@pytest.mark.parametrize("register", SEEN, ids=lambda register: register.__name__)
def test_a_view_is_counted_once_and_in_one_trip(limited_app, register):
    app = limited_app(default=["9/minute"])
    register(app)
    path = "/x/y" if register in (nested, whole_nest) else "/x"
    assert counted(app, path) == [(200, 1, ["r=1"]), (200, 1, ["r=0"]), (429, 1, ["r=0"])]


@pytest.mark.parametrize("register", UNSEEN, ids=lambda register: register.__name__)
def test_one_that_was_not_seen_in_time_is_counted_once_too_at_one_trip_more(limited_app, register):
    app = limited_app(default=["9/minute"])
    register(app)
    assert counted(app, "/x") == [(200, 2, ["r=1"]), (200, 2, ["r=0"]), (429, 2, ["r=0"])]


def test_classes_without_names_for_their_limits_are_counted_apart_seen_or_not(limited_app):
    app = limited_app()

    @TWO
    class Other(MethodView):
        def get(self):
            return "another page"

    app.add_url_rule("/seen", view_func=Decorated.as_view("seen"))
    app.add_url_rule("/unseen", "unseen", foreign(Decorated.as_view("unseen")))
    app.add_url_rule("/other", "other", foreign(Other.as_view("other")))
    client = app.test_client()
    assert [client.get(path).status_code for path in ("/seen", "/unseen", "/seen", "/unseen")] == [200, 200, 429, 429]
    assert [client.get("/other").status_code for _ in range(3)] == [200, 200, 429]


def test_rules_and_all_decorators_of_a_view_are_one_batch_with_its_session(limited_app):
    app = limited_app("7/minute", default=["9/minute"])
    part = limited("6/minute")(Blueprint("part", __name__))

    @part.get("/page/own")
    @limited("3/minute")
    @limited("4/minute")
    def own():
        return session["a"]

    app.register_blueprint(part)
    client = app.test_client()
    client.get("/put/a/1")
    with count_round_trips() as trips:
        answer = client.get("/page/own")
    assert (answer.text, trips.awaited, trips.commands) == ("1", 1, ["EVALSHA", "EVALSHA"])
    names = [policy.split(";")[0] for policy in answer.headers["RateLimit-Policy"].split(", ")]
    assert names == [f'"{amount}-per-m"' for amount in (9, 7, 6, 4, 3)]


def test_other_methods_of_a_class_are_not_counted_but_head_is_its_get(limited_app):
    app = limited_app()
    app.add_url_rule("/x", view_func=OnMethod.as_view("x"))
    client = app.test_client()
    assert [client.post("/x").status_code for _ in range(3)] == [200] * 3
    assert [client.head("/x").status_code for _ in range(3)] == [200, 200, 429]


def test_what_flask_answers_itself_is_not_counted_for_the_view(limited_app):
    app = limited_app()
    below(app)
    client = app.test_client()
    assert [client.options("/x").status_code for _ in range(3)] == [200] * 3
    assert [client.post("/x").status_code for _ in range(3)] == [405] * 3
    assert client.get("/x").status_code == 200


def test_a_view_that_was_put_in_the_place_of_another_has_its_own_marks(limited_app):
    app = limited_app()
    app.add_url_rule("/x", "x", page())
    client = app.test_client()
    assert "RateLimit" not in client.get("/x").headers
    app.view_functions["x"] = TWO(page())
    with count_round_trips() as trips:
        assert client.get("/x").headers["RateLimit"].split(";")[1] == "r=1"
    assert trips.awaited == 1


def test_a_view_that_calls_another_one_is_counted_for_both(limited_app):
    plain = page()
    plain.__qualname__ = "inner"  # as of a function of a module; those that functions make are told apart by route
    app, inner = limited_app(), TWO(plain)
    app.add_url_rule("/inner", "inner", inner)
    app.add_url_rule("/outer", "outer", lambda: inner() + inner())
    client = app.test_client()
    with count_round_trips() as trips:
        assert client.get("/outer").text == "a pagea page"
    assert trips.awaited == 1
    assert [client.get("/inner").status_code for _ in range(2)] == [200, 429]


def test_where_a_handler_of_the_view_caught_the_refusal_the_request_goes_on(limited_app):
    app = limited_app()
    unseen = limited("1/minute")(lambda: "fine")

    @app.get("/x")
    def view():
        try:
            return unseen()
        except Exception as error:
            return f"instead: {type(error).__name__}", 200

    client = app.test_client()
    assert [client.get("/x").text for _ in range(2)] == ["fine", "instead: RateLimited"]


def test_outside_of_a_request_a_decorated_view_is_not_silently_unprotected(limited_app):
    app, view = limited_app(), TWO(page())
    with pytest.raises(LayerMissing):
        view()
    with app.app_context(), pytest.raises(LayerMissing):
        view()


def test_the_context_tells_what_was_said(limited_app):
    app = limited_app(default=["9/minute"])

    @app.get("/x")
    @TWO
    def view():
        here = current()
        limiter = here.limits.limiter("1/second")
        return {
            "seen": [verdict.remaining for verdict in here.verdicts],
            "more": [bool(limiter.hit()), bool(limiter.hit())],
        }

    assert app.test_client().get("/x").json == {"seen": [8, 1], "more": [True, False]}
