"""Views under ``locked`` and ``idempotent``, in every way in which Flask takes one: asked once, in one round trip."""

import asyncio
import enum
import json
import uuid

import pytest
from flask import Blueprint, request
from flask.views import MethodView, View
from werkzeug.routing import BaseConverter

from redis_mw import Idempotent, LayerMissing, Lock, Rule, current, idempotent, locked
from redis_mw.testing import count_round_trips

KEY = {"Idempotency-Key": '"one"'}


def page():
    """A fresh view: it counts its runs by the fence of its lock, which never repeats."""

    def view(**read):
        lease = current().lease
        return {"fence": lease.fence if lease is not None else 0, "runs": str(uuid.uuid4()), "sent": request.get_json()}

    return view


def foreign(view):
    """A decorator that drops what others wrote on a function."""

    def wrapper(*args, **kwargs):
        return view(*args, **kwargs)

    return wrapper


def below(app, mark):
    app.post("/x")(mark(page()))


def above(app, mark):
    mark(app.post("/x")(page()))


def added(app, mark):
    app.add_url_rule("/x", "x", mark(page()), methods=["POST"])


def asynchronous(app, mark):
    plain = page()

    @app.post("/x")
    @mark
    async def view():
        await asyncio.sleep(0)
        return plain()


def in_a_blueprint(app, mark):
    part = Blueprint("part", __name__)
    part.post("/x")(mark(page()))
    app.register_blueprint(part)


def whole_blueprint(app, mark):
    part = mark(Blueprint("part", __name__))
    part.post("/x")(page())
    app.register_blueprint(part)


def whole_nest(app, mark):
    inner, outer = Blueprint("inner", __name__), mark(Blueprint("outer", __name__, url_prefix="/x"))
    inner.post("/")(page())
    outer.register_blueprint(inner)
    app.register_blueprint(outer)


def whole_application(app, mark):
    app.post("/x")(page())
    mark(app)


def method_view(app, mark):
    @mark
    class Decorated(MethodView):
        def post(self):
            return page()()

    app.add_url_rule("/x", view_func=Decorated.as_view("x"))


def inherited(app, mark):
    @mark
    class Decorated(MethodView):
        def post(self):
            return page()()

    class Heir(Decorated):
        pass

    app.add_url_rule("/x", view_func=Heir.as_view("x"))


def on_a_method(app, mark):
    class OnMethod(MethodView):
        @mark
        def post(self):
            return page()()

    app.add_url_rule("/x", view_func=OnMethod.as_view("x"))


def on_dispatch(app, mark):
    class OnDispatch(View):
        methods = ["POST"]

        @mark
        def dispatch_request(self):
            return page()()

    app.add_url_rule("/x", view_func=OnDispatch.as_view("x"))


def listed(app, mark):
    class Listed(View):
        methods = ["POST"]
        decorators = [mark]

        def dispatch_request(self):
            return page()()

    app.add_url_rule("/x", view_func=Listed.as_view("x"))


def under_a_foreign_decorator(app, mark):
    app.add_url_rule("/x", "x", foreign(mark(page())), methods=["POST"])


def class_under_a_foreign_decorator(app, mark):
    @mark
    class Decorated(MethodView):
        def post(self):
            return page()()

    app.add_url_rule("/x", "x", foreign(Decorated.as_view("x")), methods=["POST"])


def asynchronous_under_a_foreign_decorator(app, mark):
    plain = page()

    @mark
    async def view():
        await asyncio.sleep(0)
        return plain()

    async def wrapper():
        return await view()

    app.post("/x")(wrapper)


SEEN = [
    *(below, above, added, asynchronous, in_a_blueprint, whole_blueprint, whole_nest, whole_application),
    *(method_view, inherited, on_a_method, on_dispatch, listed),
]
UNSEEN = [under_a_foreign_decorator, class_under_a_foreign_decorator, asynchronous_under_a_foreign_decorator]

WAYS = [(each, 1) for each in SEEN] + [(each, 2) for each in UNSEEN]
NAMES = [each.__name__ for each, _ in WAYS]


@pytest.fixture
def told():
    return []


@pytest.fixture
def names(told):
    """The names of the events of a feature so far."""
    return lambda feature: [event.name for event in told if event.feature == feature]


@pytest.fixture
def settings():
    """More of the application's settings."""
    return {}


@pytest.fixture
def app(limited_app, told, settings):
    return limited_app(default=["99/minute"], settings={"on_event": [told.append], **settings})


