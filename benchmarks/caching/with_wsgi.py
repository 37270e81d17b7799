"""What caches under WSGI, each as its own documentation has it."""

import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import django
import django.conf
import flask
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.cache import cache_page
from dogpile.cache import make_region
from flask_caching import Cache

from benchmarks.caching.contender import App, Origin

URLS = "urls_of_the_shop"
LOCK_S = 10
"""How long a lock lives whose holder has died; dogpile's own default is for ever."""


def flask_caching(url: str, origin: Origin, ttl: int) -> App:
    app = flask.Flask("shop")
    cache = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url})

    def page(name: str) -> str:
        return origin.make_in_thread()

    app.add_url_rule("/<name>", view_func=cache.cached(timeout=ttl)(page))
    return app


def django_cache_page(url: str, origin: Origin, ttl: int) -> App:
    """Once a process: Django has one set of settings."""

    django.conf.settings.configure(
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="a secret",
        ROOT_URLCONF=URLS,
        MIDDLEWARE=[],
        CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}},
    )
    django.setup()

    @cache_page(ttl)
    def page(_: Any, name: str) -> HttpResponse:
        return HttpResponse(origin.make_in_thread())

    urls: Any = ModuleType(URLS)
    urls.urlpatterns = [path("<name>", page)]
    sys.modules[URLS] = urls
    return get_wsgi_application()


def dogpile(url: str, origin: Origin, ttl: int) -> App:
    return _dogpile(url, origin, ttl)


def dogpile_lock(url: str, origin: Origin, ttl: int) -> App:
    return _dogpile(url, origin, ttl, distributed_lock=True, thread_local_lock=False, lock_timeout=LOCK_S)


def _dogpile(url: str, origin: Origin, ttl: int, **more: object) -> App:
    region = make_region().configure(
        "dogpile.cache.redis", expiration_time=ttl, arguments={"url": url, "redis_expiration_time": 3600, **more}
    )

    def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        body = region.get_or_create(environ["PATH_INFO"], origin.make_in_thread).encode()
        _ = start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(body)))])
        return [body]

    return application
