"""Many who want one page at once, pages that end under them, and applications that fail meanwhile."""

import asyncio
from typing import Any

import pytest
from by_hand import soon
from pages_site import Pages, status_of
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from redis_mw import Cache, Cached, Rule
from redis_mw.testing import count_round_trips

pytestmark = pytest.mark.asyncio
Serve = Any
SHORT = 0.15


class Origin:
    """A view that waits until it may answer, and fails while it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.open = asyncio.Event()
        self.fails: int | Exception | None = None
        self.fields: dict[str, str] = {}
        self.seen: list[dict[str, str]] = []

    async def __call__(self, request: Request) -> Response:
        self.calls += 1
        self.seen.append(dict(request.headers))
        await self.open.wait()
        if isinstance(self.fails, Exception):
            raise self.fails
        return PlainTextResponse(f"made {self.calls}", self.fails or 200, self.fields)


@pytest.fixture
def origin() -> Origin:
    return Origin()


def route(origin: Origin) -> Route:
    async def view(request: Request) -> Response:
        return await origin(request)

    return Route("/page", view)


def rules(ttl: float = 60, **policy: Any) -> list[Rule]:
    return [Rule("/page", cache=Cached(ttl, jitter=0, **policy))]


async def test_a_hundred_who_want_a_page_that_is_not_there_have_it_made_once(serve: Serve, origin: Origin) -> None:
    async with serve(route(origin)) as site:
        with count_round_trips() as trips:
            asking = [asyncio.create_task(site.get()) for _ in range(100)]
            await soon(lambda: origin.calls == 1, "the view is not called")
            origin.open.set()
            answers = await asyncio.gather(*asking)
        assert origin.calls == 1 and {answer.text for answer in answers} == {"made 1"}
        assert len(trips.commands) == 2, "one looked and stored, the others had it from him"
        assert sum("collapsed" in status_of(answer) for answer in answers) == 99


async def test_a_page_made_by_another_process_is_waited_for(serve: Serve, origin: Origin) -> None:
    async with serve(route(origin)) as one, serve(route(origin)) as two:
        first = asyncio.create_task(one.get())
        await soon(lambda: origin.calls == 1, "the view is not called")
        with count_round_trips() as trips:
            others = [asyncio.create_task(two.get()) for _ in range(50)]
            await soon(lambda: len(trips.commands) >= 2, "the view is not called")
            origin.open.set()
            answers = await asyncio.gather(first, *others)
        assert origin.calls == 1 and {answer.text for answer in answers} == {"made 1"}
        assert len(trips.commands) <= 3 + 1, "three of who waits, one of who stores"


async def test_who_leaves_while_he_makes_a_page_leaves_it_to_the_others(serve: Serve, origin: Origin) -> None:
    async with serve(route(origin)) as site:
        first = asyncio.create_task(site.get())
        await soon(lambda: origin.calls == 1, "the view is not called")
        others = [asyncio.create_task(site.get()) for _ in range(5)]
        await asyncio.sleep(0)
        _ = first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        origin.open.set()
        assert {answer.text for answer in await asyncio.gather(*others)} == {"made 1"} and origin.calls == 1


async def test_a_client_that_closes_while_its_stream_is_sent_leaves_the_page_to_the_others(serve: Serve) -> None:
    calls, half, gone = [], asyncio.Event(), asyncio.Event()

    async def view(request: Request) -> Response:
        async def parts() -> Any:
            calls.append(1)
            yield "one "
            half.set()
            await gone.wait()
            yield "two"

        return StreamingResponse(parts())

    async with serve(Route("/page", view)) as site:
        scope = {"type": "http", "method": "GET", "path": "/page", "headers": [(b"host", b"site")], "query_string": b""}
        scope |= {"asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "scheme": "http"}

        async def receive() -> Any:
            await half.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if half.is_set():
                gone.set()
                raise OSError("the client has gone")
            if message.get("body"):
                await asyncio.sleep(0)

        app = site.http._transport.app
        asking = asyncio.create_task(app(scope, receive, send))
        await half.wait()
        gone.set()
        await asking
        answer = await site.get()
        assert status_of(answer) == "hit" and answer.text == "one two" and len(calls) == 1


async def test_answers_that_cannot_be_kept_do_not_make_a_url_serial(serve: Serve, origin: Origin) -> None:
    origin.fields = {"cache-control": "no-store"}
    async with serve(route(origin)) as site:
        asking = [asyncio.create_task(site.get()) for _ in range(5)]
        await soon(lambda: origin.calls == 1, "the view is not called")
        origin.open.set()
        _ = await asyncio.gather(*asking)
        assert origin.calls == 5
        origin.open.clear()
        asking = [asyncio.create_task(site.get()) for _ in range(5)]
        await soon(lambda: origin.calls == 10, "the view is not called")
        origin.open.set()
        _ = await asyncio.gather(*asking)
        origin.fields = {}
        assert "stored" in status_of(await site.get()), "as soon as one can be kept it is"
        assert status_of(await site.get()) == "hit"


async def test_who_has_waited_long_enough_makes_the_page_himself(serve: Serve, origin: Origin) -> None:
    cache = Cache(l1_bytes=0, wait=0.05, origin_cap=3)
    async with serve(route(origin), cache=cache) as site:
        asking = [asyncio.create_task(site.get()) for _ in range(10)]
        await soon(lambda: origin.calls >= 3, "the view is not called")
        origin.open.set()
        answers = await asyncio.gather(*asking)
        assert all(answer.status_code == 200 for answer in answers)


async def test_a_stale_page_is_sent_at_once_and_made_anew_once_behind_it(serve: Serve, origin: Origin) -> None:
    async with serve(route(origin), rules=rules(SHORT, stale=60)) as site:
        origin.open.set()
        first = await site.get(cookie="a=1", authorization="x", if_none_match='"x"', range="bytes=0-1")
        assert first.status_code == 200
        _ = await site.get()
        await asyncio.sleep(SHORT)
        origin.open.clear()
        before = origin.calls
        for _ in range(5):
            answer = await site.get(cookie="a=1", accept="text/x", range="bytes=0-3")
            assert answer.status_code == 206 and answer.text == "made"
            assert status_of(answer) == "hit" and "ttl=-" in answer.headers["cache-status"]
        await soon(lambda: origin.calls == before + 1, "the view is not called")
        seen = origin.seen[-1]
        assert {"cookie", "range", "authorization"}.isdisjoint(seen) and seen["accept"] == "text/x"
        origin.open.set()
        await _text(site, f"made {before + 1}")
        assert origin.calls == before + 1


async def test_a_page_is_made_anew_before_it_ends_by_one_of_many(serve: Serve, origin: Origin) -> None:
    async with serve(route(origin), rules=rules(2.5)) as site:
        task = asyncio.create_task(site.get())
        await asyncio.sleep(0.8)  # so long it takes
        origin.open.set()
        _ = await task
        await asyncio.sleep(2.1)
        for _ in range(50):
            assert status_of(await site.get()) == "hit"
        await _text(site, "made 2")
        assert origin.calls == 2


async def test_who_makes_a_page_anew_has_no_session_and_no_limits(serve: Serve) -> None:
    seen = []

    async def view(request: Request) -> Response:
        seen.append(request.session.user_id if "look" in request.headers.get("x-look", "") else None)
        return PlainTextResponse("x")

    page = Rule("/page", cache=Cached(SHORT, stale=60, jitter=0), limits=["3/minute"])
    async with serve(Route("/page", view), rules=[page]) as site:
        _ = await site.get()
        await asyncio.sleep(SHORT)
        assert status_of(await site.get()) == "hit"
        await soon(lambda: len(seen) == 2, "the view is not called")
        assert (await site.get()).status_code == 200 and (await site.get()).status_code == 429


@pytest.mark.parametrize("fails", [RuntimeError("broken"), 500, 502, 503, 504], ids=str)
async def test_a_stale_page_stands_in_for_an_application_that_fails(
    serve: Serve, origin: Origin, fails: int | Exception
) -> None:
    async with serve(route(origin), rules=rules(SHORT, stale_if_error=60)) as site:
        origin.open.set()
        _ = await site.get()
        await asyncio.sleep(SHORT)
        origin.fails = fails
        for _ in range(2):
            answer = await site.get()
            assert (answer.status_code, answer.text) == (200, "made 1")
            assert status_of(answer).startswith("fwd=stale")
        assert origin.calls == 3, "each asks anew"
        origin.fails = 404
        assert (await site.get()).status_code == 404, "an answer, and no failure"


async def test_without_such_a_page_failures_are_what_they_are(serve: Serve, origin: Origin) -> None:
    async with serve(route(origin), rules=rules(SHORT)) as site:
        origin.open.set()
        _ = await site.get()
        await asyncio.sleep(SHORT)
        origin.fails = 503
        assert (await site.get()).status_code == 503
        origin.fails = RuntimeError("broken")
        with pytest.raises(RuntimeError, match="broken"):
            _ = await site.get()
        origin.fails = None
        assert "stored" in status_of(await site.get()), "nothing is left of who failed"


async def test_what_forbids_to_be_stale_is_waited_for(serve: Serve, origin: Origin) -> None:
    origin.fields = {"cache-control": "max-age=1, must-revalidate"}
    async with serve(route(origin), rules=rules(60, stale=60, stale_if_error=60)) as site:
        origin.open.set()
        _ = await site.get()
        assert status_of(await site.get()) == "hit"
        await asyncio.sleep(1.1)
        assert status_of(await site.get()).startswith("fwd=")
        await asyncio.sleep(1.1)
        origin.fails = 503
        assert (await site.get()).status_code == 503


async def test_a_soft_drop_has_pages_made_anew_behind_the_visitors_back(serve: Serve, origin: Origin) -> None:
    async with serve(route(origin), rules=rules(60, stale=60, tags=["t"])) as site:
        origin.open.set()
        _ = await site.get()
        _ = await site.mw.cache.drop_tag("t", soft=True)
        assert (await site.get()).text == "made 1"
        await _text(site, "made 2")


async def _text(site: Pages, text: str) -> None:
    _ = await site.until(lambda answer: answer.text == text)