def path_of(register):
    return "/x/" if register is whole_nest else "/x"


@pytest.mark.parametrize(("register", "trips_of_one"), WAYS, ids=NAMES)
def test_a_lock_is_taken_once_for_each_request_and_given_back(app, names, given_back, register, trips_of_one):
    register(app, locked("order", wait=10))
    client, fences = app.test_client(), []
    for _ in range(3):
        with count_round_trips() as trips, client.post(path_of(register), json=1) as answer:
            fences.append(answer.json["fence"])
        assert trips.awaited == trips_of_one
        given_back()
    assert fences == sorted(set(fences)) and fences[0] > 0
    assert names("lock").count("lock.acquired") == 3


@pytest.mark.parametrize(("register", "trips_of_one"), WAYS, ids=NAMES)
def test_a_key_is_claimed_once_and_its_answer_given_to_every_repeat(app, names, register, trips_of_one):
    register(app, idempotent(required=True))
    client, answers = app.test_client(), []
    for expected in (trips_of_one + 1, trips_of_one, trips_of_one):
        with count_round_trips() as trips:
            answers.append(client.post(path_of(register), json={"a": 1}, headers=KEY, buffered=True))
        assert trips.awaited == expected
    assert len({answer.text for answer in answers}) == 1 and answers[0].json["sent"] == {"a": 1}
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers] == [None, "true", "true"]
    assert names("idempotency") == ["idempotency.first", "idempotency.replay", "idempotency.replay"]
    assert all("RateLimit" in answer.headers for answer in answers)
    assert client.post(path_of(register), json={"a": 2}, headers=KEY).status_code == 422
    assert client.post(path_of(register), json={"a": 1}).status_code == 400


@pytest.mark.parametrize(("register", "trips_of_one"), WAYS, ids=NAMES)
def test_both_are_one_batch_and_a_replay_holds_no_lock(app, names, given_back, register, trips_of_one):
    register(app, lambda view: locked("order", wait=10)(idempotent()(view)))
    client = app.test_client()
    late = trips_of_one - 1
    # Marks that are found late are found one after the other.
    for expected in (2 + 2 * late, 1 + 2 * late):
        with count_round_trips() as trips, client.post(path_of(register), json=1, headers=KEY) as answer:
            assert (answer.status_code, trips.awaited) == (200, expected)
        given_back()
    assert names("idempotency") == ["idempotency.first", "idempotency.replay"]


def test_without_its_method_or_key_a_view_runs_as_ever(app):
    @app.route("/x", methods=["GET", "PUT", "POST"])
    @locked("order", methods=["PUT"])
    @idempotent()
    def view():
        return {"locked": current().lease is not None}

    client = app.test_client()
    found = [client.open("/x", method=method, headers=KEY, buffered=True) for method in ("GET", "PUT", "GET")]
    assert [answer.json["locked"] for answer in found] == [False, True, False]
    with count_round_trips() as trips:
        assert [client.post("/x").json["locked"] for _ in range(2)] == [False, False]
    assert trips.awaited == 2


def test_with_the_feature_turned_off_its_marks_ask_for_nothing(limited_app):
    app = limited_app(settings={"locks": None, "idempotency": None})
    below(app, lambda view: locked("order")(idempotent(required=True)(view)))
    with count_round_trips() as trips:
        assert app.test_client().post("/x", json=1).json["fence"] == 0
    assert trips.total == 0


def test_outside_of_a_request_nothing_is_silently_unprotected(app):
    for mark in (locked("order"), idempotent()):
        with app.app_context(), pytest.raises(LayerMissing):
            mark(page())()


# What fills a name


class Colour(enum.Enum):
    RED = "r"


class ColourConverter(BaseConverter):
    def to_python(self, value):
        return Colour(value)


class Order:
    def __init__(self, number):
        self.number = number


class OrderConverter(BaseConverter):
    def to_python(self, value):
        return Order(value)


ID = "8e03978e-40d5-43e8-bc93-6894a57f9324"
CONVERTED = [
    ("/o/<int:id>", "/o/7", "order:7"),
    ("/o/<int:id>", "/o/007", "order:7"),
    ("/o/<float:id>", "/o/7.50", "order:7.5"),
    ("/o/<uuid:id>", f"/o/{ID.upper()}", f"order:{ID}"),
    ("/o/<colour:id>", "/o/r", "order:r"),
    ("/o/<path:id>", "/o/a/b", "order:a/b"),
    ("/o/<id>", "/o/%C3%A4%2Fb", None),  # a slash never stands in a text
    ("/o/<id>", "/o/%C3%A4", "order:ä"),
]


