"""Idempotency keys: a request that is sent again runs once, and every repeat gets what the first one got."""

import gc
import itertools
import threading

import pytest
from by_hand import until
from flask import Response, abort, jsonify, redirect, request, send_file, session
from werkzeug.exceptions import HTTPException

from redis_mw import Idempotency, IdempotencyError, Idempotent, Rule, current, idempotent, limited, locked
from redis_mw.layer.exchange import Exchange
from redis_mw.testing import count_round_trips, outage

KEY = {"Idempotency-Key": '"one"'}


@pytest.fixture
def idempotency():
    """The settings of the idempotency."""
    return Idempotency(patience=10)


@pytest.fixture
def app(make_app, idempotency):
    return make_app(settings={"idempotency": idempotency})


@pytest.fixture
def mw(app):
    return app.extensions["redis_mw"].mw


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def order(app):
    """``order(function, **of Idempotent)``: a view at /order that gives what the function does; how often it ran."""

    def add(function, path="/order", **policy):
        ran = []

        def view(**read):
            ran.append(read)
            return function(**read)

        view.__name__ = path
        app.post(path)(idempotent(**policy)(view))
        return ran

    return add


def foreign(view):
    """A decorator that drops what others wrote on a function."""

    def wrapper(*args, **kwargs):
        return view(*args, **kwargs)

    return wrapper


def twice(client, path="/order", **sent):
    """What a request and its repeat get."""
    return [client.post(path, **{"headers": KEY, **sent}, buffered=True) for _ in range(2)]


def refused(answer, status, reason):
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert (answer.json["status"], answer.json["reason"]) == (status, reason)
    return True


# The replay


def full():
    answer = Response("a body", 201, [("Link", "</a>; rel=a"), ("Link", "</b>; rel=b")], mimetype="text/x-order")
    answer.headers["Location"] = "/orders/7"
    answer.headers["ETag"] = '"a"'
    answer.set_cookie("other", "value")
    return answer


def streamed():
    return Response(iter(["a", "b", "", "c"]), headers={"X-Kind": "stream"})


def announced():
    return Response(iter(["a", "bc"]), headers={"Content-Length": "3"})


def nothing():
    answer = Response(status=204)
    del answer.headers["Content-Type"]
    return answer


ANSWERS = [
    *(full, streamed, announced, nothing),
    lambda: "",
    lambda: b"\x00\xff" * 999,
    lambda: jsonify(a=[1]),
    lambda: ("no", 422),
    lambda: redirect("/elsewhere"),
    lambda: abort(404),
    lambda: Response(iter(()), status=204),
    lambda: Response(iter(["x"]), status=304),
]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
def test_a_repeat_gets_what_the_first_got(app, client, answer, late):
    ran = []

    @idempotent()
    def view():
        ran.append(1)
        return answer()

    app.post("/order")(foreign(view) if late else view)
    first, again = twice(client)
    assert len(ran) == 1
    assert (again.status, again.data) == (first.status, first.data)
    apart = ("Set-Cookie", "Idempotency-Replayed", "Content-Length")
    fields = [[field for field in each.headers if field[0] not in apart] for each in (first, again)]
    assert fields[0] == fields[1]
    assert again.headers["Idempotency-Replayed"] == "true" and "Idempotency-Replayed" not in first.headers
    if again.status_code not in (204, 304):
        assert again.headers["Content-Length"] == str(len(first.data))
    assert "Set-Cookie" not in again.headers


def test_a_file_is_kept_although_the_server_could_send_it(app, client, order, tmp_path):
    (tmp_path / "a.txt").write_text("a file")
    ran = order(lambda: send_file(tmp_path / "a.txt", as_attachment=True))

    class Wrapper:
        def __init__(self, file, size):
            self.file = file

        def __iter__(self):
            return iter(self.file.read, b"")

        def close(self):
            self.file.close()

    first, again = twice(client, environ_overrides={"wsgi.file_wrapper": Wrapper})
    assert (first.text, again.text, len(ran)) == ("a file", "a file", 1)
    assert again.headers["Content-Disposition"] == first.headers["Content-Disposition"]


def test_after_request_functions_see_a_replay_and_handlers_of_errors_do_not(app, client, order):
    app.config["TRAP_HTTP_EXCEPTIONS"] = True
    seen, after = [], itertools.count()

    @app.errorhandler(Exception)
    @app.errorhandler(HTTPException)
    def handler(error):
        seen.append(error)
        return "handled", 500

    @app.after_request
    def number(response):
        response.headers["X-Number"] = str(next(after))
        return response

    ran = order(lambda: "done")
    first, again = twice(client)
    assert [each.headers["X-Number"] for each in (first, again)] == ["0", "1"]
    assert (first.text, again.text, seen, len(ran)) == ("done", "done", [], 1)


