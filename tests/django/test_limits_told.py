"""What a limited request is told under Django, and whom a limit takes it for."""

from typing import Any

import pytest
from django.test import AsyncClient, Client

from redis_mw import Limit, Rule
from redis_mw.testing import count_round_trips
from redis_mw_django import mw

pytestmark = pytest.mark.usefixtures("limits_site")

HERE = "127.0.0.1"


# What is told


def test_a_refusal_tells_why_and_until_when(limit: Any) -> None:
    limit(Limit("1/minute", name="burst"))
    client = Client()
    assert client.get("/free/").status_code == 200
    response = client.get("/free/")
    assert (response.status_code, response.headers["Content-Type"]) == (429, "application/problem+json")
    assert response.json()["violated-policies"] == ["burst"]
    assert 1 <= int(response.headers["Retry-After"]) <= 65
    assert response.headers["RateLimit-Policy"] == '"burst";q=1;w=60'
    assert response.headers["RateLimit"].startswith('"burst";r=0;t=')
    assert client.get("/free/", headers={"accept": "text/html"}).headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("path", ["/free/", "/status/304/", "/status/500/", "/nowhere/", "/stream/", "/astream/"])
def test_every_response_tells_of_the_limits_once(limit: Any, path: str) -> None:
    limit(Limit("5/minute", name="burst"))
    response: Any = Client().get(path)
    assert response.headers["RateLimit"].startswith('"burst";r=4;t=')
    assert [name for name, _ in response.items()].count("RateLimit") == 1


def test_a_crash_tells_of_the_limits_too(limit: Any) -> None:
    limit(Limit("5/minute", name="burst"))
    response = Client(raise_request_exception=False).get("/crash/")
    assert response.status_code == 500
    assert response.headers["RateLimit"].startswith('"burst";r=4;t=')


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/free/", "/status/304/", "/nowhere/", "/astream/"])
async def test_so_it_is_under_asgi(limit: Any, path: str) -> None:
    limit(Limit("5/minute", name="burst"))
    response: Any = await AsyncClient().get(path)
    assert response.headers["RateLimit"].startswith('"burst";r=4;t=')


def test_the_users_handler_answers_and_leaves_to_us_what_it_will_not(settings: Any, limit: Any) -> None:
    settings.REDIS_MW_HANDLER = "site_of_limits.refused"
    limit("1/minute")
    client = Client()
    assert client.get("/free/").status_code == 200
    response = client.get("/free/")
    assert (response.status_code, response.content) == (429, b"slow down, 1")
    assert "RateLimit" in response.headers
    assert client.get("/free/?ours").headers["Content-Type"] == "application/problem+json"
    limit()
    assert [client.get("/hidden/").content for _ in range(3)] == [b"hello", b"hello", b"slow down, 1"]


@pytest.mark.asyncio
async def test_the_users_handler_is_called_where_it_may_wait(settings: Any, limit: Any) -> None:
    settings.REDIS_MW_HANDLER = "site_of_limits.refused_by_database"
    limit("1/minute")
    client = AsyncClient()
    assert [(await client.get("/free/")).status_code for _ in range(2)] == [200, 429]


def test_a_client_on_the_list_of_the_denied_is_forbidden_and_one_of_the_allowed_never(limit: Any) -> None:
    limit("1/minute", deny=[HERE])
    with count_round_trips() as counted:
        assert Client().get("/free/").status_code == 403
    assert counted.total == 0
    limit("1/minute")
    mw.limits.ban(HERE)
    assert Client().get("/free/").status_code == 403
    mw.limits.unban(HERE)
    mw.limits.allow(HERE)
    assert [Client().get("/free/").status_code for _ in range(3)] == [200] * 3


def test_a_preflight_is_exempt(limit: Any) -> None:
    limit("1/minute")
    asking = {"Access-Control-Request-Method": "PUT"}
    assert [Client().options("/free/", headers=asking).status_code for _ in range(3)] == [200] * 3


def test_a_limit_in_shadow_refuses_nothing_and_tells_nothing(limit: Any) -> None:
    limit(Limit("1/minute", shadow=True))
    responses = [Client().get("/free/") for _ in range(3)]
    assert [response.status_code for response in responses] == [200] * 3
    assert "RateLimit" not in responses[-1].headers


# Who is who


def test_a_limit_by_user_costs_a_trip_and_tells_users_apart(limit: Any) -> None:
    limit(rules=[Rule("/read/", limits=[Limit("2/minute", by="user")])])
    ada, grace = Client(), Client()
    _ = ada.get("/bind/?user=1")
    _ = grace.get("/bind/?user=2")
    for status, trips in ((200, 2), (200, 2), (429, 2), (429, 1)):
        with count_round_trips() as counted:
            assert ada.get("/read/").status_code == status
        assert counted.awaited == trips, counted
    assert grace.get("/read/").status_code == 200
    with count_round_trips() as counted:
        assert [Client().get("/read/").status_code for _ in range(3)] == [200, 200, 429]
    assert counted.total == 3


def test_a_limit_by_session_costs_none(limit: Any) -> None:
    limit(rules=[Rule("/read/", limits=[Limit("1/minute", by="session")])])
    first, second = Client(), Client()
    for client in (first, second):
        _ = client.get("/write/?x=1")
        with count_round_trips() as counted:
            assert client.get("/read/").status_code == 200
        assert counted.total == 1
        assert client.get("/read/").status_code == 429


def test_a_limit_by_header_by_a_callable_and_by_the_route(limit: Any) -> None:
    key, named = Limit("1/minute", by="header:X-Api-Key"), Limit("1/minute", by="call:site_of_limits.by_header")
    limit(rules=[Rule("/free/", limits=[key]), Rule("/read/", limits=[named])])
    client = Client()
    for name in ("a", "b"):
        assert [client.get("/free/", headers={"x-api-key": name}).status_code for _ in range(2)] == [200, 429]
        assert [client.get(f"/read/?who={name}").status_code for _ in range(2)] == [200, 429]
    limit(Limit("2/minute", by="route"))
    asked = ["/status/201/", "/status/202/", "/status/203/", "/free/", "/inside/function/"]
    assert [client.get(path).status_code for path in asked] == [201, 202, 429, 200, 200]


def test_a_limit_by_the_route_that_is_asked_late_knows_it(settings: Any) -> None:
    settings.ROOT_URLCONF = "site_of_tests"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "site_of_limits.AtAnotherPlace"]
    client = Client()
    asked = ["/hidden_by_route/1/", "/hidden_by_route/2/", "/hidden_by_name/", "/hidden_by_route/3/"]
    assert [client.get(path).status_code for path in asked] == [200, 200, 200, 429]


def test_the_rate_may_be_the_callables(limit: Any) -> None:
    limit(Limit("call:site_of_limits.by_plan", name="plan"))
    client = Client()
    assert [client.get("/free/?plan=small").status_code for _ in range(2)] == [200, 429]
    assert [client.get("/free/?plan=large").status_code for _ in range(3)] == [200, 200, 429]
    assert "RateLimit" not in client.get("/free/").headers


def test_paths_that_begin_with_a_language_are_found_in_it(settings: Any, limit: Any, limits_site: Any) -> None:
    settings.ROOT_URLCONF = limits_site.in_languages
    settings.LANGUAGES = [("en", "English"), ("de", "Deutsch")]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    limit("100/minute")
    client = Client()
    for path in ("/de/function/", "/en/function/"):
        with count_round_trips() as counted:
            assert client.get(path).status_code == 200
        assert counted.total == 1
    assert client.get("/de/function/").status_code == 429
