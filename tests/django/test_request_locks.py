"""Locks of requests under Django: who waits, who is refused, and when a lock is given back."""

import asyncio
import gc
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from by_hand import until
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory
from redis import Redis

from redis_mw import Lock, Locks, Rule, current
from redis_mw.keys import digest
from redis_mw.testing import count_round_trips, outage
from redis_mw_django import amw, mw

pytestmark = pytest.mark.usefixtures("requests_site")


class Held:
    """A request in a thread that is held up in its view until it is let go."""

    def __init__(self, site: Any, path: str) -> None:
        self._inside, self._leave = Event(), Event()
        self._pool = ThreadPoolExecutor(1)
        self._site = site
        site.hooks["inside"] = self._wait
        self.answer: Future[Any] = self._pool.submit(lambda: Client().get(path))
        assert self._inside.wait(20)

    def _wait(self) -> None:
        self._inside.set()
        assert self._leave.wait(20)

    def go(self) -> Any:
        self._site.hooks.clear()
        self._leave.set()
        answer = self.answer.result(20)
        self._pool.shutdown()
        return answer


# Waiting


def test_requests_for_one_lock_never_overlap_and_their_fences_grow(requests_site: Any) -> None:
    inside: list[int] = []

    def alone() -> None:
        inside.append(1)
        assert len(inside) == 1
        _ = inside.pop()

    requests_site.hooks["inside"] = alone
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda turn: Client().get("/patient/" if turn % 2 else "/apatient/"), range(24)))
    assert [answer.status_code for answer in answers] == [200] * 24
    in_order = sorted((answer.json() for answer in answers), key=lambda each: each["runs"])
    fences = [each["fence"] for each in in_order]
    assert fences == sorted(set(fences))


@pytest.mark.asyncio
async def test_they_do_not_under_asgi_either(requests_site: Any) -> None:
    inside: list[int] = []

    async def alone() -> None:
        inside.append(1)
        await asyncio.sleep(0.001)
        assert len(inside) == 1
        _ = inside.pop()

    requests_site.hooks["ainside"] = alone
    paths = ("/apatient/", "/patient/")
    answers: list[Any] = await asyncio.gather(*(AsyncClient().get(paths[turn % 2]) for turn in range(24)))
    assert [answer.status_code for answer in answers] == [200] * 24
    in_order = sorted((answer.json() for answer in answers), key=lambda each: each["runs"])
    fences = [each["fence"] for each in in_order]
    assert fences == sorted(set(fences))


@pytest.mark.parametrize("path", ["/short/", "/refuses/", "/arefuses/"])
def test_who_waited_too_long_is_told_when_to_come_again(requests_site: Any, path: str) -> None:
    held = Held(requests_site, "/patient/")
    answer = Client().get(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (409, "application/problem+json")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "waiting" not in answer.content.decode()
    assert held.go().status_code == 200


def test_one_that_does_not_wait_is_refused_in_one_trip(requests_site: Any) -> None:
    held = Held(requests_site, "/function/7/")
    with count_round_trips() as counted:
        assert Client().get("/function/7/").status_code == 409
    assert counted.awaited == 1
    assert Client().get("/hidden/7/").status_code == 409
    assert held.go().status_code == 200


def test_a_queue_that_is_full_is_told_so(rule: Any, requests_site: Any) -> None:
    rule(locks=Locks(queue=1))
    held = Held(requests_site, "/patient/")
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(lambda: Client().get("/patient/")) for _ in range(4)]
        until(lambda: sum(each.done() for each in waiting) == 3, "all but one were refused")
        assert held.go().status_code == 200
        answers = [each.result() for each in waiting]
    assert sorted(answer.status_code for answer in answers) == [200, 429, 429, 429]
    crowded = next(answer for answer in answers if answer.status_code == 429)
    assert "Retry-After" in crowded.headers


