"""Locks and idempotency keys under Django: decorated in every way, taken once, in the one trip of the request."""

import uuid
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import AsyncClient, Client

from redis_mw import Idempotent, LayerMissing, Lock, Rule
from redis_mw.settings import replace
from redis_mw.testing import count_round_trips

pytestmark = pytest.mark.usefixtures("requests_site")

SEEN = [
    "function/{}", "afunction/{}", "above/{}", "below/{}", "OnUrl/{}", "OnUrlOfClass/{}", "OnUrlOfAsyncClass/{}",
    "OnClass/{}", "OnDispatch/{}", "OnMethod/{}", "AOnClass/{}", "AOnDispatch/{}", "AOnMethod/{}", "in/{}/function",
    "in/{}/afunction",
]  # fmt: skip
HIDDEN = ["hidden/{}", "ahidden/{}"]
"""Their marks are behind a decorator that does not keep them, so each is asked for by itself."""
WAYS = [*((path, (1, 2, 1)) for path in SEEN), *((path, (1, 3, 2)) for path in HIDDEN)]


@pytest.fixture
def events(settings: Any) -> list[str]:
    """The names of what happens, in order."""
    found: list[str] = []
    settings.REDIS_MW = replace(settings.REDIS_MW, on_event=[lambda event: found.append(event.name)])
    return found


def keyed(key: str = "8e03978e") -> dict[str, str]:
    return {"Idempotency-Key": f'"{key}"'}


@pytest.mark.parametrize(("path", "trips"), WAYS)
def test_a_decorated_view_is_locked_and_claimed_once_and_in_the_trip_of_the_request(
    requests_site: Any, events: list[str], path: str, trips: tuple[int, int, int]
) -> None:
    client, (alone, first, repeat) = Client(), trips
    with count_round_trips() as counted:
        answer = client.get(f"/{path.format(6)}/")
    assert (answer.status_code, answer.json()["names"], counted.awaited) == (200, ["order:6"], alone), counted
    with count_round_trips() as counted:
        once = client.post(f"/{path.format(7)}/", {"a": "b"}, headers=keyed())
    assert (once.status_code, counted.awaited) == (200, first), counted
    assert sorted(events) == ["idempotency.first", "lock.acquired", "lock.acquired"]
    requests_site.until_free("order:7")
    with count_round_trips() as counted:
        again = client.post(f"/{path.format(7)}/", {"a": "b"}, headers=keyed())
    assert (again.content, again.headers["Idempotency-Replayed"], counted.awaited) == (once.content, "true", repeat)
    assert len(requests_site.ran) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(("path", "trips"), WAYS)
async def test_under_asgi_it_costs_exactly_the_same(
    requests_site: Any, events: list[str], path: str, trips: tuple[int, int, int]
) -> None:
    client, (alone, first, repeat) = AsyncClient(), trips
    with count_round_trips() as counted:
        answer: Any = await client.get(f"/{path.format(6)}/")
    assert (answer.status_code, answer.json()["names"], counted.awaited) == (200, ["order:6"], alone), counted
    with count_round_trips() as counted:
        once: Any = await client.post(f"/{path.format(7)}/", {"a": "b"}, headers=keyed())
    assert (once.status_code, counted.awaited) == (200, first), counted
    assert sorted(events) == ["idempotency.first", "lock.acquired", "lock.acquired"]
    await requests_site.auntil_free("order:7")
    with count_round_trips() as counted:
        again = await client.post(f"/{path.format(7)}/", {"a": "b"}, headers=keyed())
    assert (again.content, again.headers["Idempotency-Replayed"], counted.awaited) == (once.content, "true", repeat)
    assert len(requests_site.ran) == 2


def test_a_view_that_another_middleware_chose_is_protected_before_it_runs(settings: Any, requests_site: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "site_of_requests.AtAnotherPlace"]
    settings.ROOT_URLCONF = "site_of_tests"
    for path in ("/function/007/", "/afunction/7/"):
        client, key = Client(), keyed(path)
        for trips in (2, 1):  # however many marks
            with count_round_trips() as counted:
                answer = client.post(path, {"a": "b"}, headers=key)
            assert (answer.json()["names"], counted.awaited) == (["order:7"], trips), counted
            requests_site.until_free("order:7")
        other = client.post(path, {"a": "c"}, headers=key)
        assert (other.status_code, other.headers["Content-Type"]) == (422, "application/problem+json")
        requests_site.until_free("order:7")
    assert len(requests_site.ran) == 2


