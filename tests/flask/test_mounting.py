"""How redis-mw comes onto an application: settings from four places, factories, several apps; the context of a view."""

import os
import subprocess
import sys
import threading

import pytest
from flask import Blueprint, Flask, g, session
from flask.sessions import SecureCookieSessionInterface

import redis_mw
from redis_mw import LayerMissing, Sessions, Settings, SettingsError, replace
from redis_mw.testing import count_round_trips
from redis_mw_flask import RedisExtension, mw

SECRET = "a secret of the Flask tests, long enough"


def settings_of(app):
    return app.extensions["redis_mw"].mw.settings


def mounted(settings=None, **config):
    app = Flask("shop")
    app.config.update(SECRET_KEY=SECRET, **config)
    extension = RedisExtension()
    extension.init_app(app, settings)
    return app


# Settings


def test_the_argument_wins_over_the_configuration_and_that_over_the_environment(monkeypatch):
    monkeypatch.setenv("REDIS_MW_PREFIX", "environment")
    assert settings_of(mounted()).prefix == "environment"
    assert settings_of(mounted(REDIS_MW_PREFIX="config")).prefix == "config"
    assert settings_of(mounted(REDIS_MW={"prefix": "mapping"}, REDIS_MW_PREFIX="config")).prefix == "mapping"
    assert settings_of(mounted(REDIS_MW=Settings(prefix="tree"))).prefix == "tree"
    assert settings_of(mounted(Settings(prefix="given"), REDIS_MW={"prefix": "mapping"})).prefix == "given"
    assert settings_of(mounted({"prefix": "given"})).prefix == "given"
    app = Flask("shop")
    RedisExtension(app, Settings(prefix="at-once"))
    assert settings_of(app).prefix == "at-once"


def test_values_in_the_configuration_may_be_python_values_or_texts(monkeypatch):
    monkeypatch.setenv("REDIS_MW_SESSIONS__GRACE", "3")
    given = {"max_fields": 7}
    settings = settings_of(
        mounted(REDIS_MW_SESSIONS=given, REDIS_MW_SESSIONS__IDLE=900, REDIS_MW_POOL="4", REDIS_MW_CACHE=None)
    )
    assert (settings.sessions.idle, settings.sessions.max_fields, settings.sessions.grace) == (900, 7, 3)
    assert (settings.pool, settings.cache) == (4, None)
    assert given == {"max_fields": 7}


def test_wrong_settings_stop_the_application_and_name_the_key():
    with pytest.raises(SettingsError, match=r"sessions\.idel.*idle"):
        mounted(REDIS_MW={"sessions": {"idel": 5}})
    with pytest.raises(SettingsError, match=r"sessions\.idle"):
        mounted(REDIS_MW_SESSIONS__IDLE="soon")


def test_mounting_twice_is_an_error():
    app = mounted()
    with pytest.raises(SettingsError, match="already"):
        RedisExtension(app)


def test_another_session_extension_is_warned_of():
    class Other(SecureCookieSessionInterface):
        pass

    app = Flask("shop")
    app.session_interface = Other()
    with pytest.warns(UserWarning, match="Other.*one session extension") as warned:
        RedisExtension(app)
    assert len(warned) == 1 and warned[0].filename == __file__


def test_replaced_in_its_turn_it_leaves_the_session_to_the_other(app, client):
    app.session_interface = SecureCookieSessionInterface()

    @app.get("/context")
    def context():
        return {"session": redis_mw.current().session}

    assert client.get("/context").json == {"session": None}
    client.get("/put/a/1")
    assert client.get("/read").json == {"a": "1"}


def test_with_sessions_off_flasks_own_stay_and_the_rest_is_there(redis_mw_settings):
    app = mounted(replace(redis_mw_settings, sessions=None))
    assert type(app.session_interface) is SecureCookieSessionInterface

    @app.get("/")
    def index():
        session["a"] = 1
        here = redis_mw.current()
        assert here is g.redis_mw and here.mw is mw._get_current_object() and here.session is None
        mw.ping()
        return "ok"

    assert app.test_client().get("/").text == "ok"


# Nothing before it is needed


def test_nothing_starts_when_it_is_mounted():
    before = set(threading.enumerate())  # some may end meanwhile
    with count_round_trips() as trips:
        app = mounted(REDIS_MW_URL="redis://127.0.0.1:1/0")
        assert app.test_client().get("/missing").status_code == 404
    assert trips.total == 0 and set(threading.enumerate()) <= before


