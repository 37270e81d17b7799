"""The Django site that gunicorn and uvicorn serve in ``test_servers``; redis-mw is configured by the environment."""

import asyncio
import os
import time
from pathlib import Path

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from redis_mw import current, idempotent, locked

settings.configure(
    SECRET_KEY="a key of the served site that is long enough",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["redis_mw_django"],
    MIDDLEWARE=[
        "redis_mw_django.middleware.RedisMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SESSION_ENGINE="redis_mw_django.sessions",
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"]},
    },
)


def put(request: HttpRequest, key: str, value: str) -> JsonResponse:
    request.session[key] = value
    return JsonResponse({key: value})


def read(request: HttpRequest) -> JsonResponse:
    return JsonResponse(dict(request.session.items()))


def slow(request: HttpRequest, value: str) -> JsonResponse:
    name = request.session["name"]
    time.sleep(0.2)
    request.session["slow"] = value
    return JsonResponse({"value": value, "name": name})


@locked("order:{order_id}", wait=20)
@idempotent()
def pay(request: HttpRequest, order_id: int) -> JsonResponse:
    """Fails where two processes are here at once; notes its fence otherwise."""
    home = Path(os.environ["HOME_OF_ORDERS"])
    fence = current().lease.fence
    with (home / f"{order_id}.taken").open("x"):
        time.sleep(0.005)
        with (home / f"{order_id}.fences").open("a") as fences:
            _ = fences.write(f"{fence}\n")
    (home / f"{order_id}.taken").unlink()
    return JsonResponse({"fence": fence})


@locked("order:{order_id}", wait=20)
@idempotent()
async def apay(request: HttpRequest, order_id: int) -> JsonResponse:
    """The same on the event loop."""
    home = Path(os.environ["HOME_OF_ORDERS"])
    fence = current().lease.fence
    with (home / f"{order_id}.taken").open("x"):
        await asyncio.sleep(0.005)
        with (home / f"{order_id}.fences").open("a") as fences:
            _ = fences.write(f"{fence}\n")
    (home / f"{order_id}.taken").unlink()
    return JsonResponse({"fence": fence})


urlpatterns = [
    path("put/<key>/<value>/", put),
    path("read/", read),
    path("slow/<value>/", slow),
    path("orders/<int:order_id>/pay/", pay),
    path("orders/<int:order_id>/apay/", apay),
]
app = get_wsgi_application()
asgi = get_asgi_application()