def test_readers_share_and_writers_do_not(requests_site: Any) -> None:
    held = Held(requests_site, "/of_readers/")
    requests_site.hooks.clear()
    assert Client().get("/of_readers/").status_code == 200
    assert Client().get("/of_callable/?name=shared").status_code == 409
    assert held.go().status_code == 200


def test_the_users_handler_is_told_of_refused_locks(settings: Any, requests_site: Any) -> None:
    settings.REDIS_MW_HANDLER = "site_of_limits.refused_by_database"
    held = Held(requests_site, "/function/7/")
    for path in ("/function/7/", "/hidden/7/"):
        answer = Client().get(path)
        assert (answer.status_code, answer.content) == (409, b"")
    assert held.go().status_code == 200


# Giving back


@pytest.mark.parametrize("path", ["/locked_stream/", "/alocked_stream/"])
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
@pytest.mark.django_db  # the server's handler tells Django to look after its databases
def test_a_lock_is_held_until_the_response_is_closed_and_not_longer(requests_site: Any, path: str) -> None:
    response: Any = WSGIHandler()(RequestFactory().get(path).environ, lambda *_: None)
    assert Client().get("/of_callable/?name=stream").status_code == 409
    response.close()  # the reader has gone; nothing was read
    requests_site.until_free("stream")
    assert b"".join(Client().get(path)) == b"first last"
    requests_site.until_free("stream")


@pytest.mark.django_db
def test_a_lock_is_given_back_although_nobody_closes_the_response(requests_site: Any) -> None:
    response: Any = WSGIHandler()(RequestFactory().get("/locked_stream/").environ, lambda *_: None)
    del response
    _ = gc.collect()
    requests_site.until_free("stream")


def test_a_lock_is_given_back_after_a_crash(requests_site: Any) -> None:
    assert Client(raise_request_exception=False).get("/crash/").status_code == 500
    requests_site.until_free("crash")
    with pytest.raises(RuntimeError):
        _ = Client().get("/crash/")
    requests_site.until_free("crash")


def test_giving_back_is_never_waited_for() -> None:
    with count_round_trips() as counted:
        assert Client().get("/function/7/").status_code == 200
        until(lambda: counted.detached == 1, "given back")
    assert counted.awaited == 1


def test_a_request_that_a_limit_refused_leaves_no_lock(requests_site: Any) -> None:
    assert Client().get("/limited_and_locked/").status_code == 200
    requests_site.until_free("limited")
    assert Client().get("/limited_and_locked/").status_code == 429
    requests_site.until_free("limited")


@pytest.mark.asyncio
async def test_a_lock_is_given_back_when_a_client_hangs_up_in_the_view(requests_site: Any) -> None:
    requests_site.hooks["asleep"] = asyncio.Event()
    left, sent, asked = asyncio.Event(), list[Any](), list[int]()

    async def receive() -> Any:
        asked.append(1)
        if len(asked) == 1:
            return {"type": "http.request", "body": b""}
        _ = await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    task = asyncio.create_task(ASGIHandler()(AsyncRequestFactory()._base_scope(path="/sleep/"), receive, send))
    _ = await requests_site.hooks["asleep"].wait()
    assert (await AsyncClient().get("/of_callable/?name=crash")).status_code == 409
    left.set()
    await task
    await requests_site.auntil_free("crash")
    assert sent == []


# What the view has of it


@pytest.mark.parametrize("path", ["/again/", "/extended/"])
def test_a_view_may_lock_again_what_its_policy_holds_and_extend_it(path: str) -> None:
    assert Client().get(path).json()["names"] == ["again"]


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/again/", "/aagain/", "/extended/", "/aextended/"])
async def test_so_it_may_under_asgi(path: str) -> None:
    answer: Any = await AsyncClient().get(path)
    assert answer.json()["names"] == ["again"]


@pytest.mark.parametrize("path", ["/counted/", "/counted_late/"])
def test_a_session_under_a_lock_is_read_when_the_lock_was_taken(path: str) -> None:
    client = Client()
    _ = client.get("/start/")
    cookie = client.cookies["sessionid"].value

    def count(_: int) -> int:
        other = Client()
        other.cookies["sessionid"] = cookie
        found: int = other.get(path).json()["count"]
        return found

    with ThreadPoolExecutor(4) as pool:
        counts = sorted(pool.map(count, range(12)))
    assert counts == list(range(1, 13))


