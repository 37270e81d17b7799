"""``flask.session`` behaves as Flask's users know it, and keeps more."""

import base64
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

import flask
import pytest
import redis
from flask import session, stream_with_context
from flask.sessions import SessionMixin
from flask.views import MethodView
from markupsafe import Markup

from redis_mw import CannotEncode, SessionClosed, SessionTooLarge
from redis_mw.testing import count_round_trips


def test_what_one_request_writes_the_next_one_reads(client):
    client.get("/put/a/1")
    assert client.get("/read").json == {"a": "1"}


def test_it_is_a_mutable_mapping_and_a_session_of_flask(app):
    with app.test_request_context():
        assert isinstance(flask.session._get_current_object(), SessionMixin)
        assert (len(session), bool(session), list(session), session == {}) == (0, False, [], True)
        session["a"] = 1
        session.update(b=2, c=3)
        assert session.setdefault("a", 9) == 1 and session.setdefault("d", 4) == 4
        assert session.pop("b") == 2 and session.pop("b", None) is None
        with pytest.raises(KeyError):
            _ = session["b"]
        with pytest.raises(KeyError):
            del session["b"]
        assert dict(session) == {"a": 1, "c": 3, "d": 4} and "a" in session and "b" not in session
        assert session.modified and session.new


def test_values_of_the_types_that_flask_keeps_survive(app, client):
    values = {
        "tuple": (1, (2,)),
        "bytes": b"\xff\x00",
        "markup": Markup("<b>"),
        "uuid": uuid.UUID(int=7),
        "datetime": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "date": date(2026, 1, 2),
        "decimal": Decimal("1.10"),
        "set": {1, 2},
        "tagged": {" t": [1]},
    }
    with client.session_transaction() as stored:
        stored.update(values)
    with client.session_transaction() as stored:
        assert dict(stored) == values
        assert {key: type(stored[key]) for key in stored} == {key: type(value) for key, value in values.items()}


def test_a_change_deep_inside_a_value_is_saved_without_being_announced(app, client):
    @app.get("/deep")
    def deep():
        session["cart"]["items"].append(2)
        assert not session.modified
        return "deep"

    with client.session_transaction() as stored:
        stored["cart"] = {"items": [1]}
    client.get("/deep")
    with client.session_transaction() as stored:
        assert stored["cart"] == {"items": [1, 2]}


def test_a_session_transaction_reads_and_writes_outside_of_any_request(client):
    with client.session_transaction() as stored:
        assert stored.new and not flask.has_request_context()
        stored["a"] = [1]
    with client.session_transaction() as stored:
        assert not stored.new
        stored["a"].append(2)
    assert client.get("/read").json == {"a": [1, 2]}


def test_a_test_can_look_at_the_session_after_the_request(client):
    with client:
        client.get("/put/a/1")
        assert session["a"] == "1"


def test_flashed_messages_are_seen_once(app, client):
    @app.get("/flash")
    def flash():
        flask.flash("saved", "info")
        return "flashed"

    @app.get("/messages")
    def messages():
        return flask.jsonify(flask.get_flashed_messages(with_categories=True))

    client.get("/flash")
    assert client.get("/messages").json == [["info", "saved"]]
    assert client.get("/messages").json == []


def test_after_request_functions_can_still_write(app, client):
    @app.after_request
    def late(response):
        session["late"] = 1
        return response

    client.get("/untouched")
    assert client.get("/read").json == {"late": 1}


def test_clearing_ends_the_session_and_what_is_written_then_begins_a_new_one(app, client, keys):
    @app.get("/sign-in")
    def sign_in():
        session.clear()
        session["user"] = 7
        return "in"

    @app.get("/clear")
    def clear():
        session.clear()
        return "cleared"

    client.get("/put/a/1")
    before = client.get_cookie("session").value
    client.get("/sign-in")
    assert client.get_cookie("session").value.split(".")[0] != before.split(".")[0]
    assert client.get("/read").json == {"user": 7} and len(keys()) == 1
    old = app.test_client()
    old.set_cookie("session", before)
    assert old.get("/read").json == {}
    client.get("/clear")
    assert client.get_cookie("session") is None and keys() == []


