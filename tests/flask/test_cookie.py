"""The session cookie: how it is given, renewed, rotated and taken back, and what a bad one gets."""

from datetime import timedelta
from http.cookies import SimpleCookie

import pytest
from flask import session

from redis_mw import Cookie, SettingsError
from redis_mw.sessions.ids import Signer, new_id
from redis_mw.testing import count_round_trips

SECRET = "a secret of the Flask tests, long enough"


def set_cookies(response):
    return [SimpleCookie(each) for each in response.headers.getlist("Set-Cookie")]


def the_cookie(response, name="session"):
    (jar,) = set_cookies(response)
    return jar[name]


def add_permanent(app):
    @app.get("/permanent/<int:on>")
    def permanent(on):
        session["a"] = 1
        session.permanent = bool(on)
        return "done"


def test_it_is_signed_and_names_an_id_and_holds_no_value(client):
    cookie = the_cookie(client.get("/put/a/confidential"))
    verified = Signer([SECRET]).verify(cookie.value)
    assert verified is not None and "confidential" not in cookie.value


def test_plain_it_ends_with_the_browser_and_is_http_only_and_lax(client):
    cookie = the_cookie(client.get("/put/a/1"))
    assert (cookie["max-age"], cookie["expires"], cookie["path"], cookie["domain"]) == ("", "", "/", "")
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Lax", "")


FLASKS = {
    "SESSION_COOKIE_NAME": "sid",
    "SESSION_COOKIE_DOMAIN": "example.org",
    "SESSION_COOKIE_PATH": "/shop",
    "SESSION_COOKIE_HTTPONLY": False,
    "SESSION_COOKIE_SECURE": True,
    "SESSION_COOKIE_SAMESITE": "None",
    "SESSION_COOKIE_PARTITIONED": True,
}


def test_flasks_own_settings_are_honoured_and_the_deletion_has_the_same_attributes(make_app):
    client = make_app(config=FLASKS).test_client()
    where = {"base_url": "https://example.org/shop"}
    given = client.get("/put/a/1", **where).headers["Set-Cookie"]
    value, _, attributes = given.partition("; ")
    assert value.startswith("sid=")
    assert attributes == "Domain=example.org; Path=/shop; Secure; SameSite=None; Partitioned"
    assert client.get("/read", **where).json == {"a": "1"}
    taken = client.get("/logout", **where).headers["Set-Cookie"]
    assert taken.startswith("sid=; Max-Age=0; ") and taken.endswith(attributes)
    assert client.get_cookie("sid", "example.org", "/shop") is None


def test_the_settings_of_redis_mw_win_over_flasks(make_app):
    ours = Cookie(name="ours", path="/deep", domain="example.com", secure=True, http_only=False, same_site="strict")
    client = make_app(config=FLASKS | {"SESSION_COOKIE_PARTITIONED": False}, cookie=ours).test_client()
    given = client.get("/put/a/1").headers["Set-Cookie"]
    assert given.startswith("ours=")
    assert given.partition("; ")[2] == "Domain=example.com; Path=/deep; Secure; SameSite=Strict"


def test_flasks_settings_may_change_after_init_app(make_app):
    app = make_app()
    app.config["SESSION_COOKIE_NAME"] = "late"
    assert the_cookie(app.test_client().get("/put/a/1"), "late").value


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"SESSION_COOKIE_SAMESITE": "None"}, "SESSION_COOKIE_SECURE"),
        ({"SESSION_COOKIE_PARTITIONED": True, "SESSION_COOKIE_SAMESITE": "Lax"}, "SESSION_COOKIE_PARTITIONED"),
        ({"SESSION_COOKIE_NAME": "__Host-s"}, "SESSION_COOKIE_SECURE"),
        (
            {"SESSION_COOKIE_NAME": "__Host-s", "SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_PATH": "/x"},
            "SESSION_COOKIE_PATH",
        ),
        ({"SESSION_COOKIE_SAMESITE": "bogus"}, "SESSION_COOKIE_SAMESITE"),
        ({"SESSION_COOKIE_DOMAIN": "q;r"}, "SESSION_COOKIE_DOMAIN"),
        ({"SESSION_COOKIE_NAME": "a b"}, "SESSION_COOKIE_NAME"),
        ({"SESSION_COOKIE_NAME": 5}, "SESSION_COOKIE_NAME"),
        ({"SESSION_COOKIE_PATH": "x"}, "SESSION_COOKIE_PATH"),
        ({"PERMANENT_SESSION_LIFETIME": "x"}, "PERMANENT_SESSION_LIFETIME"),
        ({"PERMANENT_SESSION_LIFETIME": None}, "PERMANENT_SESSION_LIFETIME"),
        ({"SECRET_KEY_FALLBACKS": ["", None]}, "app.secret_key (SECRET_KEY) fallbacks[0]"),
    ],
)
def test_what_cannot_work_in_flasks_settings_stops_the_application_and_names_the_key(make_app, config, named):
    with pytest.raises(SettingsError) as caught:
        make_app(config=config)
    assert caught.value.problems[0].path == named


