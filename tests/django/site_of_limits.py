"""The site that the tests of limits visit: views that are limited, in every way in which Django registers views."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, JsonResponse, StreamingHttpResponse
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View

from redis_mw import current, limited
from redis_mw_django import amw, mw

hooks: dict[str, Any] = {}
"""What a test wants to happen in the middle of a view, by name."""


def kept(view: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator of somebody else's that keeps what is written on a view."""

    @functools.wraps(view)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return inner


def dropped(view: Callable[..., Any]) -> Callable[..., Any]:
    """One that does not."""

    def inner(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return inner


def adropped(view: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def inner(*args: Any, **kwargs: Any) -> Any:
        return await view(*args, **kwargs)

    return inner


def half_dropped(view: Callable[..., Any]) -> Callable[..., Any]:
    """One that keeps a view's name, but not what is written on it."""

    @functools.wraps(view, updated=())
    def inner(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return inner


def free(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


def bare(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


@limited("2/minute")
def function(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


@limited("2/minute")
async def afunction(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


@limited("2/minute")
@kept
def above(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


@kept
@limited("2/minute")
def below(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


@limited("2/minute")
@limited("50/minute", name="wide")
def twice(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


@dropped
@limited("2/minute")
def hidden(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


@adropped
@limited("2/minute")
async def ahidden(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


@limited("50/minute")
@half_dropped
@limited("2/minute")
def half_hidden(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


@dropped
@limited("2/minute", by="route")
def hidden_by_route(request: HttpRequest, number: int = 0) -> HttpResponse:
    return HttpResponse("hello")


class Plain(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("hello")

    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("posted")


@limited("2/minute")
class OnClass(Plain):
    pass


class OfSubclass(OnClass):
    pass


@method_decorator(limited("2/minute"), name="dispatch")
class OnDispatch(Plain):
    pass


@method_decorator([limited("50/minute"), kept, limited("2/minute")], name="dispatch")
class OnDispatchTwice(Plain):
    pass


class OnGet(Plain):
    @method_decorator(limited("2/minute"))
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("hello")


class OnGetTwice(Plain):
    @method_decorator(limited("50/minute"))
    @method_decorator(limited("2/minute"))
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("hello")


class OnMethod(Plain):
    @limited("2/minute")
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("hello")


class APlain(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("hello")


@limited("2/minute")
class AOnClass(APlain):
    pass


@method_decorator(limited("2/minute"), name="dispatch")
class AOnDispatch(APlain):
    pass


class AOnGet(View):
    @method_decorator(limited("2/minute"))
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("hello")


def by_header(request: HttpRequest) -> str | None:
    """What a limit of the settings counts by."""
    return request.GET.get("who")


def by_plan(request: HttpRequest) -> str | None:
    """The rate of a limit of the settings."""
    return {"small": "1/minute", "large": "3/minute"}.get(request.GET.get("plan", ""))


def by_length(response: HttpResponse) -> int:
    """How a limit of the settings counts a response."""
    return len(response.content)


def login(request: HttpRequest) -> HttpResponse:
    if "between" in hooks:
        hooks["between"]()
    return HttpResponse(status=200 if request.GET.get("password") == "right" else 403)


def bind(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    session.login(request.GET["user"])
    return HttpResponse()


def read(request: HttpRequest) -> HttpResponse:
    return JsonResponse(dict(request.session.items()))


async def aread(request: HttpRequest) -> HttpResponse:
    return JsonResponse(dict(await request.session.aitems()))


def reload(request: HttpRequest) -> HttpResponse:
    return JsonResponse(request.session.load())


def write(request: HttpRequest) -> HttpResponse:
    request.session["x"] = request.GET["x"]
    return HttpResponse()


def status(request: HttpRequest, status: int) -> HttpResponse:
    return HttpResponseNotModified() if status == 304 else HttpResponse(status=status)


def crash(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a bug")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    here: Any = request

    def body() -> Iterator[bytes]:
        yield b"first "
        if "charge" in request.GET:
            here.redis_mw.limits.charge(int(request.GET["charge"]))
        yield b"last"

    return StreamingHttpResponse(body())


async def astream(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[bytes]:
        yield b"first "
        await asyncio.sleep(float(request.GET.get("seconds", 0)))
        yield b"last"

    return StreamingHttpResponse(body())


async def sleep(request: HttpRequest) -> HttpResponse:
    hooks["asleep"].set()
    await asyncio.sleep(60)
    return HttpResponse()


def context(request: HttpRequest) -> HttpResponse:
    here: Any = request
    assert current() is here.redis_mw
    limiter = current().limits.limiter("2/minute")
    found = [verdict.name for verdict in current().verdicts]
    return JsonResponse({"verdicts": found, "hits": [bool(limiter.hit()) for _ in range(3)]})


async def acontext(request: HttpRequest) -> HttpResponse:
    here: Any = request
    assert current() is here.redis_mw
    limiter = current().limits.limiter("2/minute")
    found = [verdict.name for verdict in current().verdicts]
    return JsonResponse({"verdicts": found, "hits": [bool(await limiter.hit()) for _ in range(3)]})


def explained(request: HttpRequest) -> HttpResponse:
    return JsonResponse([[each.by, each.verdict.remaining] for each in mw.limits.explain(request)], safe=False)


async def aexplained(request: HttpRequest) -> HttpResponse:
    return JsonResponse([[each.by, each.verdict.remaining] for each in await amw.limits.explain(request)], safe=False)


def refused(request: HttpRequest, refusal: Any) -> HttpResponse | None:
    """``REDIS_MW_HANDLER``."""
    if "ours" in request.GET:
        return None
    return HttpResponse(f"slow down, {len(refusal.verdicts)}", status=refusal.status)


def refused_by_database(request: HttpRequest, refusal: Any) -> HttpResponse:
    """One that may only be called in a thread."""
    with pytest.raises(RuntimeError):
        _ = asyncio.get_running_loop()
    return HttpResponse(status=refusal.status)


class AtAnotherPlace:
    """A middleware that sends requests to another URLconf."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        request.urlconf = elsewhere
        return self.get_response(request)


elsewhere = (
    *(path(f"{view.__name__}/", view) for view in (function, afunction, twice)),
    path("hidden_by_route/<int:number>/", hidden_by_route),
    path("hidden_by_name/", hidden_by_route),
)
included = (list(elsewhere), "inside")

urlpatterns = [
    path("", free),
    *[
        path(f"{view.__name__}/", view)
        for view in (
            free, bare, function, afunction, twice, login, bind, read, aread, reload, write, crash, stream, astream,
            sleep, context, acontext, explained, aexplained,
        )
    ],
    *[
        path(f"{name}/", view)
        for name, view in (
            ("above", above),
            ("below", below),
            ("hidden", hidden),
            ("ahidden", ahidden),
            ("half_hidden", half_hidden),
            ("OnUrl", limited("2/minute")(bare)),
            ("OnUrlOfClass", limited("2/minute")(Plain.as_view())),
            ("OnUrlOfAsyncClass", limited("2/minute")(APlain.as_view())),
        )
    ],
    *[
        path(f"{view.__name__}/", view.as_view())
        for view in (
            OnClass, OfSubclass, OnDispatch, OnDispatchTwice, OnGet, OnGetTwice, OnMethod, AOnClass, AOnDispatch,
            AOnGet,
        )
    ],
    path("status/<int:status>/", status),
    path("inside/", include(included)),
]  # fmt: skip

in_languages = tuple(i18n_patterns(*elsewhere))
