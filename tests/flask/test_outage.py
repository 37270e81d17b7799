"""Redis is away: what the session's users get, and what must never happen to a good cookie."""

import flask
import pytest
import redis
from by_hand import until
from flask import session
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from redis_mw import RedisUnavailable, SessionUnavailable, current
from redis_mw.testing import count_round_trips, outage
from redis_mw_flask import StoreUnavailable


@pytest.fixture
def mw(app):
    return app.extensions["redis_mw"].mw


def away(response, text="503 Service Unavailable"):
    assert response.status_code == 503 and int(response.headers["Retry-After"]) >= 1
    assert "Set-Cookie" not in response.headers
    if response.mimetype == "application/problem+json":
        assert response.json["status"] == 503
    else:
        assert response.text.startswith(text)
    return response


def test_who_needs_the_session_gets_503_and_who_does_not_is_served(client, mw):
    client.get("/put/a/1")
    with outage(mw):
        for path in ("/read", "/put/a/2", "/login/7", "/who"):
            away(client.get(path))
        assert client.get("/untouched").text == "hello"
    assert client.get("/read").json == {"a": "1"}


def test_the_answer_is_problem_details_or_text_as_the_visitor_likes(client, mw):
    client.get("/put/a/1")
    with outage(mw):
        for accept, kind in (
            (None, "application/problem+json"),
            ("application/json", "application/problem+json"),
            ("text/html,*/*;q=0.1", "text/plain"),
        ):
            headers = {"Accept": accept} if accept else {}
            assert away(client.get("/read", headers=headers)).mimetype == kind


def test_a_visitor_without_a_cookie_still_reads(app, mw):
    with outage(mw):
        assert app.test_client().get("/read").json == {}


def test_a_session_that_could_not_be_written_is_never_claimed_to_be(client, mw):
    """Nothing was asked of Redis before the save: the view's own answer is replaced."""
    with outage(mw):
        response = away(client.get("/put/a/1"))
        assert b"put" not in response.data
    client.get("/put/a/1")
    with outage(mw):
        away(client.get("/logout"))
    assert client.get("/read").json == {"a": "1"}


def test_redis_may_go_away_between_reading_and_saving(app, client, mw):
    stack = []

    @app.get("/gone-meanwhile")
    def gone_meanwhile():
        session["a"] = "2"
        stack.append(outage(mw))
        stack[-1].__enter__()
        response = flask.Response("never seen")
        response.set_cookie("other", "value")
        return response

    client.get("/put/a/1")
    away(client.get("/gone-meanwhile"))
    stack.pop().__exit__(None, None, None)
    assert client.get("/read").json == {"a": "1"}


@pytest.mark.parametrize("handled", [503, ServiceUnavailable, SessionUnavailable, StoreUnavailable])
@pytest.mark.parametrize("path", ["/read", "/logout"], ids=["in the view", "at the save"])
def test_a_handler_of_the_application_answers(app, client, mw, handled, path):
    @app.errorhandler(handled)
    def sorry(error):
        assert error.code == 503 and error.retry_after >= 1
        return "come back later", 503, {"Retry-After": str(error.retry_after)}

    client.get("/put/a/1")
    with outage(mw):
        assert away(client.get(path), "come back later").text == "come back later"


def test_functions_after_the_view_that_read_the_session_make_it_a_503_too(app, client, mw):
    """Flask-Login has one of these."""

    @app.after_request
    def look(response):
        if "_remember" in session:
            response.set_cookie("remember", "me")
        return response

    @app.errorhandler(ServiceUnavailable)
    def sorry(error):
        return f"come back in {error.retry_after}", 503, {"Retry-After": str(error.retry_after)}

    client.get("/put/a/1")
    with outage(mw):
        for path in ("/untouched", "/read", "/logout"):
            away(client.get(path), "come back in 1")
    assert client.get("/untouched").status_code == 200


def test_the_headers_that_every_response_gets_are_on_the_503_too(app, client, mw):
    @app.after_request
    def allow(response):
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    client.get("/put/a/1")
    with outage(mw):
        for path in ("/read", "/logout"):
            assert away(client.get(path)).headers["Access-Control-Allow-Origin"] == "*"


def test_a_view_may_answer_without_its_session(app, client, mw):
    @app.get("/careful")
    def careful():
        try:
            return {"a": session["a"]}
        except SessionUnavailable:
            return {"a": None, "unavailable": session.unavailable}

    client.get("/put/a/1")
    with outage(mw):
        assert client.get("/careful").json == {"a": None, "unavailable": True}


def test_told_to_go_on_the_session_is_empty_and_read_only(make_app):
    app = make_app(on_outage="anonymous")
    client = app.test_client()
    client.get("/put/a/1")
    with outage(app.extensions["redis_mw"].mw):
        response = client.get("/read")
        assert response.json == {} and "Set-Cookie" not in response.headers
        away(client.get("/put/a/2"))
        assert client.get("/who").json == {"user": None, "handle": None}
    assert client.get("/read").json == {"a": "1"}