def test_before_request_functions_do_not_run_for_a_replay(app, client, order):
    ran = []
    app.before_request(lambda: ran.append(1))
    order(lambda: "done")
    twice(client)
    assert ran == [1]


def test_a_replay_tells_of_the_limits_of_now(make_app, idempotency):
    app = make_app(settings={"idempotency": idempotency})

    @app.post("/order")
    @limited("9/minute")
    @idempotent()
    def view():
        return "done"

    first, again = twice(app.test_client())
    assert ["r=8" in first.headers["RateLimit"], "r=7" in again.headers["RateLimit"]] == [True, True]


def test_the_session_is_saved_in_the_batch_that_keeps_the_answer_and_once(app, client, order):
    order(lambda: str(session.update(seen=session.get("seen", 0) + 1)), scope="client")
    for sent, cookie, trips_of_one in ((KEY, True, 2), (KEY, False, 1)):
        with count_round_trips() as trips:
            answer = client.post("/order", headers=sent, buffered=True)
        assert (answer.status_code, trips.awaited, "Set-Cookie" in answer.headers) == (200, trips_of_one, cookie)
    assert client.get("/read").json == {"seen": 1}
    for sent, trips_of_one in (({"Idempotency-Key": "two"}, 2), ({"Idempotency-Key": "two"}, 1)):
        with count_round_trips() as trips:
            client.post("/order", headers=sent, buffered=True)
        assert trips.awaited == trips_of_one
    assert client.get("/read").json == {"seen": 2}


def test_a_login_is_not_replayed_to_whoever_asks_later(app, client, order):
    order(lambda: session.login("7") or "in", scope="client")
    first, again = twice(client)
    assert "Set-Cookie" in first.headers and "Set-Cookie" not in again.headers
    assert app.test_client().post("/order", headers=KEY).headers.get("Set-Cookie") is None


@pytest.mark.parametrize("body", [lambda: "whole", lambda: Response(iter("stream"))], ids=["whole", "stream"])
def test_a_first_run_is_two_trips_and_a_repeat_one(app, client, order, body):
    order(body)
    for expected in (2, 1):
        with count_round_trips() as trips:
            client.post("/order", headers=KEY, buffered=True)
        assert trips.awaited == expected


def test_it_is_kept_before_its_end_can_be_seen(app, client, order, serve):
    """As soon as the last byte is there, whoever asks gets the replay; so with a length that was announced."""
    more = threading.Event()

    def body():
        yield b"ab"
        yield b"c"
        more.wait(20)

    order(lambda: Response(body(), headers={"Content-Length": "3"}))
    served = serve(app)
    with served.opened("POST", "/order", **{"Idempotency-Key": "one"}) as answer:
        assert answer.read() == b"abc"
        again = served.ask("POST", "/order", **{"Idempotency-Key": "one"})
        assert (again[1], again[2]["Idempotency-Replayed"]) == (b"abc", "true")
    more.set()


# What is refused


def test_what_is_wrong_with_a_key_or_its_request_is_told(app, client, order):
    ran = order(lambda: "done", required=True)
    assert refused(client.post("/order"), 400, "missing")
    for key in ('"', "a b", "", "x" * 300, "ü"):
        assert refused(client.post("/order", headers={"Idempotency-Key": key}), 400, "malformed")
    assert ran == []
    assert client.post("/order", data="a", headers=KEY).text == "done"
    assert refused(client.post("/order", data="b", headers=KEY), 422, "reused")
    assert refused(client.post("/order?a=1", data="a", headers=KEY), 422, "reused")
    assert client.post("/order", data="a", headers={"Idempotency-Key": "one"}).headers["Idempotency-Replayed"]
    assert len(ran) == 1


def test_while_one_runs_a_repeat_is_told_so_or_waits_and_gets_the_replay(app, client, order):
    entered, go_on = threading.Event(), threading.Event()

    def slow():
        entered.set()
        assert go_on.wait(20)
        return "done"

    def ask():
        answers.append(app.test_client().post("/order", headers=KEY, buffered=True))

    ran, answers = order(slow, wait=20), []
    app.post("/impatient")(idempotent()(slow))
    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    assert entered.wait(20)
    entered.clear()
    other = threading.Thread(target=lambda: app.test_client().post("/impatient", headers={"Idempotency-Key": "two"}))
    other.start()
    assert entered.wait(20)
    answer = client.post("/impatient", headers={"Idempotency-Key": "two"})
    assert refused(answer, 409, "in-progress") and int(answer.headers["Retry-After"]) >= 1
    go_on.set()
    for thread in (*asking, other):
        thread.join(20)
    assert [each.text for each in answers] == ["done"] * 3 and len(ran) == 1
    assert sum("Idempotency-Replayed" in each.headers for each in answers) == 2


