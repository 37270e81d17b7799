"""Request locks under Starlette and FastAPI: who runs alone, how it is found, what it costs, how it ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any
from uuid import UUID

import pytest
from asgi_site import open_site
from by_hand import soon, until
from fastapi import APIRouter, FastAPI, Path
from redis import Redis
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from redis_mw import (
    Event,
    LeaseLost,
    Limit,
    Lock,
    Locks,
    LockTimeout,
    QueueFull,
    Rule,
    Settings,
    current,
    locked,
    replace,
)
from redis_mw.keys import digest
from redis_mw.testing import count_round_trips, outage
from redis_mw_starlette import RedisMiddleware

Serve = Callable[..., Any]


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def site(redis_mw_settings: Settings, heard: list[Event]) -> Serve:
    """``async with site(*routes, rules=..., **of Locks)``: a site whose background work is over when it is left."""

    def serve(*routes: Any, rules: Any = (), app: Any = None, on_refuse: Any = None, **locks: Any) -> Any:
        settings = replace(
            redis_mw_settings, rules=list(rules), locks=Locks(**{"patience": 10, **locks}), on_event=[heard.append]
        )
        return open_site(app or Starlette(routes=list(routes)), settings, on_refuse=on_refuse)

    return serve


class Section:
    """What one request may be in at a time, and where it waits for the test."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.fences: list[int] = []
        self.entered = asyncio.Event()
        self.leave = asyncio.Event()
        self.leave.set()

    async def view(self, request: Request) -> Response:
        self.inside += 1
        self.most = max(self.most, self.inside)
        lease = current().lease
        self.fences.append(lease.fence if lease is not None else 0)
        self.entered.set()
        _ = await self.leave.wait()
        await asyncio.sleep(0)
        self.inside -= 1
        return JSONResponse({"names": list(lease.names) if lease is not None else [], "degraded": bool(lease)})


