"""Views that say themselves that they are cached, however they are registered and decorated."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from pages_site import status_of
from starlette.endpoints import HTTPEndpoint
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from redis_mw import Cached, LayerMissing, Rule, SettingsError, cached, limited
from redis_mw_starlette import Session

pytestmark = pytest.mark.asyncio
Serve = Any


async def twice(site: Any, path: str = "/page", **fields: str) -> list[str]:
    return [status_of(await site.get(path, **fields)) for _ in range(2)]


def forgets(view: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator of somebody else's that leaves no trace of what it decorates."""

    async def wrapped(request: Any) -> Response:
        return await view(request)

    return wrapped


async def test_functions_and_classes_sync_and_async(serve: Serve) -> None:
    @cached(60)
    async def awaited(request: Any) -> Response:
        return PlainTextResponse("x")

    @cached(60)
    def called(request: Any) -> Response:
        return PlainTextResponse("x")

    @cached(60)
    class Whole(HTTPEndpoint):
        async def get(self, request: Any) -> Response:
            return PlainTextResponse("x")

    class Method(HTTPEndpoint):
        @cached(60)
        async def get(self, request: Any) -> Response:
            return PlainTextResponse("x")

        async def post(self, request: Any) -> Response:
            return PlainTextResponse("done")

    views = {"awaited": awaited, "called": called, "whole": Whole, "method": Method}
    routes = [Mount("/in", routes=[Route(f"/{name}", view) for name, view in views.items()])]
    async with serve(*routes, rules=()) as site:
        for name in views:
            assert await twice(site, f"/in/{name}") == ["fwd=uri-miss;stored", "hit"], name
            assert await site.trips(f"/in/{name}") == 1
        _ = await site.send("POST", "/in/method")
        assert await twice(site, "/in/method") == ["fwd=uri-miss;stored", "hit"], "what is changed is made anew"


async def test_under_fastapi(serve: Serve) -> None:
    app, router = FastAPI(), APIRouter(prefix="/shop")

    @router.get("/{id}")
    @cached(60, tags=["product:{id}"])
    async def product(id: int) -> dict[str, int]:
        return {"id": id}

    @router.get("/mine/{id}")
    @cached(60)
    async def mine(id: int, session: Session) -> dict[str, Any]:
        return {"id": id, "user": session.user_id}

    @cached(60)
    @router.get("/above/it")
    async def above() -> str:
        return "x"

    app.include_router(router)
    async with serve(app=app, rules=()) as site:
        assert await twice(site, "/shop/7") == ["fwd=uri-miss;stored", "hit"]
        assert (await site.get("/shop/7")).json() == {"id": 7}
        await site.mw.cache.drop_tag("product:7")
        assert await twice(site, "/shop/007") == ["fwd=uri-miss;stored", "hit"]
        await site.mw.cache.drop_tag("product:7")
        assert (await twice(site, "/shop/007"))[0] == "fwd=miss;stored", "a tag is of what the view gets"
        assert "hit" not in await twice(site, "/shop/mine/7"), "a session that is injected is looked at"
        assert await twice(site, "/shop/above/it") == ["fwd=uri-miss;stored", "hit"]


async def test_a_mark_that_nobody_saw_in_time_is_heeded_then(serve: Serve) -> None:
    seen = []

    @cached(60)
    async def view(request: Any) -> Response:
        seen.append(request)
        return PlainTextResponse("x")

    async with serve(Route("/page", forgets(view)), rules=()) as site:
        assert await twice(site) == ["fwd=uri-miss;stored", "hit"] and len(seen) == 1
        assert (await site.get("/page?q", cookie="a=1")).text == "x"
        assert await twice(site, "/page?q") == ["fwd=uri-miss;stored", "hit"], (
            "what could be made of a cookie was not kept"
        )


async def test_a_view_comes_before_a_rule(serve: Serve) -> None:
    @cached(60, jitter=0, negative=0)
    async def view(request: Any) -> Response:
        return PlainTextResponse("x")

    async with serve(Route("/page", view), rules=[Rule("/*", cache=Cached(600))]) as site:
        _ = await site.get()
        assert int((await site.get()).headers["cache-status"].rpartition("=")[2]) <= 60


async def test_with_other_decorators(serve: Serve) -> None:
    @limited("3/minute")
    @cached(60)
    async def view(request: Any) -> Response:
        return PlainTextResponse("x")

    async with serve(Route("/page", view), rules=()) as site:
        assert await site.trips() == 2 and await site.trips() == 1
        assert [(await site.get()).status_code for _ in range(2)] == [200, 429]


async def test_without_a_layer_a_cached_view_is_not_called() -> None:
    @cached(60)
    async def view() -> None:
        raise AssertionError

    with pytest.raises(LayerMissing):
        await view()


@pytest.mark.parametrize(
    ("policy", "path"),
    [
        ({"ttl": -1}, "ttl"),
        ({"vary": ["Cookie"]}, "vary"),
        ({"vary": ["*"]}, "vary"),
        ({"methods": ["POST"]}, "methods"),
        ({"tags": ["a{"]}, "tags[0]"),
        ({"tags": [f"t{n}" for n in range(32)]}, "tags"),
        ({"key": "{user"}, "key"),
        ({"negative": {200: 5}}, "negative"),
        ({"jitter": 2}, "jitter"),
    ],
    ids=str,
)
async def test_what_no_cache_could_mean_is_an_error_at_once(policy: dict[str, Any], path: str) -> None:
    with pytest.raises(SettingsError) as caught:
        _ = cached(**{"ttl": 60, **policy})
    assert any(problem.path.startswith(f"cached(...).{path}") for problem in caught.value.problems)
