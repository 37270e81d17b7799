"""How a counted request ends: what its response decides is settled, and its slot freed, when the body has been sent.

Settling is never awaited by the response, so these tests wait for it.
"""

import gc
import threading

import pytest
from by_hand import until
from flask import Response, request, send_file, session, stream_with_context

from redis_mw import Limit, current, limited
from redis_mw.layer.exchange import Exchange
from redis_mw.testing import count_round_trips


@pytest.fixture
def app(limited_app):
    return limited_app(named={"sign-in": Limit("5/minute", count="failed")})


@pytest.fixture
def client(app):
    return app.test_client()


def mw_of(app):
    return app.extensions["redis_mw"].mw


def left(app, limit, key="127.0.0.1"):
    return mw_of(app).limits.peek(limit, key=key).remaining


def settled(app, limit, remaining):
    """Wait until so many are left."""
    until(lambda: left(app, limit) == remaining, f"{remaining} of {limit} are left")


SLOT = Limit("1 in flight", name="slot")


def in_flight(app):
    return 1 - left(app, SLOT)


def freed(app):
    until(lambda: in_flight(app) == 0 and not mw_of(app).limits.room.memory.slots, "the slot is free")


def one_at_a_time(view):
    return limited("1 in flight", name="slot")(view)


# What counts


def test_only_failed_logins_count_and_parallel_ones_cannot_all_pass(app):
    met = threading.Barrier(5, timeout=10)

    @app.post("/sign-in")
    @limited("5/minute", count="failed", name="sign-in")
    def sign_in():
        if request.form["password"] == "good":
            session.login("7")
            return "in"
        met.wait()
        return "no", 401

    answers = []

    def attempt(password):
        with app.test_client().post("/sign-in", data={"password": password}) as answer:
            answers.append(answer.status_code)

    for _ in range(8):
        attempt("good")
        settled(app, "sign-in", 5)
    attempts = [threading.Thread(target=attempt, args=["bad"]) for _ in range(12)]
    for thread in attempts:
        thread.start()
    for thread in attempts:
        thread.join()
    assert sorted(answers[8:]) == [401] * 5 + [429] * 7


def test_a_view_that_crashes_has_failed_and_one_that_says_no_too(app, client):
    @app.get("/sign-in/<how>")
    @limited("5/minute", count="failed", name="sign-in")
    def sign_in(how):
        return {"well": "in", "badly": ("no", 401)}[how]

    for how, remaining in (("well", 5), ("crash", 4), ("well", 4), ("badly", 3)):
        client.get(f"/sign-in/{how}").close()
        settled(app, "sign-in", remaining)


def test_one_whose_error_is_not_answered_at_all_has_failed(app, client):
    app.testing = True

    @app.get("/sign-in")
    @limited("5/minute", count="failed", name="sign-in")
    def sign_in():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        client.get("/sign-in")
    settled(app, "sign-in", 4)


def test_a_callable_sees_flasks_response(app, client):
    heavy = Limit("9/minute", name="heavy", count=lambda response: response.content_length)

    @app.get("/heavy/<int:size>")
    @limited("9/minute", name="heavy", count=heavy.count)
    def view(size):
        return "x" * size

    client.get("/heavy/4").close()
    settled(app, heavy, 5)


def test_a_view_charges_more_or_less_than_was_taken(app, client):
    @app.get("/charge/<sign><int:units>")
    @limited("9/minute", name="work")
    def view(sign, units):
        current().limits.charge(-units if sign == "-" else units)
        return "done"

    work = Limit("9/minute", name="work")
    client.get("/charge/+3").close()
    settled(app, work, 5)
    client.get("/charge/-1").close()
    settled(app, work, 5)


def test_what_can_not_change_any_more_is_not_settled(app, client):
    @app.get("/plain")
    @limited("9/minute")
    def view():
        return "plain"

    with count_round_trips() as trips:
        client.get("/plain").close()
    assert (trips.awaited, trips.detached) == (1, 0)


def test_settling_is_not_awaited(app, client):
    @app.get("/slot")
    @one_at_a_time
    def view():
        return "done"

    with count_round_trips() as trips:
        client.get("/slot").close()
        freed(app)
    assert trips.detached == 1


# When


def test_a_stream_says_what_it_cost_as_it_goes(app, client):
    @app.get("/tokens")
    @limited("9/minute", name="work")
    def tokens():
        def body():
            for word in ("one", "two", "three"):
                current().limits.charge(1)
                yield word

        return Response(body())

    assert client.get("/tokens", buffered=True).text == "onetwothree"
    settled(app, Limit("9/minute", name="work"), 5)


def test_a_slot_is_held_while_the_body_streams_and_free_when_it_is_closed(app, client):
    @app.get("/stream")
    @one_at_a_time
    def stream():
        def body():
            yield b"a"
            assert current().verdicts[0].name == "slot"
            yield b"b"

        return Response(stream_with_context(body()))

    answer = client.get("/stream")
    chunks = iter(answer.response)
    assert next(chunks) == b"a"
    assert in_flight(app) == 1
    assert client.get("/stream").status_code == 429
    assert next(chunks) == b"b"
    assert in_flight(app) == 1
    answer.close()
    freed(app)


