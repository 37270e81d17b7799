"""The Django project that these tests visit: views that do one thing each to the session. Loaded by ``conftest``."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import authenticate, login, logout, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from redis_mw import current
from redis_mw.errors import SessionUnavailable
from redis_mw_django import amw, mw

hooks: dict[str, Any] = {}
"""What a test wants to happen in the middle of a view, by name."""


def untouched(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


def read(request: HttpRequest) -> HttpResponse:
    return JsonResponse(dict(request.session.items()))


async def aread(request: HttpRequest) -> HttpResponse:
    return JsonResponse(dict(await request.session.aitems()))


def write(request: HttpRequest) -> HttpResponse:
    for name, value in request.GET.items():
        request.session[name] = value
    if "between" in hooks:
        hooks["between"](request)
    return HttpResponse(str(request.session.session_key))


async def awrite(request: HttpRequest) -> HttpResponse:
    for name, value in request.GET.items():
        await request.session.aset(name, value)
    return HttpResponse(str(request.session.session_key))


def nested(request: HttpRequest) -> HttpResponse:
    request.session["cart"].append("nested")
    return HttpResponse()


def cart(request: HttpRequest) -> HttpResponse:
    request.session["cart"] = []
    return HttpResponse()


def flush(request: HttpRequest) -> HttpResponse:
    request.session.flush()
    return HttpResponse()


async def aflush(request: HttpRequest) -> HttpResponse:
    await request.session.aflush()
    return HttpResponse()


def read_and_flush(request: HttpRequest) -> HttpResponse:
    _ = request.session.get("x")
    request.session.flush()
    return HttpResponse()


def cycle(request: HttpRequest) -> HttpResponse:
    request.session.cycle_key()
    return HttpResponse(str(request.session.session_key))


def enter(request: HttpRequest) -> HttpResponse:
    user = authenticate(request, username=request.POST["username"], password=request.POST["password"])
    assert user is not None
    login(request, user)
    return HttpResponse(str(request.session.session_key))


def leave(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse()


def new_password(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    user.set_password("another one")
    user.save()
    update_session_auth_hash(request, user)
    return HttpResponse()


def bind(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    session.login(request.GET["user"])
    return HttpResponse(str(session.user_id))


async def abind(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    await session.alogin(request.GET["user"])
    return HttpResponse(str(session.user_id))


def bind_and_save(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    session.login(request.GET["user"])
    session.save()
    return HttpResponse()


async def abind_and_save(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    await session.alogin(request.GET["user"])
    await session.asave()
    return HttpResponse()


def bind_and_fail(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    session.login(request.GET["user"])
    return HttpResponse("an error page", status=500)


def listing(request: HttpRequest) -> HttpResponse:
    request.session["seen"] = 1
    return JsonResponse([info.handle for info in mw.sessions.of_user(7)], safe=False)


async def alisting(request: HttpRequest) -> HttpResponse:
    await request.session.aset("seen", 1)
    return JsonResponse([info.handle for info in await amw.sessions.of_user(7)], safe=False)


def unbind(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    session.logout()
    return HttpResponse()


def about(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    known = {name: getattr(session, name) for name in ("user_id", "handle", "created", "last_seen", "unavailable")}
    return JsonResponse(known | {"fresh": session.fresh(60)})


def expiry(request: HttpRequest) -> HttpResponse:
    request.session["x"] = 1
    request.session.set_expiry(json.loads(request.GET["value"]))
    return HttpResponse()


def broken(request: HttpRequest) -> HttpResponse:
    request.session["x"] = "lost"
    return HttpResponse(status=500)


def caught(request: HttpRequest) -> HttpResponse:
    try:
        return HttpResponse(request.session.get("x", ""))
    except SessionUnavailable:
        return HttpResponse("no session today")


def late(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[bytes]:
        yield b"first "
        request.session["late"] = 1
        if "save" in request.GET:
            request.session.save()
        yield b"last"

    _ = request.session.get("x")
    return StreamingHttpResponse(body())


async def alate(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[bytes]:
        yield b"first "
        await request.session.aset("late", 1)
        if "save" in request.GET:
            await request.session.asave()
        yield b"last"

    _ = await request.session.aget("x")
    return StreamingHttpResponse(body())


def context(request: HttpRequest) -> HttpResponse:
    here: Any = request
    assert current() is here.redis_mw
    return JsonResponse({"face": type(current().mw).__name__, "x": current().session.get("x")})


async def acontext(request: HttpRequest) -> HttpResponse:
    here: Any = request
    assert current() is here.redis_mw
    return JsonResponse({"face": type(current().mw).__name__, "x": await current().session.aget("x")})


def say(request: HttpRequest) -> HttpResponse:
    messages.success(request, "well done")
    return HttpResponse()


def hear(request: HttpRequest) -> HttpResponse:
    return JsonResponse([str(message) for message in messages.get_messages(request)], safe=False)


def refused(request: HttpRequest, refusal: Any) -> HttpResponse:
    """``REDIS_MW_HANDLER``."""
    when = f"in {refusal.retry_after:.0f} s" if refusal.status == 503 else f"as one of {refusal.limit}"
    return HttpResponse(f"come back {when}", status=refusal.status)


urlpatterns = [
    path("admin/", admin.site.urls),
    path("private/", login_required(untouched)),
    *[
        path(f"{view.__name__}/", view)
        for view in (
            untouched, read, aread, write, awrite, nested, cart, flush, aflush, read_and_flush, cycle, enter, leave,
            new_password, bind, abind, bind_and_save, abind_and_save, bind_and_fail, listing, alisting, unbind, about,
            expiry, broken, caught, late, alate, context, acontext, say, hear,
        )
    ],
]  # fmt: skip
