"""What a request costs, exactly: how many times it asks Redis."""

import pytest
from flask import session

from redis_mw.testing import count_round_trips


def cost(client, path):
    with count_round_trips() as trips:
        assert client.get(path).status_code == 200
    return trips.total


def test_a_request_that_does_not_touch_the_session_costs_nothing(client):
    assert cost(client, "/untouched") == 0
    client.get("/put/a/1")
    assert cost(client, "/untouched") == 0


def test_creating_costs_one_and_reading_one_and_changing_two(client):
    assert cost(client, "/put/a/1") == 1
    assert cost(client, "/read") == 1
    assert cost(client, "/put/a/2") == 2


def test_writing_what_is_there_already_costs_no_write(client):
    client.get("/put/a/1")
    assert cost(client, "/put/a/1") == 1


def test_a_visitor_without_a_cookie_reads_for_nothing(client):
    assert cost(client, "/read") == 0
    assert cost(client, "/who") == 0


def test_ending_an_unread_session_costs_one_and_a_read_one_two(app, client):
    @app.get("/read-and-out")
    def read_and_out():
        assert session["a"] == "1"
        session.logout()
        return "out"

    client.get("/put/a/1")
    assert cost(client, "/logout") == 1
    client.get("/put/a/1")
    assert cost(client, "/read-and-out") == 2


def test_login_of_a_new_visitor_costs_one_and_of_a_known_one_two(client):
    assert cost(client, "/login/7") == 1
    client.get("/logout")
    client.get("/put/a/1")
    assert cost(client, "/login/7") == 2


def test_a_wrong_signature_costs_nothing(app, client):
    client.get("/put/a/1")
    good = client.get_cookie("session").value
    client.set_cookie("session", good[:-1] + ("A" if good[-1] != "A" else "B"))
    assert cost(client, "/read") == 0


def test_saying_permanent_before_every_request_costs_a_visitor_without_a_session_nothing(app, client, keys):
    @app.before_request
    def permanent():
        session.permanent = True

    assert cost(client, "/untouched") == 0
    assert client.get_cookie("session") is None and keys() == []
    assert cost(client, "/put/a/1") == 1
    assert cost(client, "/untouched") == 1


def test_ten_thousand_visitors_without_a_cookie_leave_no_key(app, keys):
    client = app.test_client(use_cookies=False)
    with count_round_trips() as trips:
        for _ in range(10_000):
            assert "Set-Cookie" not in client.get("/read").headers
    assert (trips.total, keys()) == (0, [])


@pytest.mark.parametrize("rule", [{"path": "/put/*", "session": "skip"}])
def test_a_skipped_path_costs_nothing_and_refuses_writes(make_app, rule):
    app = make_app(settings={"rules": [rule]}, skip=["/read"])
    client = app.test_client()
    with client.session_transaction("/who") as stored:
        stored["a"] = 1
    assert cost(client, "/read") == 0 and client.get("/read").json == {}
    with count_round_trips() as trips:
        assert client.get("/put/a/1").status_code == 500
    assert trips.total == 0