def test_a_client_that_goes_away_frees_its_slot(app, client):
    @app.get("/stream")
    @one_at_a_time
    def stream():
        return Response(iter([b"a", b"b"]))

    answer = client.get("/stream")
    assert in_flight(app) == 1
    answer.close()
    freed(app)


def test_a_body_whose_own_end_fails_frees_it_too(app, client):
    class Broken:
        def __iter__(self):
            return iter([b"a"])

        def close(self):
            raise ZeroDivisionError

    @app.get("/broken")
    @one_at_a_time
    def broken():
        return Response(Broken())

    answer = client.get("/broken")
    assert in_flight(app) == 1
    with pytest.raises(ZeroDivisionError):
        answer.close()
    freed(app)


def test_a_file_frees_it_and_is_left_to_the_server_where_there_is_nothing_to_free(app, client, tmp_path):
    (tmp_path / "a.txt").write_text("a file")

    @app.get("/slot")
    @one_at_a_time
    def slot():
        return send_file(tmp_path / "a.txt")

    @app.get("/plain")
    @limited("9/minute")
    def plain():
        return send_file(tmp_path / "a.txt")

    @app.get("/uncounted")
    def uncounted():
        return send_file(tmp_path / "a.txt")

    class Wrapper:
        def __init__(self, file, size):
            self.close = file.close

        def __iter__(self):
            return iter([b"from the server"])

    with client.get("/slot") as answer:
        assert in_flight(app) == 1
        assert answer.text == "a file"
    freed(app)
    for path in ("/plain", "/uncounted"):
        environ = {**client.get(path, buffered=True).request.environ, "wsgi.file_wrapper": Wrapper}
        body = app.wsgi_app(environ, lambda *started: None)
        assert isinstance(body, Wrapper)
        body.close()


def test_a_test_client_that_closes_nothing_frees_it_by_reading_or_forgetting(app, client):
    @app.get("/slot")
    @one_at_a_time
    def slot():
        return "done"

    answer = client.get("/slot")
    assert answer.text == "done"
    freed(app)
    _ = client.get("/slot").status_code
    freed(app)


def test_a_crash_of_the_view_frees_it(app, client):
    @app.get("/crash")
    @one_at_a_time
    def crash():
        raise ZeroDivisionError

    client.get("/crash").close()
    freed(app)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_so_does_one_that_nobody_answers(app, client, error):
    app.testing = True

    @app.get("/crash")
    @one_at_a_time
    def crash():
        raise error

    with pytest.raises(error):
        client.get("/crash")
    freed(app)


def test_a_refused_request_holds_no_slot_even_if_it_was_refused_late(app, client):
    tight = limited("1/minute", name="tight")(lambda: "passed")

    @app.get("/early")
    @limited("1/minute", name="tight")
    @one_at_a_time
    def early():
        return "passed"

    @app.get("/late")
    @one_at_a_time
    def late():
        return tight()

    client.get("/early").close()
    freed(app)
    for path in ("/early", "/late"):
        with client.get(path) as answer:
            assert answer.status_code == 429
        freed(app)


def test_without_the_wsgi_application_around_it_a_request_ends_with_its_context(app):
    @app.get("/slot")
    @one_at_a_time
    def slot():
        return "done"

    with app.test_request_context("/slot", environ_base={"REMOTE_ADDR": "127.0.0.1"}):
        assert app.preprocess_request() is None
        assert in_flight(app) == 1
        assert slot() == "done"
    freed(app)


def test_an_application_that_calls_another_one_with_its_environment_is_told_of_its_own_limits(app, client, limited_app):
    inner = limited_app(default=["7/minute"], settings={"prefix": f"{mw_of(app).settings.prefix}:inner"})

    @app.get("/outer")
    @one_at_a_time
    def outer():
        told = []
        body = inner.wsgi_app(request.environ, lambda status, headers: told.extend(headers))
        assert dict(told)["RateLimit"].startswith('"7-per-m";r=6')
        return b"".join(body)

    answer = client.get("/outer", buffered=True)
    assert ("Not Found" in answer.text, answer.headers["RateLimit"]) == (True, '"slot";r=0')
    freed(app)


def test_no_circle_is_left_for_the_collector(app, client):
    @app.get("/page/round")
    @limited("9/minute")
    def view():
        return "done"

    def exchanges():
        return [each for each in gc.get_objects() if type(each) is Exchange]

    client.get("/page/round").close()
    gc.collect()
    before = exchanges()  # of other tests, and kept until we have looked: none is taken for one of these
    gc.disable()
    try:
        client.get("/page/round").close()
        assert all(any(each is old for old in before) for each in exchanges())
    finally:
        gc.enable()