def test_a_rule_can_require_the_session_before_the_view_runs(make_app):
    app = make_app(settings={"rules": [{"path": "/untouched", "session": "require"}]}, on_outage="anonymous")
    client = app.test_client()
    client.get("/put/a/1")
    with count_round_trips() as trips:
        assert client.get("/untouched").text == "hello"
    assert trips.total == 1
    with outage(app.extensions["redis_mw"].mw):
        away(client.get("/untouched"))
        assert app.test_client().get("/untouched").text == "hello"


def test_a_session_transaction_says_that_it_was_not_stored(client, mw):
    with outage(mw):
        with pytest.raises(SessionUnavailable):
            with client.session_transaction() as stored:
                stored["a"] = 1


def test_the_direct_face_raises_its_own_error(app, mw):
    @app.get("/list")
    def listing():
        with pytest.raises(RedisUnavailable):
            current().mw.sessions.of_user(7)
        return "raised"

    with outage(mw):
        assert app.test_client().get("/list").text == "raised"


@pytest.fixture
def listing(app):
    """A view that asks Redis for something, and says nothing of what happens if it is away."""

    @app.get("/list")
    def listing():
        session["seen"] = "1"
        return [info.handle for info in current().mw.sessions.of_user(7)]

    return "/list"


def test_what_the_direct_face_raises_is_a_503_unless_the_view_handles_it(client, mw, listing):
    client.get("/put/a/1")
    with outage(mw):
        assert away(client.get(listing)).mimetype == "application/problem+json"
        assert away(client.get(listing, headers={"Accept": "text/html"})).mimetype == "text/plain"
    assert client.get("/read").json == {"a": "1"}


def test_handlers_that_show_the_description_do_not_tell_where_redis_is(app, client, mw, listing):
    reasons = []

    @app.errorhandler(ServiceUnavailable)
    def sorry(error):
        reasons.append(error.reason)
        return f"{error.description} / {error}", 503, {"Retry-After": str(error.retry_after)}

    client.get("/put/a/1")
    detail = {}
    with outage(mw):
        for path in ("/read", "/logout", listing):
            detail[path] = away(client.get(path), "").text
    assert all("unavailable" in text and "127.0.0.1" not in text for text in detail.values())
    assert detail["/read"] == detail["/logout"]
    for path, reason in zip(detail, reasons, strict=True):
        assert reason not in detail[path]


@pytest.mark.parametrize("handled", [503, ServiceUnavailable, RedisUnavailable, HTTPException, Exception])
def test_a_handler_of_the_application_answers_for_the_direct_face(app, mw, listing, handled):
    @app.errorhandler(handled)
    def sorry(error):
        return "come back later", 503, {"Retry-After": str(error.retry_after)}

    with outage(mw):
        assert away(app.test_client().get(listing), "come back later").text == "come back later"


def test_what_a_function_after_the_view_asks_of_the_direct_face_is_a_503_too(app, mw):
    @app.after_request
    def look(response):
        if response.status_code == 200:
            current().mw.sessions.of_user(7)
        return response

    with outage(mw):
        away(app.test_client().get("/untouched"))


def test_a_killed_server_is_an_outage_and_no_cookie_is_lost(make_app, server):
    app = make_app(settings={"url": server.url})
    client = app.test_client()
    client.get("/put/a/1")
    cookie = client.get_cookie("session").value
    server.kill()
    for path in ("/read", "/put/a/2", "/logout"):
        away(client.get(path))
    assert client.get("/untouched").text == "hello"
    assert client.get_cookie("session").value == cookie


def test_a_frozen_server_is_an_outage_that_ends_when_it_thaws(make_app, server):
    app = make_app(settings={"url": server.url}, patience=0.2)
    client = app.test_client()
    until(lambda: client.get("/put/a/1").status_code == 200, "a busy machine is not frozen for ever")
    server.freeze()
    try:
        for path in ("/read", "/put/a/2", "/read"):
            away(client.get(path))
        assert client.get("/untouched").text == "hello"
    finally:
        server.thaw()
    until(lambda: client.get("/read").json == {"a": "1"}, "the breaker opens the way again in its own time")


def test_a_server_that_cannot_write_still_serves_the_session(make_app, server):
    app = make_app(settings={"url": server.url})
    client = app.test_client()
    client.get("/put/a/1")
    with redis.Redis.from_url(server.url) as connection:
        connection.config_set("maxmemory", "1")
        assert client.get("/read").json == {"a": "1"}
        away(client.get("/put/a/2"))
        connection.config_set("maxmemory", "0")
    assert client.get("/read").json == {"a": "1"}