@pytest.mark.parametrize("path", ["/function/7/", "/hidden/7/"])
def test_a_session_that_is_over_is_read_with_the_lock_and_its_cookie_stays(path: str) -> None:
    client = Client()
    _ = client.get("/bind/?user=7")
    assert mw.sessions.revoke_user(7) == 1
    with count_round_trips() as counted:
        answer = client.get(path)
    assert (answer.status_code, counted.awaited, dict(answer.cookies)) == (200, 1, {})


def test_a_locked_request_with_a_session_costs_one_trip_and_two_with_a_change(requests_site: Any) -> None:
    client = Client()
    _ = client.get("/start/")
    for path, trips in (("/of_session/", 1), ("/counted/", 2)):
        with count_round_trips() as counted:
            assert client.get(path).status_code == 200
        assert counted.awaited == trips, counted


# Lost


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/cancelled/", "/cancelled_late/"])
async def test_a_lock_that_is_lost_cancels_an_async_view_where_the_policy_says_so(
    requests_site: Any, path: str
) -> None:
    requests_site.hooks["inside"] = lambda: lose("lost")
    answer = await AsyncClient().get(path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert requests_site.hooks["cancelled"]
    await requests_site.auntil_free("lost")


@pytest.mark.asyncio
async def test_one_that_another_middleware_chose_is_cancelled_too(settings: Any, requests_site: Any) -> None:
    inside = ["site_of_requests.async_only", "site_of_requests.AtAnotherPlace"]  # the view's task is another one
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, *inside]
    settings.ROOT_URLCONF = "site_of_tests"
    requests_site.hooks["inside"] = lambda: lose("lost")
    assert (await AsyncClient().get("/cancelled/")).status_code == 503


@pytest.mark.asyncio
async def test_a_view_in_a_thread_runs_on_and_may_ask_under_asgi(requests_site: Any) -> None:
    requests_site.hooks["inside"] = lambda: lose("lost")
    answer: Any = await AsyncClient().get("/lost_in_a_thread/")
    assert (answer.status_code, answer.json()) == (200, {"lost": True})


def test_so_does_every_view_under_wsgi(requests_site: Any) -> None:
    requests_site.hooks["inside"] = lambda: lose("lost")
    answer: Any = Client().get("/lost_in_a_thread/")
    assert (answer.status_code, answer.json()) == (200, {"lost": True})


def lose(name: str) -> None:
    """Take the lock away behind its holder's back."""
    with Redis.from_url(str(mw.settings.url)) as redis:
        assert redis.delete(f"{mw.settings.prefix}:k1:{{{digest(name)}}}:h")


# Outages


def test_with_redis_away_nothing_runs_that_should_be_locked(requests_site: Any) -> None:
    with outage(mw):
        for path in ("/function/7/", "/hidden/7/"):
            answer = Client().get(path)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert requests_site.ran == []


@pytest.mark.asyncio
async def test_so_it_is_under_asgi(requests_site: Any) -> None:
    with outage(amw):
        for path in ("/afunction/7/", "/ahidden/7/"):
            assert (await AsyncClient().get(path)).status_code == 503
    assert requests_site.ran == []


def test_where_the_settings_say_so_it_runs_with_a_degraded_lease(rule: Any, requests_site: Any) -> None:
    rule(Rule("/bare/", lock=Lock("everything")), locks=Locks(on_outage="open"))
    found: list[bool] = []
    requests_site.hooks["inside"] = lambda: found.append(_degraded())
    with outage(mw):
        answer = Client().get("/bare/")
    assert (answer.status_code, answer.json()["fence"], found) == (200, 0, [True])


def _degraded() -> bool:
    lease: Any = current().lease
    return bool(lease.degraded)
