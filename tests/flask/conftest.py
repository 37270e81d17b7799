"""What the tests of Flask share: an application per test, with a few views that use the session."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest
from by_hand import until
from flask import Flask, request, session
from flask.testing import FlaskClient
from flask_site import PAGE, FlaskSite
from werkzeug.serving import make_server

from redis_mw import Cache, Event, Limit, Limits, Rule, Sessions, Settings, replace
from redis_mw_flask import RedisExtension

SECRET = "a secret of the Flask tests, long enough"

MakeApp = Callable[..., Flask]


def add_views(app: Flask) -> None:
    """The views that most tests need; none but ``/untouched`` leaves the session alone."""

    @app.get("/untouched")
    def untouched() -> str:
        return "hello"

    @app.get("/read")
    def read() -> dict[str, Any]:
        return {key: session[key] for key in session}

    @app.get("/put/<key>/<value>")
    def put(key: str, value: str) -> str:
        session[key] = value
        return "put"

    @app.get("/drop/<key>")
    def drop(key: str) -> str:
        del session[key]
        return "dropped"

    @app.get("/login/<user>")
    def login(user: str) -> str:
        session.login(user)
        return "in"

    @app.get("/logout")
    def logout() -> str:
        session.logout()
        return "out"

    @app.get("/who")
    def who() -> dict[str, Any]:
        return {"user": session.user_id, "handle": session.handle}


@pytest.fixture
def make_app(redis_mw_settings: Settings) -> Iterator[MakeApp]:
    """Makes an application that signs with Flask's key; keyword arguments are those of ``Sessions``."""
    made: list[Flask] = []

    def make(*, config: dict[str, Any] | None = None, settings: dict[str, Any] | None = None, **sessions: Any) -> Flask:
        app = Flask("shop")
        app.config.update({"SECRET_KEY": SECRET, **(config or {})})
        changes = {"secret": "", "sessions": Sessions(**{"patience": 10.0, **sessions}), **(settings or {})}
        _ = RedisExtension(app, replace(redis_mw_settings, **changes))
        add_views(app)
        made.append(app)
        return app

    yield make
    for app in made:
        app.extensions["redis_mw"].mw.close()


@pytest.fixture
def limited_app(make_app: MakeApp) -> MakeApp:
    """``limited_app(*limits, **of Limits)``: an application whose ``/page``, and what is under it, is limited so."""

    def make(*limits: Limit | str, settings: dict[str, Any] | None = None, **of_limits: Any) -> Flask:
        rules = [Rule("/page", limits=limits), Rule("/page/{rest:path}", limits=limits)]
        app = make_app(settings={"rules": rules, "limits": Limits(**of_limits), **(settings or {})})

        @app.route("/page", methods=["GET", "POST"])
        @app.route("/page/<path:rest>")
        def page(rest: str = "") -> str:
            return "a page"

        return app

    return make


@pytest.fixture
def cached_site(make_app: MakeApp) -> Callable[..., FlaskSite]:
    """``cached_site(view, rules=[...], cache=Cache(...), **of the settings)``: the view, a function or what it gives,
    is at ``/page``. Nothing is kept in the process, unless ``cache`` says so.
    """

    def make(
        view: Any = None,
        *,
        rules: Any = (PAGE,),
        cache: Cache | None = None,
        config: dict[str, Any] | None = None,
        **settings: Any,
    ) -> FlaskSite:
        heard: list[Event] = []
        settings = {"rules": list(rules), "on_event": [heard.append], **settings}
        app = make_app(config=config, settings={"cache": cache or Cache(l1_bytes=0), **settings})
        site = FlaskSite(app, heard)
        if view is not None:

            @app.get("/page")
            def page() -> Any:
                site.made.append(dict(request.headers))
                return view() if callable(view) else view

        return site

    return make


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def keys(app: Flask) -> Callable[[], list[bytes]]:
    """The keys that the test has in Redis now."""
    import redis

    settings = app.extensions["redis_mw"].mw.settings

    def found() -> list[bytes]:
        with redis.Redis.from_url(settings.url_of("sessions")) as server:
            return sorted(server.scan_iter(f"{settings.prefix}:*", count=1000))

    return found


@pytest.fixture
def given_back(keys: Callable[[], list[bytes]]) -> Callable[[], None]:
    """Waits until no lock is held and nobody queues for one: giving back is never awaited by a response."""

    def wait() -> None:
        until(lambda: not [key for key in keys() if b":k1:{" in key and key[-2:] in (b":h", b":q")], "locks are free")

    return wait


class Served:
    """An application that answers over HTTP, each request in a thread of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    @contextmanager
    def opened(self, method: str, path: str, body: Any = None, **headers: str) -> Iterator[HTTPResponse]:
        """An answer whose body may still be under way; underscores in names of fields are hyphens."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, fields)
            with connection.getresponse() as answer:
                yield answer

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and fields."""
        with self.opened(method, path, body, **headers) as answer:
            return answer.status, answer.read(), dict(answer.getheaders())


@pytest.fixture
def serve() -> Iterator[Callable[[Flask], Served]]:
    """Serves an application by werkzeug's threads, in this process."""
    with ExitStack() as running:

        def start(app: Flask) -> Served:
            server = make_server("127.0.0.1", 0, app, threaded=True)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            running.callback(thread.join)
            running.callback(server.shutdown)
            return Served(server.server_port)

        yield start


@pytest.fixture
def together() -> Callable[..., list[Any]]:
    """``together(count, function)``: what so many threads get that call it at once, each with its number."""

    def run(count: int, function: Callable[[int], Any]) -> list[Any]:
        met, found = threading.Barrier(count, timeout=20), []

        def one(number: int) -> None:
            _ = met.wait()
            found.append(function(number))

        threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return found

    return run
