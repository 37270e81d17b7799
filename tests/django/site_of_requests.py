"""The site that the tests of locks and idempotency keys visit, its views registered in every way that Django knows."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from enum import Enum
from io import BytesIO
from typing import Any

from by_hand import until
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import include, path, re_path, register_converter
from django.utils.decorators import async_only_middleware, method_decorator
from django.views import View
from site_of_limits import adropped, dropped, kept

from redis_mw import LockTimeout, current, idempotent, limited, locked
from redis_mw_django import amw, mw

hooks: dict[str, Any] = {}
"""What a test wants to happen in the middle of a view, by name."""
ran: list[str] = []
"""The paths of the requests whose views have run."""


def until_free(name: str) -> None:
    """Locks are given back in the background: wait until this one was."""

    def free() -> bool:
        try:
            with mw.locks.lock(name, wait=0):
                return True
        except LockTimeout:
            return False

    until(free, f"{name} is free")


async def auntil_free(name: str) -> None:
    async with amw.locks.lock(name, wait=20):
        pass


def both(view: Any) -> Any:
    return locked("order:{order_id}", wait=0)(idempotent()(view))


def told(request: HttpRequest) -> JsonResponse:
    """What a view does that runs in a thread."""
    ran.append(request.path_info)
    lease: Any = current().lease
    here: Any = request
    assert lease is None or (here.redis_mw.lease.fence, lease.lost) == (lease.fence, False)
    if "inside" in hooks:
        hooks["inside"]()
    names = lease.names if lease is not None else ()
    found = {"names": names, "fence": lease.fence if lease is not None else 0, "runs": len(ran)}
    return JsonResponse({**found, "body": request.body.decode("latin-1")})


async def atold(request: HttpRequest) -> JsonResponse:
    """The same on the event loop."""
    if "ainside" in hooks:
        await hooks["ainside"]()
    return told(request)


# Ways of registering


@both
def function(request: HttpRequest, order_id: int) -> HttpResponse:
    return told(request)


@both
async def afunction(request: HttpRequest, order_id: int) -> HttpResponse:
    return await atold(request)


@both
@kept
def above(request: HttpRequest, order_id: int) -> HttpResponse:
    return told(request)


@kept
@both
def below(request: HttpRequest, order_id: int) -> HttpResponse:
    return told(request)


@dropped
@both
def hidden(request: HttpRequest, order_id: int) -> HttpResponse:
    return told(request)


@adropped
@both
async def ahidden(request: HttpRequest, order_id: int) -> HttpResponse:
    return await atold(request)


def bare(request: HttpRequest, order_id: int = 0) -> HttpResponse:
    return told(request)


class Plain(View):
    def get(self, request: HttpRequest, order_id: int) -> HttpResponse:
        return told(request)

    def post(self, request: HttpRequest, order_id: int) -> HttpResponse:
        return told(request)


class APlain(View):
    async def get(self, request: HttpRequest, order_id: int) -> HttpResponse:
        return await atold(request)

    async def post(self, request: HttpRequest, order_id: int) -> HttpResponse:
        return await atold(request)


@locked("order:{order_id}", wait=0)
@idempotent()
class OnClass(Plain):
    pass


@method_decorator(both, name="dispatch")
class OnDispatch(Plain):
    pass


class OnMethod(View):
    @method_decorator(both)
    def get(self, request: HttpRequest, order_id: int) -> HttpResponse:
        return told(request)

    @method_decorator(both)
    def post(self, request: HttpRequest, order_id: int) -> HttpResponse:
        return told(request)


@locked("order:{order_id}", wait=0)
@idempotent()
class AOnClass(APlain):
    pass


@method_decorator(both, name="dispatch")
class AOnDispatch(APlain):
    pass


class AOnMethod(View):
    @method_decorator(both)
    async def get(self, request: HttpRequest, order_id: int) -> HttpResponse:
        return await atold(request)

    @method_decorator(both)
    async def post(self, request: HttpRequest, order_id: int) -> HttpResponse:
        return await atold(request)


# Names of locks


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class SizeConverter:
    regex = "small|large"

    def to_python(self, value: str) -> Size:
        return Size[value.upper()]

    def to_url(self, value: Size) -> str:
        return value.name.lower()


register_converter(SizeConverter, "size")


@locked("of:{thing}", wait=0)
def of_thing(request: HttpRequest, thing: Any) -> HttpResponse:
    return told(request)


@locked("of:{session}", wait=0)
def of_session(request: HttpRequest) -> HttpResponse:
    return told(request)


@locked("of:{user}", wait=0)
def of_user(request: HttpRequest) -> HttpResponse:
    return told(request)


def named(request: HttpRequest) -> str | None:
    return request.GET.get("name")


@locked("call:site_of_requests.named", wait=0)
def of_callable(request: HttpRequest) -> HttpResponse:
    return told(request)


@locked("shared", shared=True, wait=0)
def of_readers(request: HttpRequest) -> HttpResponse:
    return told(request)


def ruled(request: HttpRequest, order_id: int) -> HttpResponse:
    return told(request)


# Under a lock


@locked("waiting", wait=0.05)
def short(request: HttpRequest) -> HttpResponse:
    return told(request)


@locked("waiting", wait=20)
def patient(request: HttpRequest) -> HttpResponse:
    return told(request)


@locked("waiting", wait=20)
async def apatient(request: HttpRequest) -> HttpResponse:
    return await atold(request)


@locked("again", wait=0)
def again(request: HttpRequest) -> HttpResponse:
    with mw.locks.lock("again", wait=0) as lease:
        assert (lease.nested, lease.fence) == (True, current().lease.fence)
    return told(request)


@locked("again", wait=0)
async def aagain(request: HttpRequest) -> HttpResponse:
    async with amw.locks.lock("again", wait=0) as lease:
        assert (lease.nested, lease.fence) == (True, current().lease.fence)
    return await atold(request)


@locked("again", wait=0)
def extended(request: HttpRequest) -> HttpResponse:
    current().lease.extend(60)
    return told(request)


@locked("again", wait=0)
async def aextended(request: HttpRequest) -> HttpResponse:
    await current().lease.extend(60)
    return await atold(request)


@locked("crash", wait=0)
def crash(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a bug")


@locked("crash", wait=0)
async def sleep(request: HttpRequest) -> HttpResponse:
    hooks["asleep"].set()
    await asyncio.sleep(60)
    return HttpResponse()


@locked("stream", wait=0)
def locked_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"first ", b"last"]))


@locked("stream", wait=0)
async def alocked_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(_parts([b"first ", b"last"]))


async def asleep() -> HttpResponse:
    hooks["inside"]()
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        hooks["cancelled"] = True
        raise
    return HttpResponse()


@locked("lost", wait=0, ttl=0.3, cancel_when_lost=True)
async def cancelled(request: HttpRequest) -> HttpResponse:
    return await asleep()


@adropped
@locked("lost", wait=0, ttl=0.3, cancel_when_lost=True)
async def cancelled_late(request: HttpRequest) -> HttpResponse:
    return await asleep()


@locked("lost", wait=0, ttl=0.3, cancel_when_lost=True)
def lost_in_a_thread(request: HttpRequest) -> HttpResponse:
    hooks["inside"]()
    until(lambda: current().lease.lost, "somebody has noticed")
    return JsonResponse({"lost": current().lease.lost})


@locked("cart:{session}", wait=20)
def counted(request: HttpRequest) -> HttpResponse:
    request.session["count"] = request.session.get("count", 0) + 1
    return JsonResponse({"count": request.session["count"]})


@dropped
@locked("cart:{session}", wait=20)
def counted_late(request: HttpRequest) -> HttpResponse:
    request.session["count"] = request.session.get("count", 0) + 1
    return JsonResponse({"count": request.session["count"]})


@limited("1/minute")
@locked("limited", wait=0)
def limited_and_locked(request: HttpRequest) -> HttpResponse:
    return told(request)


# With a key


@idempotent()
def keyed(request: HttpRequest) -> HttpResponse:
    response: Any = told(request)
    response.status_code = int(request.GET.get("status", 201))
    response.headers["Location"] = "/orders/7/"
    response.set_cookie("given", "once")
    return response


@idempotent()
async def akeyed(request: HttpRequest) -> HttpResponse:
    response: Any = await atold(request)
    response.status_code = int(request.GET.get("status", 201))
    response.headers["Location"] = "/orders/7/"
    response.set_cookie("given", "once")
    return response


@idempotent(required=True)
def required(request: HttpRequest) -> HttpResponse:
    return told(request)


@idempotent(wait=20)
def waiting(request: HttpRequest) -> HttpResponse:
    return told(request)


@idempotent(wait=20)
async def awaiting(request: HttpRequest) -> HttpResponse:
    return await atold(request)


@idempotent()
def raises(request: HttpRequest) -> HttpResponse:
    told(request)
    raise RuntimeError("a bug")


@idempotent()
async def araises(request: HttpRequest) -> HttpResponse:
    await atold(request)
    raise RuntimeError("a bug")


@idempotent()
def empty(request: HttpRequest) -> HttpResponse:
    told(request)
    response = HttpResponse(status=204)
    del response.headers["Content-Type"]
    return response


class Linked(HttpResponse):
    """A response with two fields of one name, which Django's own cannot have."""

    def items(self) -> Any:
        return [*super().items(), ("Link", "</a>; rel=prev"), ("Link", "</b>; rel=next")]


