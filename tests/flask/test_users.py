"""Who is logged in: login, logout, regeneration, a user's list of sessions, and Flask-Login's own key."""

import pytest
from by_hand import until
from flask import session
from werkzeug.exceptions import Conflict

from redis_mw import RedisMWError, SessionLimitReached
from redis_mw_flask import TooManySessions, mw


def who(client):
    return client.get("/who").json["user"]


def id_of(client):
    return client.get_cookie("session").value.split(".")[0]


def test_login_binds_the_user_under_a_new_id_and_keeps_the_values(client):
    client.get("/put/a/1")
    before = id_of(client)
    client.get("/login/7")
    assert id_of(client) != before
    assert who(client) == "7" and client.get("/read").json == {"a": "1"}


def test_the_old_id_reads_for_a_moment_and_never_writes(app, client):
    client.get("/put/a/1")
    late = app.test_client()
    late.set_cookie("session", client.get_cookie("session").value)
    client.get("/login/7")
    assert late.get("/read").json == {"a": "1"} and who(late) is None
    late.get("/put/a/2")
    assert client.get("/read").json == {"a": "1"}


def test_logout_ends_everything_and_takes_the_cookie_back(client, keys):
    client.get("/login/7")
    assert client.get("/logout").headers["Set-Cookie"].startswith("session=; Max-Age=0")
    assert who(client) is None
    assert [key for key in keys() if not key.endswith(b"}:i")] == []


def test_regenerating_gives_a_new_id_and_keeps_the_rest(app, client):
    @app.get("/renew")
    def renew():
        session.regenerate()
        return "renewed"

    client.get("/login/7")
    client.get("/put/a/1")
    before = id_of(client)
    client.get("/renew")
    assert id_of(client) != before and who(client) == "7" and client.get("/read").json == {"a": "1"}


def test_what_is_known_of_a_session_is_told(app, client):
    @app.get("/known")
    def known():
        return {"created": session.created, "seen": session.last_seen, "fresh": session.fresh(60), "new": session.new}

    assert client.get("/known").json == {"created": None, "seen": None, "fresh": False, "new": True}
    client.get("/login/7")
    told = client.get("/known").json
    assert told["created"] <= told["seen"] and told["fresh"] and not told["new"]