def test_what_is_wrong_in_the_settings_of_redis_mw_keeps_its_own_name(make_app):
    with pytest.raises(SettingsError) as caught:
        make_app(config={"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_NAME": "__Host-s"}, cookie=Cookie(path="/x"))
    assert [problem.path for problem in caught.value.problems] == ["sessions.cookie.path"]


def test_a_cookie_that_goes_wrong_after_init_app_stores_nothing(make_app, keys, app):
    app.config["SESSION_COOKIE_SAMESITE"] = "bogus"
    app.testing = True
    with pytest.raises(SettingsError, match="SESSION_COOKIE_SAMESITE"):
        app.test_client().get("/put/a/1")
    assert keys() == []


def test_a_view_that_sets_a_cookie_of_that_name_gives_way_and_its_others_stay(app):
    @app.get("/two")
    def two():
        import flask

        session["a"] = 1
        response = flask.Response("two")
        response.set_cookie("session", "mine")
        response.set_cookie("session2", "other")
        return response

    response = app.test_client().get("/two")
    names = [next(iter(jar)) for jar in set_cookies(response)]
    assert names == ["session2", "session"]
    assert response.headers.getlist("Set-Cookie")[1].startswith("session=") and "mine" not in str(response.headers)


def test_an_unchanged_session_sets_no_cookie(client):
    client.get("/put/a/1")
    assert "Set-Cookie" not in client.get("/read").headers
    assert "Set-Cookie" not in client.get("/put/a/2").headers


# Permanent sessions


def test_a_permanent_session_lives_as_long_as_flask_is_told_and_its_cookie_too(make_app):
    app = make_app(config={"PERMANENT_SESSION_LIFETIME": timedelta(days=3)})
    add_permanent(app)
    client = app.test_client()
    assert the_cookie(client.get("/permanent/1"))["max-age"] == str(3 * 86400)
    with client.session_transaction() as stored:
        assert stored["_permanent"] is True and stored.permanent
        assert stored.visit.record.meta.own_idle_us == 3 * 86400 * 1_000_000


def test_no_longer_permanent_it_ends_with_the_browser_again(make_app):
    app = make_app(config={"PERMANENT_SESSION_LIFETIME": 3600})
    add_permanent(app)
    client = app.test_client()
    client.get("/permanent/1")
    client.get("/permanent/0")
    with client.session_transaction() as stored:
        assert not stored.permanent and stored.visit.record.meta.own_idle_us == 0
    assert the_cookie(client.get("/login/7"))["max-age"] == ""


def test_a_lifetime_set_in_redis_mw_wins_over_flasks(make_app):
    app = make_app(config={"PERMANENT_SESSION_LIFETIME": 3600}, idle=60, absolute=120)
    add_permanent(app)
    client = app.test_client()
    assert the_cookie(client.get("/permanent/1"))["max-age"] == "120"
    with client.session_transaction() as stored:
        assert stored.permanent and stored.visit.record.meta.own_idle_us == 0


def test_a_lifetime_that_nobody_set_is_not_flasks_31_days(app):
    add_permanent(app)
    assert the_cookie(app.test_client().get("/permanent/1"))["max-age"] == "43200"


