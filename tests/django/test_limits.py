"""Rate limits under Django: decorated in every way and counted once, in the one trip of the request."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client
from django.urls import URLResolver

from redis_mw import LayerMissing, Limit, Limits, Rule
from redis_mw.settings import Settings, replace
from redis_mw.testing import count_round_trips
from redis_mw_django import mw

pytestmark = pytest.mark.usefixtures("limits_site")

SEEN = [
    "function", "afunction", "above", "below", "twice", "OnUrl", "OnUrlOfClass", "OnUrlOfAsyncClass", "OnClass",
    "OfSubclass", "OnDispatch", "OnDispatchTwice", "OnGet", "OnGetTwice", "OnMethod", "AOnClass", "AOnDispatch",
    "AOnGet", "inside/function", "inside/afunction",
]  # fmt: skip
HIDDEN = ["hidden", "ahidden", "half_hidden"]
"""Their marks are behind a decorator that does not keep them."""


@pytest.fixture
def client() -> Any:
    return Client()


def left(response: Any) -> list[int]:
    """What each limit has left, as the response tells."""
    return [int(each.partition("r=")[2].partition(";")[0]) for each in response.headers["RateLimit"].split(", ")]


@pytest.mark.parametrize(("view", "trips"), [*((view, 1) for view in SEEN), *((view, 2) for view in HIDDEN)])
def test_a_decorated_view_is_counted_once_and_in_the_trip_of_the_request(
    limit: Any, client: Client, view: str, trips: int
) -> None:
    limit("100/minute")
    for turn in (1, 2):
        with count_round_trips() as counted:
            response = client.get(f"/{view}/")
        assert (response.status_code, response.content, counted.total) == (200, b"hello", trips), counted
        remaining = left(response)
        assert (remaining[0], min(remaining)) == (100 - turn, 2 - turn)
    with count_round_trips() as counted:
        response = client.get(f"/{view}/")
    assert (response.status_code, counted.awaited) == (429, trips), counted
    with count_round_trips() as counted:
        assert client.get(f"/{view}/").status_code == 429
    assert counted.awaited == trips - 1, counted
    assert client.get("/free/").status_code == 200


@pytest.mark.asyncio
@pytest.mark.parametrize(("view", "trips"), [*((view, 1) for view in SEEN), *((view, 2) for view in HIDDEN)])
async def test_under_asgi_it_costs_exactly_the_same(limit: Any, view: str, trips: int) -> None:
    limit("100/minute")
    client = AsyncClient()
    for turn in (1, 2):
        with count_round_trips() as counted:
            response: Any = await client.get(f"/{view}/")
        assert (response.status_code, response.content, counted.total) == (200, b"hello", trips), counted
        remaining = left(response)
        assert (remaining[0], min(remaining)) == (100 - turn, 2 - turn)
    with count_round_trips() as counted:
        response = await client.get(f"/{view}/")
    assert (response.status_code, counted.awaited) == (429, trips), counted
    with count_round_trips() as counted:
        assert (await client.get(f"/{view}/")).status_code == 429
    assert counted.awaited == trips - 1, counted


def test_the_url_of_a_view_that_is_limited_under_another_url_is_free(client: Client) -> None:
    assert [client.get("/OnUrl/").status_code for _ in range(3)] == [200, 200, 429]
    with count_round_trips() as counted:
        assert client.get("/bare/").status_code == 200
    assert counted.total == 0


def test_a_limit_on_a_handler_is_for_its_method_and_for_head(client: Client) -> None:
    assert [client.head("/OnGet/").status_code, client.get("/OnGet/").status_code] == [200, 200]
    assert client.get("/OnGet/").status_code == 429
    with count_round_trips() as counted:
        assert client.post("/OnGet/").content == b"posted"
    assert counted.total == 0


def test_a_view_that_another_middleware_chose_is_counted_before_it_runs(
    settings: Any, limit: Any, client: Client
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "site_of_limits.AtAnotherPlace"]
    limit("100/minute")
    for status in (200, 200, 429):
        with count_round_trips() as counted:
            response = client.get("/function/")
        assert (response.status_code, counted.awaited) == (status, 1)  # found by the same path
    assert client.get("/afunction/").status_code == 200
    settings.ROOT_URLCONF = "site_of_tests"
    other = Client()
    for trips, status in ((2, 200), (2, 429), (1, 429)):
        with count_round_trips() as counted:
            response = other.get("/afunction/")
        assert (response.status_code, counted.awaited) == (status, trips), counted
    assert response.headers["Content-Type"] == "application/problem+json"
    with count_round_trips() as counted:
        assert other.get("/twice/").status_code == 200
    assert counted.awaited == 2, counted  # however many marks


@pytest.mark.asyncio
async def test_a_view_that_another_middleware_chose_is_counted_under_asgi_too(settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "site_of_limits.AtAnotherPlace"]
    settings.ROOT_URLCONF = "site_of_tests"
    client = AsyncClient()
    assert [(await client.get("/afunction/")).status_code for _ in range(3)] == [200, 200, 429]


def test_a_decorated_view_without_the_middleware_raises(settings: Any, client: Client) -> None:
    settings.MIDDLEWARE = settings.MIDDLEWARE[1:]
    for view in ("function", "OnDispatch", "hidden"):
        with pytest.raises(LayerMissing):
            _ = client.get(f"/{view}/")


def test_where_limits_are_turned_off_decorated_views_are_free(settings: Any, client: Client) -> None:
    settings.REDIS_MW = replace(settings.REDIS_MW, limits=None)
    with count_round_trips() as counted:
        assert [client.get(f"/{view}/").status_code for view in ("function", "hidden") for _ in range(3)] == [200] * 6
    assert counted.total == 0


def test_a_site_without_a_marked_view_is_not_searched_for_the_view_of_a_request(
    settings: Any, limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, asked = URLResolver.resolve, list[str]()

    def resolving(self: Any, path: str) -> Any:
        asked.append(path)
        return resolve(self, path)

    monkeypatch.setattr(URLResolver, "resolve", resolving)
    settings.ROOT_URLCONF = "site_of_tests"
    _ = Client().get("/untouched/")
    assert asked.count("/untouched/") == 1
    limit(Limit("5/minute", by="route"))
    _ = Client().get("/untouched/")
    assert asked.count("/untouched/") == 3


def test_any_number_of_limits_and_the_session_are_one_trip_and_a_change_is_one_more(limit: Any) -> None:
    limit("100/minute", "1000/hour", rules=[Rule("/*", limits=["50/minute"])])
    client = Client()
    for path, trips in (("/write/?x=1", 2), ("/read/", 1), ("/aread/", 1), ("/write/?x=2", 2), ("/free/", 1)):
        with count_round_trips() as counted:
            assert client.get(path).status_code == 200
        assert counted.awaited == trips, (path, counted)
    assert client.get("/read/").json() == {"x": "2"}


@pytest.mark.asyncio
async def test_so_it_is_under_asgi(limit: Any) -> None:
    limit("100/minute", "1000/hour")
    client = AsyncClient()
    for path, trips in (("/write/?x=1", 2), ("/read/", 1), ("/aread/", 1), ("/write/?x=2", 2), ("/free/", 1)):
        with count_round_trips() as counted:
            assert (await client.get(path)).status_code == 200
        assert counted.awaited == trips, (path, counted)
    assert (await client.get("/aread/")).json() == {"x": "2"}


def test_a_session_that_is_over_rides_along_too_and_its_cookie_stays(limit: Any) -> None:
    limit("100/minute")
    client = Client()
    _ = client.get("/bind/?user=7")
    assert mw.sessions.revoke_user(7) == 1
    for path, content in (("/free/", b"hello"), ("/read/", b"{}"), ("/reload/", b"{}")):
        with count_round_trips() as counted:
            response = client.get(path)
        assert (response.content, counted.awaited, dict(response.cookies)) == (content, 1, {})


def test_changed_settings_hold_at_once(limit: Any, client: Client) -> None:
    assert client.get("/free/").headers.get("RateLimit") is None
    limit("1/minute")
    assert [client.get("/free/").status_code for _ in range(2)] == [200, 429]
    limit("1/minute", allow=["127.0.0.0/8"])
    assert client.get("/free/").status_code == 200


def test_another_session_engine_and_none_are_limited_alike(settings: Any, redis_mw_settings: Settings) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    for sessions in (redis_mw_settings.sessions, None):
        settings.REDIS_MW = replace(
            redis_mw_settings,
            prefix=f"{redis_mw_settings.prefix}-{sessions is None}",
            sessions=sessions,
            limits=Limits(default=[Limit("2/minute", by="user"), Limit("3/minute", by="session")]),
        )
        client = Client()
        with count_round_trips() as counted:
            assert client.get("/write/?x=1").status_code == 200
            assert client.get("/read/").json() == {"x": "1"}
        assert counted.awaited == 2
        assert client.get("/read/").status_code == 429
        assert Client().get("/read/").status_code == 429  # told by the address


def test_an_async_view_under_wsgi_and_a_sync_view_under_asgi_ask_what_they_can_await(limit: Any) -> None:
    limit("9/minute")
    expected = {"verdicts": ["9-per-m"], "hits": [True, True, False]}
    assert Client(REMOTE_ADDR="192.0.2.1").get("/context/").json() == expected

    assert async_to_sync(AsyncClient().get)("/acontext/").json() == expected
    mw.limits.reset("2/minute", key="127.0.0.1")
    assert async_to_sync(AsyncClient().get)("/context/").json() == expected