def test_asked_to_be_eager_it_does_not_start_without_redis():
    with pytest.raises(redis_mw.RedisUnavailable):
        mounted(REDIS_MW_URL="redis://127.0.0.1:1/0", REDIS_MW_CONNECT="eager", REDIS_MW_WARM_UP=0.5)


def test_without_flask_the_import_names_the_extra():
    code = "import sys; sys.modules['flask'] = None\nimport redis_mw_flask"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "MissingExtra: redis_mw_flask needs" in done.stderr and '"redis-mw[flask]"' in done.stderr


# Several applications


def test_an_extension_serves_several_applications_and_keeps_none(redis_mw_settings):
    extension = RedisExtension()

    def make(prefix):
        app = Flask(prefix)
        app.secret_key = SECRET
        extension.init_app(app, replace(redis_mw_settings, prefix=prefix))

        @app.get("/<value>")
        def put(value):
            before = session.get("value")
            session["value"] = value
            return {"before": before, "prefix": mw.settings.prefix}

        return app

    prefixes = [f"{redis_mw_settings.prefix}:{name}" for name in "ab"]
    first, second = map(make, prefixes)
    client, other = first.test_client(), second.test_client()
    assert client.get("/1").json == {"before": None, "prefix": prefixes[0]}
    other.set_cookie("session", client.get_cookie("session").value)
    assert other.get("/2").json == {"before": None, "prefix": prefixes[1]}
    assert client.get("/3").json == {"before": "1", "prefix": prefixes[0]}
    assert vars(extension) == {}
    for app in (first, second):
        app.extensions["redis_mw"].mw.close()


def test_the_direct_face_says_when_the_application_has_none():
    with Flask("bare").app_context():
        with pytest.raises(LayerMissing, match="bare"):
            mw.ping()
    with pytest.raises(RuntimeError):
        mw.ping()


# Around a view


def test_the_context_is_there_in_a_request_and_gone_after_it(app, client):
    @app.get("/context")
    def context():
        here = redis_mw.current()
        assert here is g.redis_mw and here.mw is mw._get_current_object()
        assert here.session is session._get_current_object()
        return "ok"

    @app.teardown_request
    def still_there(error):
        assert redis_mw.current().session is not None

    assert client.get("/context").text == "ok"
    with pytest.raises(LayerMissing):
        redis_mw.current()


def test_the_context_is_gone_after_an_error_a_404_and_a_session_transaction(app, client):
    @app.get("/crash")
    def crash():
        raise ZeroDivisionError

    for path, status in (("/crash", 500), ("/missing", 404)):
        assert client.get(path).status_code == status
        with pytest.raises(LayerMissing):
            redis_mw.current()
    with client.session_transaction():
        with pytest.raises(LayerMissing):
            redis_mw.current()


def test_a_request_inside_a_request_gives_the_context_back(app, client):
    @app.get("/outer")
    def outer():
        mine = redis_mw.current()
        assert app.test_client().get("/untouched").status_code == 200
        assert redis_mw.current() is mine
        return "ok"

    assert client.get("/outer").text == "ok"
    with pytest.raises(LayerMissing):
        redis_mw.current()


def test_blueprints_and_before_request_functions_find_the_session(app, client):
    part = Blueprint("part", __name__)

    @part.before_request
    def count():
        session["seen"] = session.get("seen", 0) + 1

    @part.get("/part")
    def view():
        return {"seen": redis_mw.current().session["seen"]}

    app.register_blueprint(part)
    assert [client.get("/part").json["seen"] for _ in range(2)] == [1, 2]


def test_it_works_behind_a_prefix_and_rules_match_what_flask_routes_on(make_app):
    app = make_app(skip=["/read"])
    client = app.test_client()
    with client.session_transaction(base_url="http://localhost/shop") as stored:
        stored["a"] = 1
    assert client.get("/read", base_url="http://localhost/shop").json == {}


def test_a_host_that_flask_does_not_trust_is_still_a_400(make_app):
    app = make_app(config={"TRUSTED_HOSTS": ["example.org"]})
    assert app.test_client().get("/untouched", base_url="http://evil.example").status_code == 400
    assert app.test_client().get("/untouched", base_url="http://example.org").status_code == 200


def test_settings_of_the_tree_are_those_of_the_face(make_app):
    app = make_app(idle=60, patience=2)
    with app.app_context():
        assert mw.settings.sessions == Sessions(idle=60, patience=2)