@idempotent()
def linked(request: HttpRequest) -> HttpResponse:
    ran.append(request.path_info)
    return Linked("hello")


@idempotent()
def writes(request: HttpRequest) -> HttpResponse:
    request.session["x"] = len(ran)
    return told(request)


@idempotent()
async def awrites(request: HttpRequest) -> HttpResponse:
    await request.session.aset("x", len(ran))
    return await atold(request)


def _sized(response: Any, request: HttpRequest) -> Any:
    if "length" in request.GET:
        response.headers["Content-Length"] = request.GET["length"]
    return response


@idempotent()
def stream(request: HttpRequest) -> StreamingHttpResponse:
    ran.append(request.path_info)
    return _sized(StreamingHttpResponse(iter([b"first ", b"last"])), request)


@idempotent()
async def astream(request: HttpRequest) -> StreamingHttpResponse:
    ran.append(request.path_info)
    return _sized(StreamingHttpResponse(_parts([b"first ", b"last"])), request)


@idempotent()
def endless(request: HttpRequest) -> StreamingHttpResponse:
    ran.append(request.path_info)

    def body() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    return StreamingHttpResponse(body())


@idempotent()
def file(request: HttpRequest) -> FileResponse:
    ran.append(request.path_info)
    with_path = hooks.get("file")
    opened: Any = with_path.open("rb") if with_path is not None else BytesIO(b"the file")
    return FileResponse(opened, as_attachment=True, filename="order.txt")