def test_many_at_once_run_once(app, order, serve, together):
    ran = order(lambda: "done", wait=30)
    served = serve(app)
    answers = together(16, lambda number: served.ask("POST", "/order", b"x", **{"Idempotency-Key": "one"}))
    assert [answer[:2] for answer in answers] == [(200, b"done")] * 16 and len(ran) == 1
    assert sum("Idempotency-Replayed" in answer[2] for answer in answers) == 15


def test_without_redis_nothing_runs_unless_the_settings_say_so(make_app):
    for on_outage in ("closed", "open"):
        app = make_app(settings={"idempotency": Idempotency(on_outage=on_outage)})
        app.post("/order")(idempotent()(lambda: "done"))
        client = app.test_client()
        with outage(app.extensions["redis_mw"].mw):
            answer = client.post("/order", headers=KEY)
            if on_outage == "closed":
                assert refused(answer, 503, "unavailable") and int(answer.headers["Retry-After"]) >= 1
            else:
                assert answer.text == "done"


CASES = [(400, {}, "missing"), (400, {"Idempotency-Key": '"'}, "malformed"), (422, KEY, "reused")]


@pytest.mark.parametrize("by", [int, HTTPException, IdempotencyError], ids=["status", "werkzeug's", "the core's"])
@pytest.mark.parametrize(("status", "sent", "reason"), CASES)
def test_handlers_see_a_refusal_as_theirs(app, client, order, by, status, sent, reason):
    def handler(error):
        return f"{error.reason}: {error.description}", error.code

    app.register_error_handler(status if by is int else by, handler)
    order(lambda: "done", required=True)
    client.post("/order", data="first", headers=KEY)
    answer = client.post("/order", data="second", headers=sent)
    assert answer.status_code == status and answer.text.startswith(f"{reason}: ")


# What is kept


@pytest.mark.parametrize("how", ["answered", "raised", "aborted", "stream"])
@pytest.mark.parametrize(
    "idempotency", [Idempotency(patience=10), Idempotency(patience=10, store_5xx=True)], ids=["not kept", "kept"]
)
def test_a_failure_is_not_kept_unless_the_settings_say_so(app, client, order, idempotency, how):
    def fail():
        if how == "raised":
            raise ZeroDivisionError
        if how == "aborted":
            abort(503)
        return ("no", 500) if how == "answered" else Response(iter("no"), 502)

    ran = order(fail)
    first, again = twice(client)
    assert first.status == again.status and first.status_code >= 500
    assert len(ran) == (1 if idempotency.store_5xx else 2)
    assert ("Idempotency-Replayed" in again.headers) == idempotency.store_5xx


def test_an_exception_that_nobody_answers_lets_a_repeat_run(app, client, order):
    app.testing = True
    failing = iter([True])

    def view():
        if next(failing, False):
            raise ZeroDivisionError
        return "done"

    ran = order(view, wait=20)
    with pytest.raises(ZeroDivisionError):
        client.post("/order", headers=KEY)
    assert client.post("/order", headers=KEY).text == "done" and len(ran) == 2


def test_what_could_not_be_said_after_the_view_is_not_kept(app, client, order):
    """Saving the session fails, or a function that Flask calls afterwards: nobody has seen the view's answer."""
    big, broken = iter([True]), iter([True])

    def view():
        session["a"] = "x" * (99_999 if next(big, False) else 1)
        return "done"

    @app.after_request
    def after(response):
        if request.path == "/broken" and next(broken, False):
            raise ZeroDivisionError
        return response

    ran = order(view, scope="client"), order(lambda: "done", "/broken")
    for path in ("/order", "/broken"):
        assert [client.post(path, headers=KEY, buffered=True).status_code for _ in range(3)] == [500, 200, 200]
    assert [len(each) for each in ran] == [2, 2]


@pytest.mark.parametrize("idempotency", [Idempotency(patience=10, max_response=10)])
@pytest.mark.parametrize("body", [lambda: "x" * 11, lambda: Response(iter("x" * 11))], ids=["whole", "stream"])
def test_what_is_too_large_is_not_kept_and_the_view_does_not_run_again(app, client, order, body):
    ran = order(body)
    first, again = twice(client)
    assert first.text == "x" * 11 and refused(again, 409, "not-kept") and len(ran) == 1


def test_a_client_that_goes_away_in_mid_stream_has_had_its_run(app, client, order, mw):
    ran = order(lambda: Response(iter("abc")))
    answer = client.post("/order", headers=KEY)
    assert next(iter(answer.response)) == b"a"
    answer.close()
    until(lambda: not mw.rooms.idempotency.memory.leases, "the answer is kept")
    assert refused(client.post("/order", headers=KEY), 409, "not-kept") and len(ran) == 1


