"""What becomes of what a request took under Django: what its response decides, slots, outages, what code may ask."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from by_hand import until
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory

from redis_mw import Limit, Rule
from redis_mw.testing import count_round_trips, outage
from redis_mw_django import amw, mw

pytestmark = pytest.mark.usefixtures("limits_site")

HERE = "127.0.0.1"
SLOT = Limit("1 in flight", name="slot")
FAILED = Limit("3/minute", name="logins", count="failed")


def remaining(limit: Limit | str) -> int:
    return mw.limits.peek(limit, key=HERE).remaining


def free(slot: Limit) -> bool:
    return bool(mw.limits.peek(slot, key=HERE))


# What the response decides


def test_only_failed_logins_count(limit: Any) -> None:
    limit(rules=[Rule("/login/", limits=[FAILED])])
    client = Client()
    for _ in range(5):
        assert client.get("/login/?password=right").status_code == 200
        until(lambda: remaining(FAILED) == 3, "a login that succeeded is given back")
    assert [client.get("/login/").status_code for _ in range(4)] == [403, 403, 403, 429]
    assert client.get("/login/?password=right").status_code == 429


def test_parallel_logins_cannot_all_pass(limit: Any, limits_site: Any) -> None:
    limit(rules=[Rule("/login/", limits=[FAILED])])
    at_once = Barrier(3)
    limits_site.hooks["between"] = at_once.wait  # as many as may pass are in the view together
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: Client().get("/login/").status_code, range(8)))
    assert sorted(statuses) == [403] * 3 + [429] * 5


@pytest.mark.asyncio
async def test_parallel_logins_cannot_all_pass_under_asgi(limit: Any) -> None:
    limit(rules=[Rule("/login/", limits=[FAILED])])
    responses = await asyncio.gather(*(AsyncClient().get("/login/") for _ in range(8)))
    assert sorted(response.status_code for response in responses) == [403] * 3 + [429] * 5


def test_a_crash_is_a_failure_and_a_refused_request_gives_back_what_it_took(limit: Any) -> None:
    limit(FAILED)
    client = Client(raise_request_exception=False)
    assert client.get("/crash/").status_code == 500
    assert [client.get("/hidden/").status_code for _ in range(4)] == [200, 200, 429, 429]
    until(lambda: remaining(FAILED) == 2, "all but the crash was given back")


def test_a_callable_counts_the_response(limit: Any) -> None:
    count = Limit("100/minute", name="bytes", count="call:site_of_limits.by_length")
    limit(count)
    assert Client().get("/free/").status_code == 200
    until(lambda: remaining(count) == 95, "five bytes were counted")


def test_a_stream_may_charge_what_it_turned_out_to_cost(limit: Any) -> None:
    cost = Limit("100/minute", name="cost")
    limit(cost)
    response: Any = Client().get("/stream/?charge=9")
    assert remaining(cost) == 99
    assert b"".join(response.streaming_content) == b"first last"
    until(lambda: remaining(cost) == 90, "nine more were counted")


def test_settling_is_never_waited_for(limit: Any) -> None:
    limit(SLOT, FAILED)
    with count_round_trips() as counted:
        assert Client().get("/free/").status_code == 200
        until(lambda: counted.detached == 1, "settled")
    assert counted.awaited == 1


# Slots


@pytest.mark.django_db  # the server's handler tells Django to look after its databases
def test_a_slot_is_free_when_the_stream_is_closed_and_not_before(limit: Any) -> None:
    limit(SLOT)
    for path in ("/stream/", "/astream/"):
        response: Any = WSGIHandler()(RequestFactory().get(path).environ, lambda *_: None)
        assert Client().get("/free/").status_code == 429
        response.close()  # the reader has gone; nothing was read
        until(lambda: free(SLOT), "the slot is free")
    assert Client().get("/free/").status_code == 200


def test_a_slot_is_free_after_a_crash_and_after_a_view_without_a_response(limit: Any) -> None:
    limit(SLOT)
    with pytest.raises(RuntimeError):
        _ = Client().get("/crash/")
    until(lambda: free(SLOT), "the slot is free")
    assert Client(raise_request_exception=False).get("/crash/").status_code == 500
    until(lambda: free(SLOT), "the slot is free")


def test_a_slot_is_free_although_an_interruption_leaves_no_response(limit: Any, limits_site: Any) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    limit(SLOT)
    limits_site.hooks["between"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        _ = Client().get("/login/")
    until(lambda: free(SLOT), "the slot is free")


@pytest.mark.django_db
def test_a_slot_is_free_although_nobody_closes_the_response(limit: Any) -> None:
    """Django itself loses one, if a request is cancelled while its response is logged."""
    limit(SLOT)
    response: Any = WSGIHandler()(RequestFactory().get("/free/").environ, lambda *_: None)
    assert not free(SLOT)
    del response
    _ = gc.collect()
    until(lambda: free(SLOT), "the slot is free")


class Visit:
    """A request to the ASGI application, whose client may hang up."""

    def __init__(self, path: str) -> None:
        self.sent: list[Any] = []
        self.heard, self.left = asyncio.Event(), asyncio.Event()
        self._asked = False
        path, _, query = path.partition("?")
        scope = AsyncRequestFactory()._base_scope(path=path, query_string=query)
        self.task = asyncio.create_task(ASGIHandler()(scope, self.receive, self.send))

    async def receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b""}
        _ = await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if message.get("body"):
            self.heard.set()

    async def hang_up(self) -> None:
        self.left.set()
        await self.task


async def until_free(slot: Limit) -> None:
    for _ in range(4000):
        if await amw.limits.peek(slot, key=HERE):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the slot is never free")


@pytest.mark.asyncio
async def test_a_slot_is_free_when_a_client_hangs_up_in_the_view(limit: Any, limits_site: Any) -> None:
    limit(SLOT)
    limits_site.hooks["asleep"] = asyncio.Event()
    visit = Visit("/sleep/")
    _ = await limits_site.hooks["asleep"].wait()
    assert not await amw.limits.peek(SLOT, key=HERE)
    await visit.hang_up()
    await until_free(SLOT)
    assert visit.sent == []


@pytest.mark.asyncio
async def test_a_slot_is_held_while_a_body_is_streamed_and_free_when_its_reader_has_gone(limit: Any) -> None:
    limit(SLOT)
    visit = Visit("/astream/?seconds=60")
    _ = await visit.heard.wait()
    assert (await AsyncClient().get("/free/")).status_code == 429
    await visit.hang_up()
    await until_free(SLOT)


# Outages


def test_in_an_outage_each_limit_has_its_own_policy(limit: Any) -> None:
    answers = {"local": [200, 200, 429], "open": [200] * 3, "closed": [503] * 3}
    for policy, statuses in answers.items():
        chosen: Any = policy
        limit(Limit("2/minute", on_outage=chosen))
        with outage(mw):
            responses = [Client().get("/free/") for _ in range(3)]
        assert [response.status_code for response in responses] == statuses
        assert all("RateLimit" not in response.headers for response in responses)
        if policy == "closed":
            assert responses[0].headers["Retry-After"] == "1"


@pytest.mark.asyncio
async def test_in_an_outage_under_asgi_they_have_it_too(limit: Any) -> None:
    limit(Limit("2/minute"), rules=[Rule("/status/*", limits=[Limit("2/minute", on_outage="closed")])])
    with outage(amw):
        assert [(await AsyncClient().get(f"/{path}/")).status_code for path in ("free", "free", "free")] == [
            200
        ] * 2 + [429]
        assert (await AsyncClient().get("/status/204/")).status_code == 503


def test_a_session_in_an_outage_is_refused_as_ever_where_a_limit_is_served(limit: Any) -> None:
    limit("5/minute")
    client = Client()
    _ = client.get("/write/?x=1")
    with outage(mw):
        assert client.get("/free/").status_code == 200
        assert client.get("/read/").status_code == 503
    assert client.get("/read/").json() == {"x": "1"}


# What code may ask


def test_what_code_gives_back_is_not_remembered_as_denied(limit: Any) -> None:
    limit(Limit("1/minute", name="burst"))
    assert [Client().get("/free/").status_code for _ in range(3)] == [200, 429, 429]
    mw.limits.reset(Limit("1/minute", name="burst"), key=HERE)
    assert [Client().get("/free/").status_code for _ in range(3)] == [200, 429, 429]


def test_a_request_is_explained_in_a_view_and_outside_of_one(limit: Any) -> None:
    limit("5/minute", Limit("9/minute", by="user"))
    assert Client().get("/explained/").json() == [["client", 4], ["user", 8]]
    client = Client()
    _ = client.get("/bind/?user=7")
    request = RequestFactory().get("/function/")
    request.COOKIES["sessionid"] = client.cookies["sessionid"].value
    found = mw.limits.explain(request)
    assert [(each.by, each.client) for each in found] == [
        ("client", f"client:{HERE}"), ("user", "user:7"), ("client", f"client:{HERE}"),
    ]  # fmt: skip
    assert found[0].verdict.remaining == 3


@pytest.mark.asyncio
async def test_a_request_is_explained_under_asgi(limit: Any) -> None:
    limit("5/minute")
    assert (await AsyncClient().get("/aexplained/")).json() == [["client", 4]]
    assert [each.verdict.remaining for each in await amw.limits.explain(AsyncRequestFactory().get("/"))] == [4]