def test_a_cookie_that_must_not_persist_never_has_a_max_age(make_app):
    app = make_app(config={"PERMANENT_SESSION_LIFETIME": 3600}, cookie=Cookie(persistent=False))
    add_permanent(app)
    assert the_cookie(app.test_client().get("/permanent/1"))["max-age"] == ""


def test_a_lifetime_of_nothing_is_as_short_as_can_be(make_app):
    app = make_app(config={"PERMANENT_SESSION_LIFETIME": 0})
    add_permanent(app)
    assert the_cookie(app.test_client().get("/permanent/1"))["max-age"] == "1"


@pytest.mark.parametrize(("refresh", "sent"), [(True, ["3600"]), (False, [])])
def test_reading_a_permanent_session_sends_its_cookie_again_only_if_flask_is_told_so(make_app, refresh, sent):
    config = {"PERMANENT_SESSION_LIFETIME": 3600, "SESSION_REFRESH_EACH_REQUEST": refresh}
    app = make_app(config=config, touch_after=0.0)
    add_permanent(app)
    client = app.test_client()
    client.get("/permanent/1")
    with count_round_trips() as trips:
        response = client.get("/read")
    assert [jar["session"]["max-age"] for jar in set_cookies(response)] == sent
    assert trips.total == 1
    assert set_cookies(client.get("/untouched")) == []


# Rotation


def test_a_cookie_of_an_old_secret_is_read_and_sent_again_under_the_new_one(make_app):
    app = make_app()
    client = app.test_client()
    old = the_cookie(client.get("/put/a/1")).value
    app.secret_key = "the next secret, which is long enough"
    app.config["SECRET_KEY_FALLBACKS"] = [SECRET]
    response = client.get("/read")
    assert response.json == {"a": "1"}
    new = the_cookie(response).value
    assert new != old and new.split(".")[0] == old.split(".")[0]
    assert "Set-Cookie" not in client.get("/read").headers
    app.config["SECRET_KEY_FALLBACKS"] = []
    assert client.get("/read").json == {"a": "1"}
    client.set_cookie("session", old)
    assert client.get("/read").json == {}


def test_the_secret_of_redis_mw_wins_over_flasks_and_a_key_may_be_bytes(make_app):
    ours = "the secret of redis-mw itself, long enough"
    for config, own, secret in (({}, {"secret": ours}, ours), ({"SECRET_KEY": SECRET.encode()}, {}, SECRET)):
        app = make_app(config=config, settings=own)
        value = the_cookie(app.test_client().get("/put/a/1")).value
        assert Signer([secret]).verify(value) is not None


def test_a_short_key_of_flasks_is_a_warning_in_the_log(make_app, caplog):
    client = make_app(config={"SECRET_KEY": "dev"}).test_client()
    client.get("/put/a/1")
    assert client.get("/read").json == {"a": "1"}
    assert len([record for record in caplog.records if "SECRET_KEY" in record.getMessage()]) == 1


# Bad cookies


def test_an_id_that_redis_does_not_know_is_not_adopted(client, keys):
    stranger = Signer([SECRET]).sign(new_id())
    client.set_cookie("session", stranger)
    assert client.get("/read").json == {}
    assert "Set-Cookie" not in client.get("/read").headers
    given = the_cookie(client.get("/put/a/1")).value
    assert given.split(".")[0] != stranger.split(".")[0] and len(keys()) == 1


def test_a_cookie_signed_for_another_application_is_nobodys(client):
    client.set_cookie("session", Signer(["quite another secret, long enough"]).sign(new_id()))
    with count_round_trips() as trips:
        assert client.get("/read").json == {}
    assert trips.total == 0


def test_a_damaged_hash_is_an_empty_session(client, app, keys):
    import redis

    client.get("/put/a/1")
    (key,) = keys()
    with redis.Redis.from_url(app.extensions["redis_mw"].mw.settings.url_of("sessions")) as server:
        server.hset(key, ".a", b"\x00rubbish")
    assert client.get("/read").json == {}
