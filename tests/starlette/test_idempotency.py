"""Idempotency keys under Starlette and FastAPI: what runs once, what is replayed, what a repeat is told instead."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from asgi_site import Site, open_site
from by_hand import soon
from fastapi import FastAPI, Form, UploadFile
from redis import Redis
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from redis_mw import Event, Idempotency, Idempotent, Limit, Lock, Rule, Settings, idempotent, replace
from redis_mw.testing import count_round_trips, outage

Serve = Callable[..., Any]
KEY = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}
PAY = Rule("/pay", idempotency=Idempotent())
SECRET = "a secret of thirty-two characters or more"


class Shop:
    """A site that is asked for ``/pay`` with the key "k", unless told otherwise."""

    def __init__(self, site: Site) -> None:
        self.app, self.mw, self.http = site.app, site.mw, site.http
        self._site = site

    async def post(self, path: str = "/pay", key: str | None = "k", **given: Any) -> httpx2.Response:
        return await self._site.post(path, key, **given)


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def site(redis_mw_settings: Settings, heard: list[Event]) -> Serve:
    """``async with site(view or routes, rules=..., **of Idempotency)``; the view is at ``/pay``."""

    @asynccontextmanager
    async def serve(*views: Any, rules: Any = (PAY,), app: Any = None, **of: Any) -> Any:
        settings = replace(
            redis_mw_settings,
            secret=SECRET,
            rules=list(rules),
            idempotency=Idempotency(**{"patience": 10, **of}),
            on_event=[heard.append],
        )
        routes = [view if isinstance(view, Route) else Route("/pay", view, methods=["POST"]) for view in views]
        async with open_site(app or Starlette(routes=routes), settings) as site:
            yield Shop(site)

    return serve


class Counting:
    """A view that says how often it ran."""

    def __init__(self, status: int = 201) -> None:
        self.runs = 0
        self.status = status
        self.entered = asyncio.Event()
        self.leave = asyncio.Event()
        self.leave.set()

    async def view(self, request: Request) -> Response:
        self.runs += 1
        self.entered.set()
        _ = await self.leave.wait()
        body = (await request.body()).decode()
        return JSONResponse({"run": self.runs, "body": body}, self.status, {"Location": "/orders/1", "X-Own": "a"})


def told(heard: list[Event]) -> list[str]:
    return [event.name.removeprefix("idempotency.") for event in heard if event.feature == "idempotency"]


# Once


@pytest.mark.asyncio
async def test_a_repeat_gets_the_first_answer_and_nothing_runs(site: Serve, heard: list[Event]) -> None:
    counting = Counting()
    async with site(counting.view) as shop:
        with count_round_trips() as trips:
            first = await shop.post(json={"a": 1})
        assert trips.awaited == 2
        with count_round_trips() as trips:
            again = await shop.post(json={"a": 1})
        assert trips.awaited == 1
    assert (first.status_code, again.status_code, counting.runs) == (201, 201, 1)
    assert again.content == first.content and "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    for name in ("content-type", "location", "x-own", "content-length"):
        assert again.headers[name] == first.headers[name]
    assert told(heard) == ["first", "replay"]


@pytest.mark.asyncio
async def test_of_many_at_once_one_runs_and_the_others_wait_for_its_answer(site: Serve) -> None:
    counting = Counting()
    counting.leave.clear()
    async with site(counting.view, rules=[Rule("/pay", idempotency=Idempotent(wait=20))]) as shop:
        asked = [asyncio.ensure_future(shop.post(json={"a": 1})) for _ in range(10)]
        await soon(lambda: counting.runs, "nobody runs")
        counting.leave.set()
        replies = await asyncio.gather(*asked)
    assert {reply.status_code for reply in replies} == {201} and {reply.json()["run"] for reply in replies} == {1}
    assert sum("idempotency-replayed" in reply.headers for reply in replies) == 9


@pytest.mark.asyncio
async def test_who_does_not_wait_is_told_that_it_runs(site: Serve) -> None:
    counting = Counting()
    counting.leave.clear()
    async with site(counting.view) as shop:
        first = asyncio.ensure_future(shop.post())
        _ = await counting.entered.wait()
        busy = await shop.post()
        counting.leave.set()
        _ = await first
    assert busy.status_code == 409 and busy.json()["reason"] == "in-progress" and int(busy.headers["retry-after"]) >= 1
    assert busy.headers["content-type"] == "application/problem+json"


@pytest.mark.asyncio
async def test_a_busy_key_and_a_lock_do_not_keep_each_other_waiting(site: Serve) -> None:
    """Whoever waits for a key holds no lock: the one that runs needs it."""
    counting = Counting()
    rule = Rule("/pay", lock=Lock("pay", wait=20), idempotency=Idempotent(wait=20))
    async with site(counting.view, rules=[rule]) as shop:
        replies = await asyncio.gather(*[shop.post(key=f"k{n % 3}") for n in range(30)])
    assert {reply.status_code for reply in replies} == {201} and counting.runs == 3
    assert sum("idempotency-replayed" in reply.headers for reply in replies) == 27


@pytest.mark.asyncio
async def test_the_session_is_written_in_the_batch_that_completes_the_key(site: Serve) -> None:
    async def view(request: Request) -> Response:
        request.session["n"] = request.session.get("n", 0) + 1
        return JSONResponse({"n": request.session["n"]})

    async with site(view) as shop:
        assert (await shop.post(key=None)).json() == {"n": 1}
        with count_round_trips() as trips:
            assert (await shop.post()).json() == {"n": 2}
        assert trips.awaited == 2
        again = await shop.post()
        assert again.json() == {"n": 2} and "set-cookie" not in again.headers
        assert (await shop.post(key="other")).json() == {"n": 3}


@pytest.mark.asyncio
async def test_cookies_are_never_replayed(site: Serve) -> None:
    async def view(request: Request) -> Response:
        request.session.login("42")
        response = PlainTextResponse("in")
        response.set_cookie("own", "1")
        return response

    async with site(view) as shop:
        assert len((await shop.post()).headers.get_list("set-cookie")) == 2
        shop.http.cookies.clear()
        again = await shop.post()
        assert again.headers["idempotency-replayed"] == "true" and "set-cookie" not in again.headers


# What a repeat is told instead


@pytest.mark.asyncio
async def test_the_same_key_for_something_else_is_a_422(site: Serve) -> None:
    counting = Counting()
    async with site(counting.view) as shop:
        _ = await shop.post(json={"a": 1})
        for other in ({"json": {"a": 2}}, {"json": {"a": 1}, "params": {"x": "1"}}, {"content": b'{"a":1}'}):
            reply = await shop.post(**other)
            assert (reply.status_code, reply.json()["reason"]) == (422, "reused")
    assert counting.runs == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("key", "status", "reason"), [(None, 400, "missing"), ("", 400, "malformed"), ("a b", 400, "malformed")]
)
async def test_a_key_must_be_there_where_it_is_required_and_be_one(
    site: Serve, key: str | None, status: int, reason: str
) -> None:
    counting = Counting()
    async with site(counting.view, rules=[Rule("/pay", idempotency=Idempotent(required=True))]) as shop:
        with count_round_trips() as trips:
            reply = await shop.post(key=key)
        assert (reply.status_code, reply.json()["reason"], trips.total) == (status, reason, 0)
    assert counting.runs == 0


@pytest.mark.asyncio
async def test_without_a_key_every_request_runs(site: Serve) -> None:
    counting = Counting()
    async with site(counting.view) as shop:
        with count_round_trips() as trips:
            assert [(await shop.post(key=None)).json()["run"] for _ in range(2)] == [1, 2]
        assert trips.total == 0


async def parts(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b"x" * size


@pytest.mark.asyncio
async def test_a_body_that_is_too_large_is_refused_however_it_comes(site: Serve) -> None:
    counting = Counting()
    async with site(counting.view, max_body=100) as shop:
        for content in (b"x" * 101, parts(60, 60)):
            reply = await shop.post(content=content)
            assert (reply.status_code, reply.json()["reason"]) == (413, "too-large")
        assert counting.runs == 0
        assert (await shop.post(content=parts(50, 50))).json()["body"] == "x" * 100
        assert (await shop.post(key=None, content=b"x" * 101)).status_code == 201


@pytest.mark.asyncio
async def test_a_response_that_was_too_large_to_keep_is_not_made_again(site: Serve) -> None:
    counting = Counting()
    async with site(counting.view, max_response=50) as shop:
        assert (await shop.post(content=b"x" * 60)).status_code == 201
        again = await shop.post(content=b"x" * 60)
    assert again.status_code == 409 and counting.runs == 1
    assert (again.json()["reason"], again.json()["location"]) == ("not-kept", "/orders/1")


@pytest.mark.asyncio
async def test_without_redis_a_request_with_a_key_is_a_503_and_one_without_runs(site: Serve) -> None:
    counting = Counting()
    async with site(counting.view) as shop:
        with outage(shop.mw):
            reply = await shop.post()
            assert (reply.status_code, reply.json()["reason"]) == (503, "unavailable")
            assert int(reply.headers["retry-after"]) >= 1 and counting.runs == 0
            assert (await shop.post(key=None)).status_code == 201


@pytest.mark.asyncio
async def test_where_the_settings_say_open_it_runs_unprotected(site: Serve, heard: list[Event]) -> None:
    counting = Counting()
    async with site(counting.view, on_outage="open") as shop:
        with outage(shop.mw):
            assert [(await shop.post()).json()["run"] for _ in range(2)] == [1, 2]
    assert "degraded" in told(heard)


# What is kept


@pytest.mark.asyncio
@pytest.mark.parametrize(("status", "runs"), [(200, 1), (404, 1), (422, 1), (429, 2), (409, 2), (500, 2), (503, 2)])
async def test_which_answers_are_kept(site: Serve, status: int, runs: int) -> None:
    counting = Counting(status)
    async with site(counting.view) as shop:
        assert [(await shop.post()).status_code for _ in range(2)] == [status, status]
    assert counting.runs == runs


@pytest.mark.asyncio
async def test_failures_are_kept_where_the_settings_say_so(site: Serve) -> None:
    counting = Counting(500)
    async with site(counting.view, store_5xx=True) as shop:
        _ = await shop.post()
        assert (await shop.post()).headers["idempotency-replayed"] == "true"
    assert counting.runs == 1


@pytest.mark.asyncio
async def test_an_exception_gives_the_key_back(site: Serve) -> None:
    runs: list[int] = []

    async def view(request: Request) -> Response:
        runs.append(1)
        if len(runs) == 1:
            raise RuntimeError("no")
        return PlainTextResponse("yes")

    async with site(view) as shop:
        with pytest.raises(RuntimeError, match="no"):
            _ = await shop.post()
        await settled(shop)
        assert (await shop.post()).text == "yes"


async def settled(shop: Shop) -> None:
    """Wait until no claim is under way: it is given back after the response."""
    with Redis.from_url(str(shop.mw.settings.url)) as redis:
        keys = f"{shop.mw.settings.prefix}:i1:*"
        await soon(lambda: not list(redis.scan_iter(keys)), "the claim is never given back")


@pytest.mark.asyncio
async def test_an_http_exception_is_an_answer(site: Serve) -> None:
    runs: list[int] = []

    async def view(request: Request) -> Response:
        runs.append(1)
        raise HTTPException(404, "nothing there")

    async with site(view) as shop:
        replies = [await shop.post() for _ in range(2)]
    assert [(reply.status_code, reply.text) for reply in replies] == [(404, "nothing there")] * 2 and len(runs) == 1


@pytest.mark.asyncio
async def test_redirections_and_empty_answers_are_replayed(site: Serve) -> None:
    async def elsewhere(request: Request) -> Response:
        return RedirectResponse("/orders/1", 303)

    async def nothing(request: Request) -> Response:
        return Response(status_code=204)

    routes = [Route("/a", elsewhere, methods=["POST"]), Route("/b", nothing, methods=["POST"])]
    async with site(*routes, rules=[Rule("/{x}", idempotency=Idempotent())]) as shop:
        for path, status in (("/a", 303), ("/b", 204)):
            _, again = await shop.post(path, path[1:]), await shop.post(path, path[1:])
            assert again.status_code == status and again.headers["idempotency-replayed"] == "true"
            assert again.headers.get("location") == ("/orders/1" if status == 303 else None)
            assert ("content-length" in again.headers) is (status == 303)


@pytest.mark.asyncio
async def test_fields_of_one_name_are_all_replayed(site: Serve) -> None:
    async def view(request: Request) -> Response:
        response = PlainTextResponse("linked")
        response.headers.append("Link", "</a>; rel=next")
        response.headers.append("Link", "</b>; rel=prev")
        return response

    async with site(view) as shop:
        _, again = await shop.post(), await shop.post()
    assert again.headers.get_list("link") == ["</a>; rel=next", "</b>; rel=prev"]


@pytest.mark.asyncio
async def test_a_replay_tells_of_limits_as_they_are_now(site: Serve) -> None:
    counting = Counting()
    rule = Rule("/pay", limits=[Limit("3/hour", name="few")], idempotency=Idempotent())
    async with site(counting.view, rules=[rule]) as shop:
        replies = [await shop.post() for _ in range(4)]
    assert [reply.status_code for reply in replies] == [201, 201, 201, 429]
    assert [reply.headers["ratelimit"].partition(";t")[0] for reply in replies[:3]] == [
        f'"few";r={left}' for left in (2, 1, 0)
    ]


# Streams and files


@pytest.mark.asyncio
async def test_a_stream_is_kept_before_its_end_is_sent(site: Serve) -> None:
    async def view(request: Request) -> Response:
        return StreamingResponse(parts(3, 4, 5), 201, {"X-Own": "a"})

    async with site(view) as shop:
        with count_round_trips() as trips:
            first = await shop.post()
        assert trips.awaited == 2
        again = await shop.post()
    assert first.text == again.text == "x" * 12 and again.headers["x-own"] == "a"
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.asyncio
@pytest.mark.parametrize("announced", [True, False])
async def test_whoever_has_all_bytes_finds_the_key_completed(site: Serve, announced: bool) -> None:
    """Seen by a server that asks again the moment it has the last byte, while the application still goes on."""
    headers = {"Content-Length": "12"} if announced else {}

    async def view(request: Request) -> Response:
        return StreamingResponse(parts(3, 4, 5), 201, headers)

    async with site(view) as shop:
        seen: list[Any] = []

        async def send(message: Any) -> None:
            size = sum(len(each.get("body", b"")) for each in seen) + len(message.get("body", b""))
            over = size >= 12 if announced else not message.get("more_body", message["type"].endswith("start"))
            seen.append(message)
            if over and not any("again" in each for each in seen):
                seen.append({"again": (await shop.post()).headers.get("idempotency-replayed")})

        await asked(shop, send)
    assert {"again": "true"} in seen


async def asked(shop: Shop, send: Any) -> None:
    """One request, as a server hands it to an application; its client stays."""
    waiting = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        if not waiting:
            _ = await asyncio.Event().wait()
        return waiting.pop()

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/pay", "raw_path": b"/pay", "query_string": b"", "root_path": "", "client": ("127.0.0.1", 123),
        "server": ("site", 80), "headers": [
            (b"host", b"site"), (b"content-length", b"0"), (b"idempotency-key", b"k"),
        ],
    }  # fmt: skip
    await shop.app(scope, receive, send)


@pytest.mark.asyncio
async def test_a_stream_that_is_too_large_is_sent_and_not_kept(site: Serve) -> None:
    async def view(request: Request) -> Response:
        return StreamingResponse(parts(30, 30), 200)

    async with site(view, max_response=50) as shop:
        assert (await shop.post()).text == "x" * 60
        assert (await shop.post()).json()["reason"] == "not-kept"


@pytest.mark.asyncio
async def test_a_stream_that_was_cut_off_is_never_run_twice(site: Serve) -> None:
    runs: list[int] = []

    async def view(request: Request) -> Response:
        runs.append(1)

        async def broken() -> AsyncIterator[bytes]:
            yield b"begun"
            raise RuntimeError("cut")

        return StreamingResponse(broken())

    async with site(view) as shop:
        with pytest.raises(RuntimeError, match="cut"):
            _ = await shop.post()
        with Redis.from_url(str(shop.mw.settings.url)) as redis:
            (key,) = redis.scan_iter(f"{shop.mw.settings.prefix}:i1:*")
            await soon(lambda: redis.hexists(key, "r"), "never completed")
        assert (await shop.post()).json()["reason"] == "not-kept"
    assert len(runs) == 1


@pytest.mark.asyncio
async def test_a_file_is_kept_although_servers_send_files_themselves(site: Serve, tmp_path: Path) -> None:
    path = tmp_path / "receipt.txt"
    _ = path.write_bytes(b"paid")

    async def view(request: Request) -> Response:
        return FileResponse(path)

    async with site(view) as shop:
        first = await shop.post()
        path.unlink()
        again = await shop.post()
    assert first.text == again.text == "paid" and again.headers["idempotency-replayed"] == "true"
    assert again.headers["etag"] == first.headers["etag"]


# How it is found, and whose keys are whose


@pytest.mark.asyncio
async def test_a_decorated_view_runs_once(site: Serve) -> None:
    counting = Counting()

    @idempotent(required=True)
    async def view(request: Request) -> Response:
        return await counting.view(request)

    async with site(view, rules=[]) as shop:
        assert (await shop.post(key=None)).json()["reason"] == "missing"
        with count_round_trips() as trips:
            _ = await shop.post(), await shop.post()
        assert trips.awaited == 3 and counting.runs == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("reads_first", [True, False])
async def test_a_mark_that_was_found_late_is_as_good(site: Serve, reads_first: bool) -> None:
    counting = Counting()
    marked = idempotent()(counting.view)

    async def foreign(request: Request) -> Response:
        if reads_first:
            _ = await request.body()
        response: Response = await marked(request)
        return response

    async with site(foreign, rules=[]) as shop:
        replies = [await shop.post(json={"a": 1}) for _ in range(2)]
        assert [reply.json() for reply in replies] == [{"run": 1, "body": '{"a":1}'}] * 2
        assert replies[1].headers["idempotency-replayed"] == "true"
        assert (await shop.post(json={"a": 2})).json()["reason"] == "reused"


@pytest.mark.asyncio
async def test_fastapi_endpoints_read_forms_and_files_as_ever(site: Serve) -> None:
    app, runs = FastAPI(), []

    @app.post("/pay")
    @idempotent()
    async def pay(amount: int = Form(), receipt: UploadFile | None = None) -> dict[str, Any]:
        runs.append(amount)
        return {"amount": amount, "receipt": (await receipt.read()).decode() if receipt is not None else None}

    @app.post("/plain")
    @idempotent()
    def plain(amounts: list[int]) -> int:
        runs.append(0)
        return sum(amounts)

    async with site(app=app, rules=[]) as shop:
        for given in ({"data": {"amount": 5}}, {"data": {"amount": 5}, "files": {"receipt": b"paid"}}):
            key = str(sorted(given))
            replies = [await shop.post(key=f'"{key}"'.replace("'", ""), **given) for _ in range(2)]
            assert replies[0].json() == replies[1].json() and replies[1].headers["idempotency-replayed"] == "true"
        assert replies[1].json() == {"amount": 5, "receipt": "paid"}
        assert [(await shop.post("/plain", json=[1, 2])).json() for _ in range(2)] == [3, 3]
    assert runs == [5, 5, 0]


@pytest.mark.asyncio
async def test_two_callers_with_one_key_are_two(site: Serve) -> None:
    counting = Counting()
    async with site(counting.view) as shop:
        callers = [{}, {"Authorization": "Bearer a"}, {"Authorization": "Bearer b"}]
        runs = [(await shop.post(headers=fields)).json()["run"] for fields in callers * 2]
    assert runs == [1, 2, 3, 1, 2, 3]


@pytest.mark.asyncio
async def test_a_scope_may_be_the_user_at_one_trip_more(site: Serve) -> None:
    async def login(request: Request) -> Response:
        request.session.login("42")
        return PlainTextResponse("")

    counting = Counting()
    rules = [Rule("/pay", idempotency=Idempotent(scope="user"))]
    async with site(counting.view, Route("/login", login, methods=["POST"]), rules=rules) as shop:
        _ = await shop.post("/login", key=None)
        with count_round_trips() as trips:
            _ = await shop.post()
        assert trips.awaited == 3
        _ = await shop.post("/login", key=None)  # another session of the same user
        assert (await shop.post()).json()["run"] == 1


@pytest.mark.asyncio
async def test_a_scope_may_be_a_template_and_a_callable(site: Serve) -> None:
    def tenant(request: Request) -> str | None:
        return request.headers.get("x-tenant")

    counting = Counting()
    routes = [Route("/t/{tenant}/{x}", counting.view, methods=["POST"]), Route("/c", counting.view, methods=["POST"])]
    rules = [
        Rule("/t/{tenant}/{x}", idempotency=Idempotent(scope="{tenant}")),
        Rule("/c", idempotency=Idempotent(scope=tenant)),
    ]
    async with site(*routes, rules=rules) as shop:
        assert (await shop.post("/t/a/1")).json()["run"] == 1
        assert (await shop.post("/t/b/1", headers={"Authorization": "x"})).json()["run"] == 2
        assert (await shop.post("/t/a/2")).status_code == 422
        for caller, run in (("a", 3), ("b", 4), ("a", 3)):
            assert (await shop.post("/c", headers={"X-Tenant": caller})).json()["run"] == run


@pytest.mark.asyncio
async def test_a_long_run_keeps_its_claim(site: Serve) -> None:
    counting = Counting()
    counting.leave.clear()
    async with site(counting.view, lease=0.3, ttl=60) as shop:
        first = asyncio.ensure_future(shop.post())
        _ = await counting.entered.wait()
        await asyncio.sleep(0.7)
        assert (await shop.post()).json()["reason"] == "in-progress"
        counting.leave.set()
        assert (await first).status_code == 201
    assert counting.runs == 1


@pytest.mark.asyncio
async def test_a_client_that_goes_away_before_the_answer_gives_the_key_back(site: Serve) -> None:
    counting = Counting()
    counting.leave.clear()
    async with site(counting.view) as shop:
        running = asyncio.ensure_future(shop.post())
        _ = await counting.entered.wait()
        running.cancel()
        _ = await asyncio.gather(running, return_exceptions=True)
        await settled(shop)
        counting.leave.set()
        assert (await shop.post()).json()["run"] == 2
