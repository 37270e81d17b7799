"""The site that the tests of the page cache visit, its views registered in every way that Django knows."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from typing import Any

from django.contrib import messages
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.utils.translation import get_language
from django.views import View
from django.views.decorators.cache import cache_control, cache_page, never_cache
from django.views.decorators.http import condition, etag
from django.views.decorators.vary import vary_on_headers
from site_of_limits import adropped, dropped, kept

from redis_mw import cached, current, idempotent, limited

hooks: dict[str, Any] = {}
"""What a test wants to happen in the middle of a view, by name."""
ran: list[str] = []
"""The paths of the requests whose views have run."""
closed: list[str] = []
"""The paths of the streams that were closed."""


def told(request: HttpRequest, **more: Any) -> JsonResponse:
    """What a view sees of a request, and how often one of its path has run."""
    ran.append(request.path)
    if "inside" in hooks:
        hooks["inside"](request)
    response = JsonResponse(
        {
            "runs": ran.count(request.path),
            "host": request.get_host(),
            "scheme": request.scheme,
            "cookies": sorted(request.COOKIES),
            "cookie": request.headers.get("Cookie", ""),
            "fields": {name: value for name, value in sorted(request.headers.items()) if name.startswith("X-")},
            "range": request.headers.get("Range", ""),
            **more,
        }
    )
    for name, value in hooks.get("fields", {}).items():
        response.headers[name] = value
    response.status_code = hooks.get("status", 200)
    response._resource_closers += hooks.get("closers", [])
    return response


async def atold(request: HttpRequest, **more: Any) -> JsonResponse:
    if "ainside" in hooks:
        await hooks["ainside"](request)
    return told(request, **more)


# Ways of registering


@cached(ttl=60, stale=60, stale_if_error=600, tags=["product:{id}"])
def product(request: HttpRequest, id: int) -> HttpResponse:
    return told(request, id=id)


@cached(ttl=60, stale=60, stale_if_error=600, tags=["product:{id}"])
async def aproduct(request: HttpRequest, id: int) -> HttpResponse:
    return await atold(request, id=id)


keep = cached(ttl=60)


@keep
@kept
def above(request: HttpRequest) -> HttpResponse:
    return told(request)


@kept
@keep
def below(request: HttpRequest) -> HttpResponse:
    return told(request)


@dropped
@keep
def hidden(request: HttpRequest) -> HttpResponse:
    return told(request)


@adropped
@keep
async def ahidden(request: HttpRequest) -> HttpResponse:
    return await atold(request)


class Plain(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return told(request)


class APlain(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return await atold(request)


@keep
class OnClass(Plain):
    pass


@method_decorator(keep, name="dispatch")
class OnDispatch(Plain):
    pass


class OnMethod(View):
    @method_decorator(keep)
    def get(self, request: HttpRequest) -> HttpResponse:
        return told(request)

    def post(self, request: HttpRequest) -> HttpResponse:
        return told(request)


@method_decorator(keep, name="dispatch")
class AOnDispatch(APlain):
    pass


def bare(request: HttpRequest) -> HttpResponse:
    """For rules."""
    return told(request)


async def abare(request: HttpRequest) -> HttpResponse:
    """Nobody caches it."""
    return await atold(request)


def elsewhere(get_response: Any) -> Any:
    """Middleware that sends requests to views of another URLconf."""

    def middleware(request: HttpRequest) -> Any:
        request.urlconf = ELSEWHERE  # type: ignore[attr-defined]
        return get_response(request)

    return middleware


ELSEWHERE = (path("above/", bare), path("below/", keep(lambda request: told(request, elsewhere=True))))


# What is kept, and what is not


@keep
def visitor(request: HttpRequest) -> HttpResponse:
    """Looks at the session where it is told to."""
    if "session" in request.GET:
        _ = request.session.get("x")
    if "user" in request.GET:
        request.session["x"] = str(current().session.user_id)
    return told(request)


@cached(ttl=60)
@limited("100/minute")
def limited_page(request: HttpRequest) -> HttpResponse:
    return told(request)


@keep
def form(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"token {get_token(request)}", content_type="text/html")


@keep
def setting(request: HttpRequest) -> HttpResponse:
    response = told(request)
    response.set_cookie("theme", "dark")
    return response


@cached(ttl=60, cookies=["django_language"])
def in_language(request: HttpRequest) -> HttpResponse:
    return told(request, language=get_language())


@keep
def in_some_language(request: HttpRequest) -> HttpResponse:
    return told(request, language=get_language())


@cached(ttl=60, key="call:site_of_pages.key_of")
def keyed(request: HttpRequest) -> HttpResponse:
    return told(request)


def key_of(request: HttpRequest) -> str | None:
    assert isinstance(request, HttpRequest)
    return request.GET.get("who") or None


@cached(ttl=60, negative={404: 30})
def absent(request: HttpRequest) -> HttpResponse:
    ran.append(request.path)
    raise Http404("no such thing")


@keep
def grouped(request: HttpRequest) -> HttpResponse:
    current().cache.tag("spring")
    response = told(request)
    response.headers["Cache-Groups"] = '"summer"'
    return response


@keep
def skipped(request: HttpRequest) -> HttpResponse:
    current().cache.skip()
    return told(request)


@keep
@vary_on_headers("X-Flavour")
def flavoured(request: HttpRequest) -> HttpResponse:
    return told(request, flavour=request.headers.get("X-Flavour"))


@keep
def large(request: HttpRequest) -> HttpResponse:
    ran.append(request.path)
    return HttpResponse(b"x" * 5000)


@keep
def compressible(request: HttpRequest) -> HttpResponse:
    ran.append(request.path)
    return HttpResponse(f"{len(ran)} " + "words " * 1000)


@keep
@etag(lambda request: '"mine"')
def tagged(request: HttpRequest) -> HttpResponse:
    return told(request)


@condition(etag_func=lambda request: hooks.get("etag", '"v1"'))
def checked(request: HttpRequest) -> HttpResponse:
    """Knows whether what somebody has is still right. For rules."""
    return told(request)


@keep
@never_cache
def never(request: HttpRequest) -> HttpResponse:
    return told(request)


@keep
@cache_control(private=True)
def private(request: HttpRequest) -> HttpResponse:
    return told(request)


@cached()
@cache_control(max_age=60)
def by_its_own_word(request: HttpRequest) -> HttpResponse:
    return told(request)


@keep
@cache_page(60)
def twice(request: HttpRequest) -> HttpResponse:
    return told(request)


@keep
def said(request: HttpRequest) -> HttpResponse:
    if "say" in request.GET:
        messages.success(request, "well done")
    return told(request, messages=[str(each) for each in messages.get_messages(request)])


@keep
def failing(request: HttpRequest) -> HttpResponse:
    ran.append(request.path)
    raise ValueError("out of order")


# Streams


class Parts:
    """A body that notes when it is closed."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._left = iter((b"one,", b"two,", b"three"))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        part = next(self._left)
        if "part" in hooks:
            hooks["part"](self._request, part)
        return part

    def close(self) -> None:
        closed.append(self._request.path)