def test_clearing_forgets_the_user_who_logged_in(app, client):
    @app.get("/clear")
    def clear():
        session.clear()
        return {"user": session.user_id}

    client.get("/login/7")
    assert client.get("/clear").json == {"user": None}
    assert client.get("/who").json == {"user": None, "handle": None}


def test_removing_the_last_key_ends_the_session(client, keys):
    client.get("/put/a/1")
    client.get("/drop/a")
    assert client.get_cookie("session") is None and keys() == []


def test_responses_vary_by_cookie_only_if_the_session_was_used(client):
    assert "Vary" not in client.get("/untouched").headers
    assert client.get("/read").headers["Vary"] == "Cookie"


def test_use_through_current_counts_as_access(app, client):
    from redis_mw import current

    @app.get("/through-current")
    def through_current():
        return {"user": current().session.user_id}

    assert client.get("/through-current").headers["Vary"] == "Cookie"


def test_a_server_error_saves_nothing_unless_told_to(make_app):
    for save, expected in ((False, {"a": "1"}), (True, {"a": 2})):
        app = make_app(save_on_5xx=save)

        @app.get("/crash")
        def crash():
            session["a"] = 2
            raise ZeroDivisionError

        client = app.test_client()
        client.get("/put/a/1")
        assert client.get("/crash").status_code == 500
        assert client.get("/read").json == expected


@pytest.mark.parametrize("ending", ["logout", "clear"])
def test_who_logs_out_is_logged_out_even_if_the_view_fails_afterwards(app, client, keys, ending):
    @app.get("/end-and-crash")
    def end_and_crash():
        session["a"] = 2
        getattr(session, ending)()
        session["b"] = 3
        raise ZeroDivisionError

    client.get("/put/a/1")
    cookie = client.get_cookie("session").value
    response = client.get("/end-and-crash")
    assert response.status_code == 500 and "Max-Age=0" in response.headers["Set-Cookie"]
    assert client.get_cookie("session") is None and keys() == []
    client.set_cookie("session", cookie)
    assert client.get("/read").json == {}


def test_a_view_made_of_a_class_uses_the_session_too(app, client):
    class Cart(MethodView):
        def get(self):
            return {"items": session.get("items", [])}

        def post(self):
            session.setdefault("items", []).append(flask.request.form["item"])
            return self.get()

        def delete(self):
            session.logout()
            return {}

    app.add_url_rule("/cart", view_func=Cart.as_view("cart"))
    for count in (1, 2):
        assert client.post("/cart", data={"item": "pen"}).json == {"items": ["pen"] * count}
    assert client.get("/cart").json == {"items": ["pen", "pen"]}
    client.delete("/cart")
    assert client.get("/cart").json == {"items": []}


def test_values_written_under_an_older_encryption_key_are_read_after_a_rotation(make_app, keys):
    old, new = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
    before = make_app(encryption_keys=[old])
    client = before.test_client()
    client.get("/put/a/confidential")
    with redis.Redis.from_url(before.extensions["redis_mw"].mw.settings.url_of("sessions")) as server:
        (key,) = keys()
        assert b"confidential" not in b"".join(server.hvals(key))
    cookie = client.get_cookie("session").value

    def read_with(*encryption_keys):
        client = make_app(encryption_keys=list(encryption_keys)).test_client()
        client.set_cookie("session", cookie)
        return client.get("/read").json, client

    values, client = read_with(new, old)
    assert values == {"a": "confidential"}
    client.get("/put/a/changed")
    assert read_with(new)[0] == {"a": "changed"}
    assert read_with(old)[0] == {}


def test_a_client_error_saves(app, client):
    @app.get("/missing")
    def missing():
        session["tries"] = 1
        flask.abort(404)

    assert client.get("/missing").status_code == 404
    assert client.get("/read").json == {"tries": 1}


