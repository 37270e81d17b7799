"""One small application under Flask, Django and Starlette, and a browser that visits them with one cookie."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from http.cookies import SimpleCookie
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults

import django
import flask
import pytest
from django.conf import settings as django_settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, JsonResponse
from django.test import Client, override_settings
from django.urls import path
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from redis_mw import Cookie, Sessions, Settings, replace
from redis_mw_flask import RedisExtension
from redis_mw_starlette import RedisMiddleware

FRAMEWORKS = ("flask", "django", "starlette")
COOKIE = "shared"
VALUES = {
    "tuple": (1, (2,)),
    "bytes": b"\xff",
    "markup": Markup("<b>"),
    "datetime": datetime(2026, 1, 2, tzinfo=UTC),
    "decimal": Decimal("1.10"),
    "set": {1, 2},
    "nested": {"items": [1]},
}


def act(session: Any, what: str, argument: str) -> dict[str, Any]:
    """What every application does for ``/<what>/<argument>``."""
    match what:
        case "put":
            key, _, value = argument.partition("=")
            session[key] = value
        case "drop":
            del session[argument]
        case "values":
            for key, value in VALUES.items():
                session[key] = value
        case "deeper":
            session["nested"]["items"].append(argument)
        case "same":
            return {"same": {key: session.get(key) == value for key, value in VALUES.items()}}
        case "login":
            session.login(argument)
        case "logout":
            session.logout()
        case "regenerate":
            session.regenerate()
    return {
        "values": {key: repr(value) for key, value in session.items() if not key.startswith("_")},
        "user": session.user_id,
        "handle": session.handle,
    }


class Browser:
    """Visits the three applications with one cookie, and keeps what they give it."""

    def __init__(self, faces: dict[str, Callable[[str, str], tuple[Any, list[str]]]]) -> None:
        self.faces = faces
        self.cookie = ""

    def get(self, framework: str, what: str, argument: str = "-") -> dict[str, Any]:
        answer, given = self.faces[framework](f"/{what}/{argument}", self.cookie)
        for each in given:
            morsel = SimpleCookie(each)[COOKIE]
            self.cookie = f"{COOKIE}={morsel.value}" if morsel.value else ""
        return answer

    def another(self) -> "Browser":
        return Browser(self.faces)


@pytest.fixture
def browser(redis_mw_settings: Settings) -> Iterator[Browser]:
    """A browser, and behind it the three applications with equal settings."""
    settings = replace(redis_mw_settings, sessions=Sessions(cookie=Cookie(name=COOKIE)))
    app = under_flask(settings)
    with TestClient(under_starlette(settings)) as starlette_client, under_django(settings):
        plain = app.test_client(use_cookies=False)

        def visit_flask(url: str, cookie: str) -> tuple[Any, list[str]]:
            response = plain.get(url, headers={"Cookie": cookie})
            assert response.status_code == 200
            return response.json, response.headers.getlist("Set-Cookie")

        def visit_starlette(url: str, cookie: str) -> tuple[Any, list[str]]:
            starlette_client.cookies.clear()
            response = starlette_client.get(url, headers={"Cookie": cookie})
            assert response.status_code == 200
            return response.json(), response.headers.get_list("set-cookie")

        def visit_django(url: str, cookie: str) -> tuple[Any, list[str]]:
            response = Client(headers={"cookie": cookie}).get(url)
            assert response.status_code == 200
            return response.json(), [morsel.OutputString() for morsel in response.cookies.values()]

        yield Browser({"flask": visit_flask, "django": visit_django, "starlette": visit_starlette})
    app.extensions["redis_mw"].mw.close()


class Raw(NamedTuple):
    """An answer as it left the application."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@pytest.fixture
def raw(redis_mw_settings: Settings) -> Iterator[Callable[[str, str, list[bytes]], Raw]]:
    """``raw(framework, url, cookie_fields)`` asks as a server does, with no client that would mend the fields."""
    settings = replace(redis_mw_settings, sessions=Sessions(cookie=Cookie(name=COOKIE)))
    app, starlette_app = under_flask(settings), under_starlette(settings)
    with asyncio.Runner() as runner, under_django(settings):
        applications = {"flask": app.wsgi_app, "django": WSGIHandler()}

        def ask(framework: str, url: str, cookies: list[bytes]) -> Raw:
            if framework == "starlette":
                return runner.run(ask_asgi(starlette_app, url, cookies))
            return ask_wsgi(applications[framework], url, cookies)

        yield ask
    app.extensions["redis_mw"].mw.close()


def ask_wsgi(application: Any, url: str, cookies: list[bytes]) -> Raw:
    environ: dict[str, Any] = {"PATH_INFO": url, "HTTP_HOST": "testserver"}
    if cookies:
        environ["HTTP_COOKIE"] = b"; ".join(cookies).decode("latin-1")
    setup_testing_defaults(environ)
    begun: list[tuple[str, list[tuple[str, str]]]] = []
    body = application(environ, lambda status, headers, error=None: begun.append((status, headers)))
    try:
        content = b"".join(body)
    finally:
        getattr(body, "close", lambda: None)()
    status, headers = begun[-1]
    return Raw(int(status[:3]), headers, content)


async def ask_asgi(application: Any, url: str, cookies: list[bytes]) -> Raw:
    scope = {"type": "http", "method": "GET", "path": url, "query_string": b"", "scheme": "http"}
    headers = [(b"host", b"testserver"), *((b"cookie", each) for each in cookies)]
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await application({**scope, "headers": headers}, receive, send)
    given = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in sent[0]["headers"]]
    return Raw(sent[0]["status"], given, b"".join(message["body"] for message in sent[1:]))


def under_flask(settings: Settings) -> flask.Flask:
    app = flask.Flask("shared")
    _ = RedisExtension(app, settings)

    @app.get("/<what>/<argument>")
    def view(what: str, argument: str) -> dict[str, Any]:
        return act(flask.session, what, argument)

    return app


def under_starlette(settings: Settings) -> Starlette:
    async def view(request: Request) -> JSONResponse:
        return JSONResponse(act(request.session, **request.path_params))

    return Starlette(
        routes=[Route("/{what}/{argument}", view)], middleware=[Middleware(RedisMiddleware, settings=settings)]
    )


def django_view(request: HttpRequest, what: str, argument: str) -> JsonResponse:
    return JsonResponse(act(request.session, what, argument))


class DjangoUrls:
    urlpatterns = [path("<what>/<argument>", django_view)]


def under_django(settings: Settings) -> override_settings:
    """Django's settings for the time of a test, whoever has configured Django before."""
    if not django_settings.configured:
        django_settings.configure(SECRET_KEY="not used: redis-mw has a secret of its own", USE_TZ=True)
        django.setup()
    return override_settings(
        ALLOWED_HOSTS=["testserver"],
        MIDDLEWARE=[
            "redis_mw_django.middleware.RedisMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
        ],
        REDIS_MW=settings,
        ROOT_URLCONF=DjangoUrls,
        SESSION_COOKIE_NAME=COOKIE,
        SESSION_ENGINE="redis_mw_django.sessions",
    )