def test_a_user_sees_their_sessions_and_ends_one_of_them(app):
    @app.get("/mine")
    def mine():
        return [[info.handle, info.user_agent, info.address] for info in mw.sessions.of_user(session.user_id)]

    @app.get("/revoke/<handle>")
    def revoke(handle):
        return {"ended": mw.sessions.revoke(session.user_id, handle)}

    phone, laptop = app.test_client(), app.test_client()
    phone.get("/login/7", headers={"User-Agent": "phone"}, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    laptop.get("/login/7", headers={"User-Agent": "laptop"}, environ_base={"REMOTE_ADDR": "2001:db8:1:2::3"})
    listed = {agent: (handle, address) for handle, agent, address in laptop.get("/mine").json}
    assert {agent: address for agent, (_, address) in listed.items()} == {
        "phone": "192.0.2.0/24",
        "laptop": "2001:db8:1::/48",
    }
    assert laptop.get(f"/revoke/{listed['phone'][0]}").json == {"ended": True}
    assert who(phone) is None and who(laptop) == "7"
    assert phone.get("/read").json == {}


def test_ending_all_sessions_of_a_user_can_spare_one(app):
    clients = [app.test_client() for _ in range(3)]
    for each in clients:
        each.get("/login/7")
    keep = clients[0].get("/who").json["handle"]
    with app.app_context():
        assert mw.sessions.revoke_user(7, keep=keep) == 2
    assert [who(each) for each in clients] == ["7", None, None]


def test_one_session_too_many_ends_the_oldest_or_is_refused(make_app):
    evicting = make_app(max_sessions=1)
    first, second = evicting.test_client(), evicting.test_client()
    first.get("/login/1")
    second.get("/login/1")
    assert (who(first), who(second)) == (None, "1")

    refusing = make_app(max_sessions=1, on_max="refuse")

    @refusing.errorhandler(SessionLimitReached)
    def full(error):
        return {"limit": error.limit}, 403

    first, second = refusing.test_client(), refusing.test_client()
    first.get("/login/2")
    response = second.get("/login/2")
    assert (response.status_code, response.json) == (403, {"limit": 1})
    assert "Set-Cookie" not in response.headers and who(second) is None and who(first) == "2"


@pytest.mark.parametrize("testing", [False, True])
def test_without_a_handler_a_refused_login_is_a_409_and_nothing_is_stored(make_app, testing):
    app = make_app(max_sessions=1, on_max="refuse")
    app.testing = testing
    first, second = app.test_client(), app.test_client()
    first.get("/login/2")
    response = second.get("/login/2")
    assert (response.status_code, response.mimetype) == (409, "application/problem+json")
    assert response.json["title"] == "Conflict"
    assert not {"Set-Cookie", "Retry-After"} & set(response.headers.keys())
    with app.app_context():
        assert len(mw.sessions.of_user(2)) == 1
    assert (who(first), who(second)) == ("2", None)


def test_a_visitor_whose_login_is_refused_keeps_the_session_of_before(make_app):
    app = make_app(max_sessions=1, on_max="refuse")
    first, second = app.test_client(), app.test_client()
    first.get("/login/2")
    second.get("/put/a/1")
    before = id_of(second)
    response = second.get("/login/2", headers={"Accept": "text/html"})
    assert (response.status_code, response.mimetype) == (409, "text/plain")
    assert id_of(second) == before and second.get("/read").json == {"a": "1"} and who(second) is None


def test_a_session_that_was_ended_unread_is_in_nobodys_way(make_app):
    evicting = make_app(max_sessions=2)
    first, second = evicting.test_client(), evicting.test_client()
    for client, path in [(first, "/login/1"), (second, "/login/1"), (second, "/logout"), (second, "/login/1")]:
        assert client.get(path).status_code == 200
    assert (who(first), who(second)) == ("1", "1")

    client = make_app(max_sessions=1, on_max="refuse").test_client()
    for path in ("/login/2", "/logout", "/login/2"):
        assert client.get(path).status_code == 200


def test_one_view_may_log_out_and_in_again(make_app):
    app = make_app(max_sessions=1, on_max="refuse")

    @app.get("/anew")
    def anew():
        session.logout()
        session.login(2)
        return "in"

    client = app.test_client()
    client.get("/login/2")
    assert client.get("/anew").status_code == 200 and who(client) == "2"


def test_logging_out_unread_leaves_the_users_index_in_the_background(app, client, keys):
    client.get("/login/7")
    client.get("/logout")
    until(lambda: keys() == [], "the index is empty")


@pytest.mark.parametrize("handled", [409, Conflict, SessionLimitReached, TooManySessions, RedisMWError])
def test_a_handler_of_conflicts_answers_a_refused_login(make_app, handled):
    app = make_app(max_sessions=1, on_max="refuse")

    @app.errorhandler(handled)
    def full(error):
        return {"limit": error.limit}, error.code

    app.test_client().get("/login/2")
    response = app.test_client().get("/login/2")
    assert (response.status_code, response.json) == (409, {"limit": 1})
    assert "Set-Cookie" not in response.headers


def test_the_key_of_flask_login_binds_and_unbinds_the_user(app, client):
    @app.get("/fl-in/<user>")
    def come_in(user):
        session["_user_id"], session["_fresh"] = user, True
        return "in"

    @app.get("/fl-out")
    def go_out():
        session.pop("_user_id")
        session.pop("_fresh")
        return "out"

    client.get("/put/a/1")
    before = id_of(client)
    client.get("/fl-in/9")
    inside = id_of(client)
    assert inside != before and who(client) == "9"
    with app.app_context():
        assert len(mw.sessions.of_user(9)) == 1
    client.get("/put/b/2")
    assert id_of(client) == inside
    client.get("/fl-out")
    assert id_of(client) != inside and who(client) is None
    assert client.get("/read").json == {"a": "1", "b": "2"}
    with app.app_context():
        assert mw.sessions.of_user(9) == []


def test_a_user_of_the_settings_replaces_flask_logins_key(make_app):
    app = make_app(user_of=lambda data: data.get("member"))
    client = app.test_client()
    client.get("/put/_user_id/1")
    assert who(client) is None
    client.get("/put/member/5")
    assert who(client) == "5"


@pytest.mark.parametrize("user", ["", "x" * 300])
def test_a_user_that_names_nobody_is_refused_where_the_view_says_it(app, client, user):
    @app.get("/bad-login")
    def bad_login():
        with pytest.raises(ValueError):
            session.login(user)
        return "refused"

    assert client.get("/bad-login").text == "refused"
    assert client.get_cookie("session") is None