@pytest.mark.asyncio
async def test_a_view_that_another_middleware_chose_is_protected_under_asgi_too(
    settings: Any, requests_site: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "site_of_requests.AtAnotherPlace"]
    settings.ROOT_URLCONF = "site_of_tests"
    client = AsyncClient()
    for body, status in (("b", 200), ("b", 200), ("c", 422)):
        answer = await client.post("/afunction/7/", {"a": body}, headers=keyed())
        assert answer.status_code == status
        await requests_site.auntil_free("order:7")
    assert len(requests_site.ran) == 1


def test_a_decorated_view_without_the_middleware_raises(settings: Any) -> None:
    settings.MIDDLEWARE = settings.MIDDLEWARE[1:]
    for path in ("/function/7/", "/hidden/7/", "/keyed/"):
        with pytest.raises(LayerMissing):
            _ = Client().get(path)


def test_where_locks_and_idempotency_are_turned_off_decorated_views_are_free(rule: Any, requests_site: Any) -> None:
    rule(locks=None, idempotency=None)
    with count_round_trips() as counted:
        answers = [Client().post(path, headers=keyed()) for path in ("/function/7/", "/hidden/7/") for _ in range(2)]
    assert [answer.json()["fence"] for answer in answers] == [0] * 4
    assert counted.total == 0


# Templates


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/function/007/", "order:7"),
        ("/of_number/007/", "of:7"),
        ("/of_uuid/00000000-0000-0000-0000-000000000007/", f"of:{uuid.UUID(int=7)}"),
        ("/of_option/", f"of:{uuid.UUID(int=7)}"),
        ("/of_size/large/", "of:l"),
        ("/of_regex/007/", "of:007"),
        ("/of_callable/?name=mine", "mine"),
    ],
)
def test_a_name_is_filled_with_what_the_view_gets(path: str, name: str) -> None:
    assert Client().get(path).json()["names"] == [name]


def test_what_a_request_has_not_locks_nothing() -> None:
    for path in ("/of_session/", "/of_user/", "/of_callable/"):
        answer = Client().get(path)
        assert (answer.status_code, answer.json()["names"]) == (200, [])


def test_a_lock_by_session_costs_no_trip_and_one_by_user_costs_one() -> None:
    client, names = Client(), {}
    _ = client.get("/bind/?user=7")
    for path, trips in (("/of_session/", 1), ("/of_user/", 2)):
        with count_round_trips() as counted:
            (names[path],) = client.get(path).json()["names"]
        assert counted.awaited == trips, counted
    assert names["/of_user/"] == "of:7"
    other = Client()
    _ = other.get("/bind/?user=8")
    assert other.get("/of_session/").json()["names"] != [names["/of_session/"]]


@pytest.mark.parametrize("path", ["/ruled/7/", "/ruled/007/"])
def test_a_rule_by_path_reads_what_the_view_would_be_given(rule: Any, requests_site: Any, path: str) -> None:
    rule(Rule("/ruled/{order_id}/", lock=Lock("order:{order_id}"), idempotency=Idempotent(required=True)))
    assert Client().post(path).status_code == 400
    client = Client()
    for trips in (2, 1):
        with count_round_trips() as counted:
            answer = client.post(path, headers=keyed())
        assert (answer.json()["names"], counted.awaited) == (["order:7"], trips), counted
        requests_site.until_free("order:7")
    assert len(requests_site.ran) == 1


def test_a_view_says_more_than_a_rule(rule: Any) -> None:
    rule(Rule("/function/*", lock=Lock("everything")))
    assert Client().get("/function/7/").json()["names"] == ["order:7"]


def test_a_template_that_its_path_cannot_fill_is_found_by_the_checks(settings: Any, requests_site: Any) -> None:
    assert [found.id for found in run_checks(tags=["security"])] == []
    settings.ROOT_URLCONF = requests_site.misspelt
    found = [each for each in run_checks(tags=["security"]) if each.id == "redis_mw.E002"]
    assert len(found) == 1
    assert "{order_id}" in found[0].msg
    assert "orders/<int:order>/" in found[0].msg or "again" in found[0].msg