@keep
def streamed(request: HttpRequest) -> StreamingHttpResponse:
    ran.append(request.path)
    response = StreamingHttpResponse(Parts(request))
    if "etag" in request.GET:
        response.headers["ETag"] = '"of-a-stream"'
    return response


@keep
async def astreamed(request: HttpRequest) -> StreamingHttpResponse:
    ran.append(request.path)

    async def body() -> AsyncIterator[bytes]:
        for part in (b"one,", b"two,", b"three"):
            if "apart" in hooks:
                await hooks["apart"](request, part)
            await asyncio.sleep(0)
            yield part

    response = StreamingHttpResponse(body())
    if "etag" in request.GET:
        response.headers["ETag"] = '"of-a-stream"'
    return response


@keep
def file(request: HttpRequest) -> FileResponse:
    ran.append(request.path)
    return FileResponse(BytesIO(b"a file"), filename="a.txt")


@keep
def late_session(request: HttpRequest) -> StreamingHttpResponse:
    """Looks at the session when its head has been judged."""
    ran.append(request.path)

    def body() -> Iterator[bytes]:
        yield b"one,"
        yield f"{request.session.get('x')}".encode()

    return StreamingHttpResponse(body())


# What makes pages wrong


def edit(request: HttpRequest) -> HttpResponse:
    return JsonResponse({}, headers=hooks.get("told", {}), status=hooks.get("answers", 200))


def edit_with_session(request: HttpRequest) -> HttpResponse:
    request.session["edited"] = "1"
    return edit(request)


@idempotent()
def edit_once(request: HttpRequest) -> HttpResponse:
    return edit(request)


class Thing(View):
    @method_decorator(cached(ttl=60))
    def get(self, request: HttpRequest) -> HttpResponse:
        return told(request)

    def post(self, request: HttpRequest) -> HttpResponse:
        return edit_with_session(request) if "session" in request.GET else edit(request)


class AThing(View):
    @method_decorator(cached(ttl=60))
    async def get(self, request: HttpRequest) -> HttpResponse:
        return await atold(request)

    async def post(self, request: HttpRequest) -> HttpResponse:
        return edit(request)


def start(request: HttpRequest) -> HttpResponse:
    """Begins a session."""
    request.session["x"] = "secret"
    return HttpResponse()


urlpatterns = [
    path("product/<int:id>/", product),
    path("aproduct/<int:id>/", aproduct),
    path("profile/", visitor),
    path("shelf/<path:rest>", keep(lambda request, rest: told(request, rest=rest))),
    path("inside/<int:shop>/", include(([
        path("<slug:name>/", keep(lambda request, shop, name: told(request, shop=shop, name=name)), name="one"),
    ], "inside"), namespace="inside")),
    path("hidden/", hidden),
    path("ahidden/", ahidden),
    path("OnClass/", OnClass.as_view()),
    path("OnDispatch/", OnDispatch.as_view()),
    path("OnMethod/", OnMethod.as_view()),
    path("AOnDispatch/", AOnDispatch.as_view()),
    path("thing/", Thing.as_view()),
    path("athing/", AThing.as_view()),
    *[
        path(f"{view.__name__}/", view)
        for view in (
            above, below, bare, abare, visitor, limited_page, form, setting, in_language, in_some_language,
            keyed, absent, grouped, skipped, flavoured, large, compressible, tagged, checked, never, private,
            by_its_own_word, twice, said, failing, streamed, astreamed, file, late_session, edit, edit_with_session,
            edit_once, start,
        )
    ],
]  # fmt: skip