def test_a_stream_is_saved_before_it_starts_and_can_only_read(app, client):
    seen = []

    @app.get("/stream")
    def stream():
        session["a"] = 1

        def body():
            seen.append(client_two.get("/read").json)
            yield "x"
            seen.append(session["a"])
            with pytest.raises(SessionClosed):
                session["b"] = 2
            with pytest.raises(SessionClosed):
                session.logout()
            yield "y"

        return stream_with_context(body())

    client.get("/put/first/1")
    client_two = app.test_client()
    client_two.set_cookie("session", client.get_cookie("session").value)
    assert client.get("/stream").text == "xy"
    assert seen == [{"first": "1", "a": 1}, 1]


def test_what_cannot_be_stored_is_an_error_that_says_where(app, client, caplog):
    @app.get("/odd")
    def odd():
        session["cart"] = {"items": [object()]}
        return "never seen"

    response = client.get("/odd")
    assert response.status_code == 500 and "Set-Cookie" not in response.headers
    assert "cart.items[0]" in caplog.text
    app.testing = True
    with pytest.raises(CannotEncode, match=r"cart\.items\[0\]"):
        client.get("/odd")
    with pytest.raises(CannotEncode):
        with client.session_transaction() as stored:
            stored["a"] = object()


def test_a_session_that_is_too_large_goes_to_the_handler_of_that_error(make_app, keys):
    app = make_app(max_bytes=1000)

    @app.errorhandler(SessionTooLarge)
    def too_large(error):
        return f"{error.key} is too large", 413

    @app.get("/fill")
    def fill():
        session["small"], session["notes"] = 1, "x" * 1000
        return "never seen"

    response = app.test_client().get("/fill")
    assert (response.status_code, response.text) == (413, "notes is too large")
    assert "Set-Cookie" not in response.headers and response.headers["Content-Length"] == "18"
    assert keys() == []


def test_a_replaced_stream_is_closed(make_app):
    app = make_app(max_fields=1)
    closed = []

    @app.errorhandler(SessionTooLarge)
    def too_large(error):
        return "too large", 413

    @app.get("/fill")
    def fill():
        session["a"] = session["b"] = 1

        class Body:
            def __iter__(self):
                return iter(["never seen"])

            def close(self):
                closed.append(True)

        return flask.Response(Body())

    assert app.test_client().get("/fill").text == "too large"
    assert closed == [True]


def test_without_a_secret_reading_gives_nothing_and_writing_says_what_to_set(make_app):
    app = make_app(config={"SECRET_KEY": None})

    @app.get("/null-login")
    def null_login():
        assert (session.user_id, session.unavailable, session.fresh(60)) == (None, False, False)
        session.login(1)

    client = app.test_client()
    with count_round_trips() as trips:
        assert client.get("/read").json == {} and client.get("/untouched").status_code == 200
    assert trips.total == 0
    app.testing = True
    for path in ("/put/a/1", "/null-login", "/logout"):
        with pytest.raises(RuntimeError, match="SECRET_KEY"):
            client.get(path)


def test_a_secret_may_be_set_after_init_app(make_app):
    app = make_app(config={"SECRET_KEY": None})
    app.secret_key = "set late, and of a good length, is fine"
    client = app.test_client()
    client.get("/put/a/1")
    assert client.get("/read").json == {"a": "1"}


def test_async_views_use_the_session(app, client):
    @app.get("/async")
    async def view():
        session["a"] = session.get("a", 0) + 1
        return {"a": session["a"]}

    assert [client.get("/async").json["a"] for _ in range(3)] == [1, 2, 3]


def test_its_repr_reads_nothing_and_shows_no_value(app):
    with app.test_request_context():
        assert "unread" in repr(flask.session._get_current_object())
        session["a"] = "hidden"
        assert "hidden" not in repr(flask.session._get_current_object())
