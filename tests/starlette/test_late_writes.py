"""What is written after the response has started, or while others write: saved when asked, never lost in silence."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from redis_mw import SessionClosed


def test_a_write_in_a_stream_that_nobody_saves_is_an_error(client_of: Callable[..., TestClient]) -> None:
    async def stream(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "one"
            request.session["late"] = 1
            yield "two"

        return StreamingResponse(body())

    client = client_of(Route("/", stream))
    _ = client.post("/put", json={"a": 1})
    with pytest.raises(SessionClosed):
        _ = client.get("/")
    assert client.get("/show").json() == {"a": 1}


def test_a_deep_write_in_a_stream_that_nobody_saves_is_an_error_too(client_of: Callable[..., TestClient]) -> None:
    async def stream(request: Request) -> Response:
        cart = request.session["cart"]

        async def body() -> AsyncIterator[str]:
            yield "one"
            cart.append("late")

        return StreamingResponse(body())

    client = client_of(Route("/", stream))
    _ = client.post("/put", json={"cart": []})
    with pytest.raises(SessionClosed):
        _ = client.get("/")


def test_a_write_in_a_stream_or_a_background_task_goes_by_save(client_of: Callable[..., TestClient]) -> None:
    async def stream(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "one"
            request.session["late"] = 1
            await request.session.save()

        async def after() -> None:
            request.session["later"] = 2
            await request.session.save()

        return StreamingResponse(body(), background=BackgroundTask(after))

    client = client_of(Route("/", stream))
    _ = client.post("/put", json={"a": 1})
    assert client.get("/").text == "one"
    assert client.get("/show").json() == {"a": 1, "late": 1, "later": 2}


@pytest.mark.parametrize(
    "begin",
    [
        lambda session: session.update(a=1),
        lambda session: session.login("42"),
        lambda session: session.regenerate(),
    ],
    ids=["a first value", "a login", "a new id"],
)
def test_what_needs_a_cookie_is_refused_once_the_response_has_started(
    client_of: Callable[..., TestClient], begin: Callable[[Any], None], stored: Callable[[], list[str]]
) -> None:
    async def stream(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "one"
            with pytest.raises(SessionClosed):
                begin(request.session)
            yield "two"

        return StreamingResponse(body())

    assert client_of(Route("/", stream)).get("/").text == "onetwo"
    assert stored() == []


@pytest.mark.parametrize("end", ["logout", "clear"])
def test_a_logout_in_a_stream_takes_effect_by_save(client_of: Callable[..., TestClient], end: str) -> None:
    async def stream(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "one"
            getattr(request.session, end)()
            await request.session.save()
            with pytest.raises(SessionClosed):
                request.session["a"] = 1

        return StreamingResponse(body())

    client = client_of(Route("/", stream))
    _ = client.post("/put", json={"a": 1})
    assert client.get("/").text == "one"
    assert client.get("/show").json() == {}


def test_save_before_the_response_writes_at_once_and_its_cookie_still_goes_out(
    client_of: Callable[..., TestClient], stored: Callable[[], list[str]]
) -> None:
    async def early(request: Request) -> Response:
        request.session["a"] = 1
        await request.session.save()
        return PlainTextResponse(str(len(stored())))

    client = client_of(Route("/", early))
    assert client.get("/").text == "1"
    assert client.get("/show").json() == {"a": 1}


def test_save_says_when_the_session_was_ended_meanwhile(client_of: Callable[..., TestClient]) -> None:
    client = client_of()

    async def slow(request: Request) -> Response:
        request.session["late"] = 1
        other = TestClient(client.app, cookies=client.cookies)
        _ = await asyncio.to_thread(other.post, "/logout")
        with pytest.raises(SessionClosed):
            await request.session.save()
        return JSONResponse(request.session)

    client.app.router.routes.append(Route("/slow", slow))  # type: ignore[attr-defined]
    _ = client.post("/put", json={"a": 1})
    assert client.get("/slow").json() == {"a": 1, "late": 1}
    assert client.get("/show").json() == {}


def test_a_late_writer_does_not_bring_back_a_session_that_was_ended(client_of: Callable[..., TestClient]) -> None:
    client = client_of()

    async def slow(request: Request) -> Response:
        request.session["late"] = 1
        other = TestClient(client.app, cookies=client.cookies)
        _ = await asyncio.to_thread(other.post, "/logout")
        return JSONResponse({})

    client.app.router.routes.append(Route("/slow", slow))  # type: ignore[attr-defined]
    _ = client.post("/put", json={"a": 1})
    assert client.get("/slow").status_code == 200
    assert client.get("/show").json() == {}


def test_two_writers_of_different_keys_both_survive(client_of: Callable[..., TestClient]) -> None:
    client = client_of()

    async def slow(request: Request) -> Response:
        request.session["mine"] = 1
        other = TestClient(client.app, cookies=client.cookies)
        _ = await asyncio.to_thread(lambda: other.post("/put", json={"theirs": 2}))
        return JSONResponse({})

    client.app.router.routes.append(Route("/slow", slow))  # type: ignore[attr-defined]
    _ = client.post("/put", json={"a": 0})
    _ = client.get("/slow")
    assert client.get("/show").json() == {"a": 0, "mine": 1, "theirs": 2}


def test_reload_shows_what_others_wrote_and_forgets_what_was_not_saved(client_of: Callable[..., TestClient]) -> None:
    client = client_of()

    async def slow(request: Request) -> Response:
        request.session["mine"] = 1
        other = TestClient(client.app, cookies=client.cookies)
        _ = await asyncio.to_thread(lambda: other.post("/put", json={"theirs": 2}))
        await request.session.reload()
        assert not request.session.modified
        return JSONResponse(request.session)

    client.app.router.routes.append(Route("/slow", slow))  # type: ignore[attr-defined]
    _ = client.post("/put", json={"a": 0})
    assert client.get("/slow").json() == {"a": 0, "theirs": 2}
    assert client.get("/show").json() == {"a": 0, "theirs": 2}