def holders(settings: Settings, name: str) -> int:
    """How many hold a lock just now."""
    with Redis.from_url(str(settings.url)) as redis:
        key = f"{settings.prefix}:k1:{{{digest(name)}}}:h"
        return int(redis.zcount(key, time.time_ns() // 1000, "+inf"))


async def is_free(settings: Settings, name: str) -> None:
    """Wait until nobody holds it: it is given back after the response."""
    await soon(lambda: not holders(settings, name), "the lock is held for ever")


def waiters(settings: Settings, name: str) -> int:
    """How many wait for one."""
    with Redis.from_url(str(settings.url)) as redis:
        return int(redis.zcard(f"{settings.prefix}:k1:{{{digest(name)}}}:q"))


# One at a time


@pytest.mark.asyncio
async def test_requests_to_one_lock_never_overlap_and_their_fences_grow(site: Serve) -> None:
    section = Section()
    async with site(Route("/orders/{id:int}", section.view, methods=["POST"]), rules=[LOCK_ORDERS]) as shop:
        replies = await asyncio.gather(*[shop.post("/orders/7") for _ in range(25)])
    assert {reply.status_code for reply in replies} == {200}
    assert section.most == 1
    assert section.fences == sorted(set(section.fences)) and len(section.fences) == 25


LOCK_ORDERS = Rule("/orders/{id}", methods=["POST"], lock=Lock("order:{id}", wait=20))


@pytest.mark.asyncio
async def test_requests_to_different_locks_run_side_by_side(site: Serve) -> None:
    section = Section()
    section.leave.clear()
    async with site(Route("/orders/{id:int}", section.view, methods=["POST"]), rules=[LOCK_ORDERS]) as shop:
        asked = [asyncio.ensure_future(shop.post(f"/orders/{id}")) for id in range(5)]
        await soon(lambda: section.inside == 5, "not side by side")
        section.leave.set()
        replies = await asyncio.gather(*asked)
    assert [reply.json()["names"] for reply in replies] == [[f"order:{id}"] for id in range(5)]


@pytest.mark.asyncio
async def test_readers_share_and_a_writer_is_alone(site: Serve) -> None:
    readers, writer = Section(), Section()
    readers.leave.clear()
    rules = [
        Rule("/page", methods=["GET"], lock=Lock("page", shared=True, wait=20)),
        Rule("/page", methods=["POST"], lock=Lock("page", wait=20)),
    ]
    routes = [Route("/page", readers.view), Route("/page", writer.view, methods=["POST"])]
    async with site(*routes, rules=rules) as shop:
        reading = [asyncio.ensure_future(shop.get("/page")) for _ in range(3)]
        await soon(lambda: readers.inside == 3, "readers do not share")
        writing = asyncio.ensure_future(shop.post("/page"))
        await soon(lambda: waiters(shop.mw.settings, "page"), "the writer does not wait")
        assert writer.inside == 0
        readers.leave.set()
        replies = await asyncio.gather(*reading, writing)
    assert [reply.status_code for reply in replies] == [200] * 4


# How the lock is found


def a_view() -> Any:
    """A fresh one: decorators write on the function itself."""

    async def view(request: Request) -> Response:
        return JSONResponse({"names": list(current().lease.names)})

    return view


def foreign(endpoint: Any) -> Any:
    """A decorator that drops what others wrote on a function."""

    async def wrapper(request: Request) -> Response:
        return await endpoint(request)

    return wrapper


@locked("order:{id}")
class Decorated(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return JSONResponse({"names": list(current().lease.names)})


class ByMethod(HTTPEndpoint):
    @locked("order:{id}")
    async def get(self, request: Request) -> Response:
        return JSONResponse({"names": list(current().lease.names)})


def in_a_thread(request: Request) -> Response:
    return JSONResponse({"names": list(current().lease.names)})


WAYS: dict[str, tuple[Callable[[], Any], int]] = {
    "a function": (lambda: [Route("/x/{id:int}", locked("order:{id}")(a_view()))], 1),
    "a function in a thread": (lambda: [Route("/x/{id:int}", locked("order:{id}")(in_a_thread))], 1),
    "a class": (lambda: [Route("/x/{id:int}", Decorated)], 1),
    "a method": (lambda: [Route("/x/{id:int}", ByMethod)], 1),
    "a mounted application": (
        lambda: [Mount("/x", Starlette(routes=[Route("/{id:int}", locked("order:{id}")(a_view()))]))],
        1,
    ),
    "a parameter of the mount": (
        lambda: [Mount("/x/{id:int}", routes=[Route("/", locked("order:{id}")(a_view()))])],
        1,
    ),
    "under a foreign decorator": (lambda: [Route("/x/{id:int}", foreign(locked("order:{id}")(a_view())))], 1),
    "under one, in a thread": (lambda: [Route("/x/{id:int}", foreign_thread(locked("order:{id}")(in_a_thread)))], 1),
    "twice": (lambda: [Route("/x/{id:int}", locked("order:{id}")(locked("order:{id}")(a_view())))], 1),
}


def foreign_thread(endpoint: Any) -> Any:
    def wrapper(request: Request) -> Response:
        response: Response = endpoint(request)
        return response

    return wrapper


@pytest.mark.asyncio
@pytest.mark.parametrize("way", WAYS)
async def test_a_decorated_view_holds_its_lock_at_one_trip(site: Serve, way: str) -> None:
    routes, trips_of_it = WAYS[way]
    async with site(*routes()) as shop:
        path = "/x/007/" if "mount" in way and "parameter" in way else "/x/007"
        with count_round_trips() as trips:
            reply = await shop.get(path)
        assert (reply.status_code, reply.json()) == (200, {"names": ["order:7"]})
        assert trips.awaited == trips_of_it
        await is_free(shop.mw.settings, "order:7")


@pytest.mark.asyncio
async def test_a_fastapi_endpoint_is_locked_by_what_its_annotations_read(site: Serve) -> None:
    app, router = FastAPI(), APIRouter(prefix="/shop")

    @router.post("/orders/{order_id}/lines/{line}")
    @locked("{order_id}-{line}")
    async def pay(order_id: int, line: Annotated[UUID, Path()]) -> list[str]:
        return list(current().lease.names)

    @app.get("/plain/{name}")
    @locked("plain:{name}")
    def plain(name: str) -> list[str]:
        return list(current().lease.names)

    app.include_router(router)
    line = "6F9619FF-8B86-D011-B42D-00CF4FC964FF"
    async with site(app=app) as shop:
        with count_round_trips() as trips:
            reply = await shop.post(f"/shop/orders/007/lines/{line}")
        assert reply.json() == [f"7-{line.lower()}"] and trips.awaited == 1
        assert (await shop.get("/plain/007")).json() == ["plain:007"]
        assert (await shop.post(f"/shop/orders/seven/lines/{line}")).status_code == 422


@pytest.mark.asyncio
async def test_a_rule_reads_the_path_as_the_route_does(site: Serve) -> None:
    async with site(Route("/orders/{id:int}", a_view()), rules=[Rule("/orders/{id}", lock=Lock("order:{id}"))]) as shop:
        assert (await shop.get("/orders/007")).json() == {"names": ["order:7"]}


@pytest.mark.asyncio
async def test_a_decorator_wins_over_the_rules_and_the_first_rule_over_the_next(site: Serve) -> None:
    rules = [Rule("/own", lock=Lock("rule")), Rule("/{x}", lock=Lock("first")), Rule("/{x}", lock=Lock("second"))]
    async with site(Route("/own", locked("own")(a_view())), Route("/other", a_view()), rules=rules) as shop:
        assert (await shop.get("/own")).json() == {"names": ["own"]}
        assert (await shop.get("/other")).json() == {"names": ["first"]}


@pytest.mark.asyncio
async def test_a_name_may_be_made_by_a_callable_of_the_request(site: Serve) -> None:
    def by_header(request: Request) -> str | None:
        return request.headers.get("x-tenant")

    async with site(Route("/x", locked(by_header)(Section().view))) as shop:
        assert (await shop.get("/x", headers={"x-tenant": "acme"})).json()["names"] == ["acme"]
        with count_round_trips() as trips:
            assert (await shop.get("/x")).json()["names"] == []
        assert trips.awaited == 0


@pytest.mark.asyncio
async def test_a_template_that_the_path_cannot_fill_is_an_error_and_nothing_runs(site: Serve) -> None:
    section = Section()
    async with site(Route("/x/{id}", locked("order:{order}")(section.view))) as shop:
        with pytest.raises(Exception, match=r"no \{order\}"):
            _ = await shop.get("/x/1")
    assert section.fences == []


# By session and by user


async def put(request: Request) -> Response:
    request.session.update(await request.json())
    return JSONResponse({})


async def login(request: Request) -> Response:
    request.session.login("42")
    return JSONResponse({})


@pytest.mark.asyncio
async def test_by_session_costs_no_trip_more_and_by_user_one(site: Serve) -> None:
    routes = [
        Route("/put", put, methods=["POST"]),
        Route("/login", login, methods=["POST"]),
        Route("/mine", locked("cart:{session}")(Section().view)),
        Route("/ours", locked("user:{user}")(Section().view)),
    ]
    async with site(*routes) as shop:
        assert (await shop.get("/mine")).json()["names"] == []
        assert (await shop.get("/ours")).json()["names"] == []
        _ = await shop.post("/put", json={"a": 1})
        with count_round_trips() as trips:
            (name,) = (await shop.get("/mine")).json()["names"]
        assert name.startswith("cart:") and len(name) > 20 and trips.awaited == 1
        assert (await shop.get("/ours")).json()["names"] == []
        _ = await shop.post("/login")
        with count_round_trips() as trips:
            assert (await shop.get("/ours")).json()["names"] == ["user:42"]
        assert trips.awaited == 2


@pytest.mark.asyncio
async def test_a_session_under_a_lock_is_read_after_the_lock_was_taken(site: Serve) -> None:
    """Twenty requests add one each: every one sees what the one before it wrote."""

    async def add(request: Request) -> Response:
        seen = request.session.get("count", 0)
        await asyncio.sleep(0)
        request.session["count"] = seen + 1
        return JSONResponse({"count": seen + 1})

    routes = [
        Route("/put", put, methods=["POST"]),
        Route("/seen", locked("cart:{session}", wait=20)(add), methods=["POST"]),
        Route("/late", foreign(locked("cart:{session}", wait=20)(add)), methods=["POST"]),
    ]
    async with site(*routes) as shop:
        for path in ("/seen", "/late"):
            _ = await shop.post("/put", json={"count": 0})
            replies = await asyncio.gather(*[shop.post(path) for _ in range(20)])
            assert sorted(reply.json()["count"] for reply in replies) == list(range(1, 21))


@pytest.mark.asyncio
async def test_a_locked_request_that_changes_its_session_takes_two_trips(site: Serve) -> None:
    async with site(Route("/put", locked("x")(put), methods=["POST"])) as shop:
        _ = await shop.post("/put", json={"a": 1})
        await is_free(shop.mw.settings, "x")
        with count_round_trips() as trips:
            _ = await shop.post("/put", json={"a": 2})
        assert trips.awaited == 2


# Refusals


@pytest.mark.asyncio
@pytest.mark.parametrize("wait", [0, 0.05])
async def test_who_waits_too_long_gets_a_409_that_says_when_to_come_back(site: Serve, wait: float) -> None:
    section = Section()
    section.leave.clear()
    async with site(Route("/x", locked("x", wait=wait)(section.view))) as shop:
        first = asyncio.ensure_future(shop.get("/x"))
        _ = await section.entered.wait()
        second = await shop.get("/x")
        section.leave.set()
        assert (await first).status_code == 200
    assert second.status_code == 409 and int(second.headers["retry-after"]) >= 1
    assert second.headers["content-type"] == "application/problem+json"
    assert second.json()["title"] == "Conflict" and "x" not in second.json()["detail"].split()
    assert len(section.fences) == 1


@pytest.mark.asyncio
async def test_a_full_queue_is_a_429(site: Serve) -> None:
    section = Section()
    section.leave.clear()
    async with site(Route("/x", locked("x", wait=20)(section.view)), queue=1) as shop:
        first = asyncio.ensure_future(shop.get("/x"))
        _ = await section.entered.wait()
        second = asyncio.ensure_future(shop.get("/x"))
        await soon(lambda: waiters(shop.mw.settings, "x"), "nobody waits")
        third = await shop.get("/x")
        section.leave.set()
        assert (await first).status_code == (await second).status_code == 200
    assert third.status_code == 429 and int(third.headers["retry-after"]) >= 1


@pytest.mark.asyncio
async def test_without_redis_a_locked_request_is_a_503_and_others_run(site: Serve) -> None:
    section = Section()
    async with site(Route("/x", locked("x")(section.view)), Route("/y", Section().view)) as shop:
        with outage(shop.mw):
            reply = await shop.get("/x")
            assert reply.status_code == 503 and int(reply.headers["retry-after"]) >= 1
            assert (await shop.get("/y")).status_code == 200
    assert section.fences == []


@pytest.mark.asyncio
async def test_where_the_settings_say_open_it_runs_unlocked_and_says_so(site: Serve) -> None:
    async def view(request: Request) -> Response:
        lease = current().lease
        return JSONResponse([lease.degraded, lease.fence, lease.lost])

    async with site(Route("/x", locked("x")(view)), on_outage="open") as shop:
        with outage(shop.mw):
            assert (await shop.get("/x")).json() == [True, 0, False]


@pytest.mark.asyncio
async def test_an_application_may_answer_a_refusal_itself(site: Serve) -> None:
    told: list[Any] = []

    def on_refuse(request: Request, refusal: Any) -> Response:
        told.append(refusal)
        return PlainTextResponse("busy", 423)

    section = Section()
    section.leave.clear()
    async with site(Route("/x", locked("x", wait=0)(section.view)), on_refuse=on_refuse) as shop:
        first = asyncio.ensure_future(shop.get("/x"))
        _ = await section.entered.wait()
        assert (await shop.get("/x")).status_code == 423
        section.leave.set()
        _ = await first
    assert [type(each) for each in told] == [LockTimeout] and told[0].names == ("x",)


@pytest.mark.asyncio
async def test_a_429_of_a_limit_gives_the_lock_back_and_a_409_keeps_its_units(site: Serve) -> None:
    section = Section()
    section.leave.clear()
    rule = Rule("/x", limits=[Limit("3/hour", name="few")], lock=Lock("x", wait=0))
    async with site(Route("/x", section.view), rules=[rule]) as shop:
        first = asyncio.ensure_future(shop.get("/x"))
        _ = await section.entered.wait()
        assert [(await shop.get("/x")).status_code for _ in range(3)] == [409, 409, 429]
        section.leave.set()
        assert (await first).status_code == 200
        await is_free(shop.mw.settings, "x")
        assert (await shop.get("/x")).status_code == 429
        await is_free(shop.mw.settings, "x")


@pytest.mark.asyncio
async def test_code_that_waits_too_long_is_answered_alike(site: Serve) -> None:
    async def view(request: Request) -> Response:
        async with request.state.redis_mw.mw.locks.lock("busy", wait=0):
            return PlainTextResponse("never")

    async with site(Route("/x", view)) as shop, shop.mw.locks.lock("busy"):
        reply = await shop.get("/x")
    assert reply.status_code == 409 and "retry-after" in reply.headers
    assert QueueFull(("x",)).status == 429


# How it ends


async def crash(request: Request) -> Response:
    raise RuntimeError("no")


async def stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        assert not current().lease.lost
        for number in range(3):
            yield b"%d" % number

    return StreamingResponse(parts())


@pytest.mark.asyncio
async def test_a_crash_gives_the_lock_back(site: Serve) -> None:
    async with site(Route("/x", locked("x")(crash))) as shop:
        with pytest.raises(RuntimeError, match="no"):
            _ = await shop.get("/x")
        await is_free(shop.mw.settings, "x")


@pytest.mark.asyncio
async def test_a_stream_holds_the_lock_to_its_end(site: Serve) -> None:
    async with site(Route("/x", locked("x")(stream))) as shop:
        assert (await shop.get("/x")).text == "012"
        await is_free(shop.mw.settings, "x")


@pytest.mark.asyncio
async def test_a_client_that_goes_away_gives_the_lock_back_and_leaves_the_queue(site: Serve) -> None:
    section = Section()
    section.leave.clear()
    async with site(Route("/x", locked("x", wait=20)(section.view))) as shop:
        running = asyncio.ensure_future(shop.get("/x"))
        _ = await section.entered.wait()
        waiting = asyncio.ensure_future(shop.get("/x"))
        await soon(lambda: waiters(shop.mw.settings, "x"), "nobody waits")
        waiting.cancel()
        running.cancel()
        _ = await asyncio.gather(waiting, running, return_exceptions=True)
        await soon(lambda: not waiters(shop.mw.settings, "x"), "the queue is not left")
        await is_free(shop.mw.settings, "x")
    assert len(section.fences) == 1


@pytest.mark.asyncio
async def test_a_long_request_keeps_its_lease(site: Serve) -> None:
    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.6)
        return JSONResponse(current().lease.lost)

    async with site(Route("/x", locked("x", ttl=0.3)(slow))) as shop:
        assert (await shop.get("/x")).json() is False


@pytest.mark.asyncio
@pytest.mark.parametrize("late", [False, True])
async def test_a_lock_that_is_lost_cancels_the_request_where_the_policy_says_so(
    site: Serve, heard: list[Event], late: bool
) -> None:
    cancelled = asyncio.Event()

    async def slow(request: Request) -> Response:
        lose(request.state.redis_mw.mw.settings, "x")
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return PlainTextResponse("never")

    view = locked("x", ttl=0.3, cancel_when_lost=True)(slow)
    async with site(Route("/x", foreign(view) if late else view)) as shop:
        reply = await shop.get("/x")
    assert cancelled.is_set() and reply.status_code == 503 and int(reply.headers["retry-after"]) >= 1
    assert "lock.lost" in [event.name for event in heard]


@pytest.mark.asyncio
async def test_elsewhere_the_request_goes_on_and_may_ask(site: Serve) -> None:
    async def slow(request: Request) -> Response:
        lose(request.state.redis_mw.mw.settings, "x")
        await soon(lambda: current().lease.lost, "nobody noticed")
        return PlainTextResponse("told")

    async with site(Route("/x", locked("x", ttl=0.3)(slow))) as shop:
        assert (await shop.get("/x")).text == "told"


def lose(settings: Settings, name: str) -> None:
    """Take the lock away behind its holder's back."""
    with Redis.from_url(str(settings.url)) as redis:
        assert redis.delete(f"{settings.prefix}:k1:{{{digest(name)}}}:h")


@pytest.mark.asyncio
async def test_code_inside_has_the_locks_of_its_request(site: Serve) -> None:
    async def view(request: Request) -> Response:
        mw, outer = request.state.redis_mw.mw, current().lease
        async with mw.locks.lock("x", wait=0) as inner:
            same = inner.fence == outer.fence
        async with mw.locks.lock("x", "y", wait=0) as more:
            return JSONResponse([same, inner.nested, list(more.names), outer.lost])

    async with site(Route("/x", locked("x")(view))) as shop:
        assert (await shop.get("/x")).json() == [True, True, ["y"], False]
        await is_free(shop.mw.settings, "x")
        await is_free(shop.mw.settings, "y")


@pytest.mark.asyncio
async def test_a_lease_that_code_lost_is_answered_with_a_503(site: Serve) -> None:
    async def view(request: Request) -> Response:
        raise LeaseLost(["x"])

    async with site(Route("/x", view)) as shop:
        assert (await shop.get("/x")).status_code == 503


# WebSockets


def test_a_websocket_holds_its_lock_until_it_is_closed(redis_mw_settings: Settings) -> None:
    @locked("room:{name}", wait=0)
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_json(list(current().lease.names))
        _ = await socket.receive()

    middleware = [Middleware(RedisMiddleware, settings=redis_mw_settings)]
    app = Starlette(routes=[WebSocketRoute("/talk/{name}", talk)], middleware=middleware)
    with TestClient(app) as client:
        with client.websocket_connect("/talk/a") as socket:
            assert socket.receive_json() == ["room:a"]
            assert holders(redis_mw_settings, "room:a") == 1
            with pytest.raises(Exception, match=r".*"), client.websocket_connect("/talk/a"):
                pass
        until(lambda: not holders(redis_mw_settings, "room:a"), "the lock is held for ever")
        with client.websocket_connect("/talk/a") as socket:
            assert socket.receive_json() == ["room:a"]