@idempotent()
def form(request: HttpRequest) -> HttpResponse:
    ran.append(request.path_info)
    files = {name: each.read().decode() for name, each in request.FILES.items()}
    return JsonResponse({"post": dict(request.POST.items()), "files": files})


@idempotent()
async def aform(request: HttpRequest) -> HttpResponse:
    return form.__wrapped__(request)


@idempotent()
def read(request: HttpRequest) -> HttpResponse:
    ran.append(request.path_info)
    return HttpResponse(request.read(3) + b"|" + request.read())


@dropped
@idempotent(required=True)
def late_form(request: HttpRequest) -> HttpResponse:
    ran.append(request.path_info)
    return JsonResponse(dict(request.POST.items()))


def _reads(view: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that consumes the body, and drops marks."""

    def inner(request: HttpRequest) -> Any:
        _ = request.read(1)
        return view(request)

    return inner


@_reads
@idempotent()
def consumed(request: HttpRequest) -> HttpResponse:
    ran.append(request.path_info)
    return HttpResponse()


@idempotent(scope="client")
def by_client(request: HttpRequest) -> HttpResponse:
    return told(request)


@idempotent(scope="user")
def by_user(request: HttpRequest) -> HttpResponse:
    return told(request)


@idempotent(scope="call:site_of_requests.named")
def by_callable(request: HttpRequest) -> HttpResponse:
    return told(request)


def bind(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    session.login(request.GET["user"])
    return HttpResponse()


def start(request: HttpRequest) -> HttpResponse:
    request.session["started"] = True
    return HttpResponse()


def token(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_token(request))


def refuses(request: HttpRequest) -> HttpResponse:
    with mw.locks.lock("waiting", wait=0):
        return HttpResponse()


async def arefuses(request: HttpRequest) -> HttpResponse:
    async with amw.locks.lock("waiting", wait=0):
        return HttpResponse()


async def _parts(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


class AtAnotherPlace:
    """A middleware that sends requests to another URLconf."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        request.urlconf = elsewhere
        return self.get_response(request)


@async_only_middleware
def async_only(get_response: Any) -> Any:
    """A middleware that has Django run those around it on the event loop, whatever stands inside."""

    async def middleware(request: Any) -> Any:
        return await get_response(request)

    return middleware


elsewhere = (
    path("function/<int:order_id>/", function),
    path("afunction/<int:order_id>/", afunction),
    path("cancelled/", cancelled),
)

misspelt = (path("orders/<int:order>/", function), re_path(r"^again/(\d+)/$", function))

urlpatterns = [
    *[
        path(f"{name}/<int:order_id>/", view)
        for name, view in (
            ("function", function),
            ("afunction", afunction),
            ("above", above),
            ("below", below),
            ("hidden", hidden),
            ("ahidden", ahidden),
            ("OnUrl", both(bare)),
            ("OnUrlOfClass", both(Plain.as_view())),
            ("OnUrlOfAsyncClass", both(APlain.as_view())),
            ("OnClass", OnClass.as_view()),
            ("OnDispatch", OnDispatch.as_view()),
            ("OnMethod", OnMethod.as_view()),
            ("AOnClass", AOnClass.as_view()),
            ("AOnDispatch", AOnDispatch.as_view()),
            ("AOnMethod", AOnMethod.as_view()),
            ("ruled", ruled),
        )
    ],
    path("in/<int:order_id>/", include(([path("function/", function), path("afunction/", afunction)], "inside"))),
    path("of_number/<int:thing>/", of_thing),
    path("of_uuid/<uuid:thing>/", of_thing),
    path("of_size/<size:thing>/", of_thing),
    path("of_option/", of_thing, {"thing": uuid.UUID(int=7)}),
    re_path(r"^of_regex/(?P<thing>\d+)/$", of_thing),
    *[
        path(f"{view.__name__}/", view)
        for view in (
            of_session, of_user, of_callable, of_readers, short, patient, apatient, again, aagain, extended, aextended,
            crash, sleep, locked_stream, alocked_stream, cancelled, lost_in_a_thread, counted, limited_and_locked,
            keyed, akeyed, required, waiting, awaiting, raises, araises, empty, linked, writes, awrites, stream,
            astream, endless, file, form, aform, read, by_client, by_user, by_callable, bind, start, token, refuses,
            arefuses, bare,
        )
    ],
    path("cancelled_late/", cancelled_late),
    path("counted_late/", counted_late),
    path("late_form/", late_form),
    path("consumed/", consumed),
]  # fmt: skip