def test_a_stream_that_breaks_before_its_first_part_lets_a_repeat_run(app, client, order, mw):
    broken = iter([True])

    def body():
        if next(broken, False):
            raise ZeroDivisionError
        yield "done"

    ran = order(lambda: Response(body()), wait=20)
    with pytest.raises(ZeroDivisionError):
        client.post("/order", headers=KEY).close()
    assert client.post("/order", headers=KEY).text == "done" and len(ran) == 2


def test_a_refusal_that_says_not_now_is_not_kept(app, client, order):
    ran = order(lambda: ("later", 409))
    first, again = twice(client)
    assert (first.status_code, again.status_code, len(ran)) == (409, 409, 2)


def test_a_request_that_a_limit_refuses_has_not_claimed_its_key(make_app, idempotency):
    app = make_app(settings={"idempotency": idempotency})
    ran = []

    @app.post("/order")
    @limited("1/minute")
    @idempotent(wait=20)
    def view():
        return str(ran.append(1))

    client = app.test_client()
    mw = app.extensions["redis_mw"].mw
    assert client.post("/order", headers={"Idempotency-Key": "first"}, buffered=True).status_code == 200
    assert client.post("/order", headers=KEY, buffered=True).status_code == 429
    until(lambda: not mw.rooms.idempotency.memory.leases, "the claim is given back")
    assert len(ran) == 1


# Whose key it is


def test_callers_are_told_apart(app, order):
    answers = itertools.count()
    for scope in (None, "session", "user", "client", "{tenant}", lambda asked: asked.headers.get("X-Tenant")):
        path = f"/{'call' if callable(scope) else (scope or 'default').strip('{}')}/<tenant>"
        order(lambda tenant: str(next(answers)), path, scope=scope)

    def asked(client, path, **headers):
        sent = {"Idempotency-Key": path.split("/")[1], **headers}
        return client.post(path, headers=sent, buffered=True).text

    mine, others = app.test_client(), app.test_client()
    for client, user in ((mine, 7), (others, 8)):
        client.get(f"/login/{user}")
    for kind in ("default", "session", "user"):
        assert asked(mine, f"/{kind}/a") == asked(mine, f"/{kind}/a") != asked(others, f"/{kind}/a")
    assert asked(mine, "/client/a") == asked(others, "/client/a")
    assert asked(mine, "/tenant/a") == asked(others, "/tenant/a") != asked(mine, "/tenant/b")
    first = asked(mine, "/call/a", **{"X-Tenant": "a"})
    assert first == asked(others, "/call/a", **{"X-Tenant": "a"}) != asked(mine, "/call/a", **{"X-Tenant": "b"})
    nobody = app.test_client()
    assert asked(nobody, "/default/a", Authorization="a") != asked(nobody, "/default/a", Authorization="b")


def test_by_the_user_is_one_trip_more(app, order):
    order(lambda: "done", scope="user")
    client = app.test_client()
    client.get("/login/7")
    for expected in (3, 2):
        with count_round_trips() as trips:
            client.post("/order", headers=KEY, buffered=True)
        assert trips.awaited == expected


def test_a_rule_asks_for_views_that_say_nothing(make_app, idempotency):
    rules = [Rule("/orders/{id}", idempotency=Idempotent(scope="{id}"))]
    app = make_app(settings={"rules": rules, "idempotency": idempotency})
    ran = []

    @app.post("/orders/<int:id>")
    def view(id):
        ran.append(id)
        return f"{id}"

    client = app.test_client()
    assert [each.text for path in ("/orders/7", "/orders/8") for each in twice(client, path)] == ["7", "7", "8", "8"]
    assert ran == [7, 8]


def test_a_repeat_needs_no_lock_that_another_holds(app, client, order):
    @app.post("/both")
    @locked("order", wait=0)
    @idempotent()
    def view():
        return f"{current().lease.fence}"

    first = client.post("/both", headers=KEY, buffered=True)
    with app.extensions["redis_mw"].mw.locks.lock("order", wait=10):
        assert client.post("/both", headers=KEY, buffered=True).text == first.text
        assert client.post("/both", headers={"Idempotency-Key": "two"}, buffered=True).status_code == 409


@pytest.mark.parametrize("body", [lambda: "whole", lambda: Response(iter("stream"))], ids=["whole", "stream"])
def test_no_circle_is_left_for_the_collector(app, client, body):
    @app.post("/both")
    @locked("order", wait=20)
    @idempotent()
    def view():
        return body() if current().lease else "never"

    def exchanges():
        return [each for each in gc.get_objects() if type(each) is Exchange]

    client.post("/both", headers=KEY, buffered=True)
    gc.collect()
    before = exchanges()  # of other tests, and kept until we have looked: none is taken for one of these
    gc.disable()
    try:
        for key in ("two", "two", "three"):
            client.post("/both", headers={"Idempotency-Key": key}, buffered=True)
        until(lambda: all(any(each is old for old in before) for each in exchanges()), "nothing is left")
    finally:
        gc.enable()