@pytest.mark.parametrize("by", ["mark", "late mark", "rule"])
@pytest.mark.parametrize(("rule", "path", "name"), CONVERTED)
def test_a_parameter_fills_as_the_view_gets_it(limited_app, rule, path, name, by):
    lock, rules = locked("order:{id}"), []
    if by == "rule":
        rules = [Rule("/o/{id:path}", lock=Lock("order:{id}"))]
    app = limited_app(settings={"rules": rules})
    app.url_map.converters["colour"] = ColourConverter

    def view(id):
        return {"names": current().lease.names}

    app.add_url_rule(rule, "x", {"mark": lock(view), "late mark": foreign(lock(view)), "rule": view}[by])
    answer = app.test_client().get(path, buffered=True)
    assert answer.status_code == (404 if name is None else 200)
    if name is not None:
        assert answer.json == {"names": [name]}


def test_a_default_of_none_is_no_name(limited_app):
    app = limited_app()

    @app.get("/o", defaults={"id": None})
    @app.get("/o/<id>")
    @locked("order:{id}")
    def view(id):
        return {"locked": current().lease is not None}

    client = app.test_client()
    assert [client.get(path, buffered=True).json["locked"] for path in ("/o", "/o/7")] == [False, True]


def test_what_cannot_say_what_it_is_fills_nothing_and_the_view_does_not_run(limited_app):
    app, ran = limited_app(), []
    app.url_map.converters["order"] = OrderConverter

    @app.get("/o/<order:id>")
    @locked("order:{id}")
    def view(id):
        ran.append(id)
        return "never"

    @app.get("/missing")
    @locked("order:{nobody}")
    def missing():
        ran.append("missing")
        return "never"

    client = app.test_client()
    assert [client.get(path).status_code for path in ("/o/7", "/missing")] == [500, 500]
    assert ran == []


def test_the_session_fills_for_nothing_and_the_user_for_one_trip_more(limited_app):
    app = limited_app()

    @app.get("/by/session")
    @locked("cart:{session}")
    def by_session():
        return {"names": current().lease.names if current().lease else None}

    @app.get("/by/user")
    @locked("cart:{user}")
    def by_user():
        return {"names": current().lease.names if current().lease else None}

    client = app.test_client()
    for path in ("/by/session", "/by/user"):
        assert client.get(path, buffered=True).json == {"names": None}
    client.get("/login/7")
    for path, expected, name in (("/by/session", 1, None), ("/by/user", 2, "cart:7")):
        with count_round_trips() as trips:
            found = client.get(path, buffered=True).json["names"]
        assert trips.awaited == expected
        assert found == [name] if name else found[0].startswith("cart:")


def test_a_callable_gets_flasks_request(limited_app):
    app = limited_app()

    @app.get("/x")
    @locked(lambda asked: asked.args.get("order"))
    def view():
        return {"names": current().lease.names if current().lease else None}

    client = app.test_client()
    assert client.get("/x?order=7", buffered=True).json == {"names": ["7"]}
    assert client.get("/x", buffered=True).json == {"names": None}


# Rules


@pytest.mark.parametrize(
    "settings", [{"rules": [Rule("/shop/*", lock=Lock("shop"), idempotency=Idempotent(required=True))]}]
)
def test_rules_by_path_ask_as_marks_do_and_a_mark_wins(app, given_back):

    @app.post("/shop/plain")
    def plain():
        return {"names": current().lease.names}

    @app.post("/shop/own")
    @locked("own")
    @idempotent()
    def own():
        return {"names": current().lease.names}

    client = app.test_client()
    for expected in (2, 1):
        with count_round_trips() as trips:
            assert client.post("/shop/plain", headers=KEY, buffered=True).json == {"names": ["shop"]}
        assert trips.awaited == expected
        given_back()
    assert client.post("/shop/plain").status_code == 400
    assert client.post("/shop/own", buffered=True).json == {"names": ["own"]}


def test_a_problem_of_the_key_is_told_without_asking_redis(app):
    below(app, idempotent())
    with count_round_trips() as trips:
        answer = app.test_client().post("/x", json=1, headers={"Idempotency-Key": '"open'}, buffered=True)
    assert answer.status_code == 400 and answer.mimetype == "application/problem+json"
    assert json.loads(answer.text)["reason"] == "malformed"
    assert trips.awaited == 1  # the limit
