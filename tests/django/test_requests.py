"""What requests cost and carry: round trips, cookies, context. The same through the sync and the async client."""

import re
from typing import Any

import django.test.utils
import pytest
from django.conf import settings as django_settings
from django.core import mail
from django.test import AsyncClient, Client

from redis_mw.sessions.ids import Signer
from redis_mw.settings import Settings, replace
from redis_mw.testing import count_round_trips
from redis_mw_django.sessions import SessionStore

COOKIE = re.compile(r"[\w-]{47}\.[\w-]{43}")


def started(**values: str) -> Client:
    """A client that has a session."""
    client = Client()
    _ = client.get("/write/", values or {"x": "1"})
    return client


def cookie(client: Any) -> str:
    return client.cookies["sessionid"].value


def test_a_request_that_does_not_touch_its_session_makes_no_round_trip_and_gets_no_cookie() -> None:
    for client in (Client(), started()):
        with count_round_trips() as trips:
            response = client.get("/untouched/")
        assert (response.content, trips.total, dict(response.cookies)) == (b"hello", 0, {})
        assert "Vary" not in response.headers


@pytest.mark.parametrize(
    ("path", "trips"),
    [
        ("/read/", 1),
        ("/write/?x=2", 2),
        ("/write/?x=1", 1),
        ("/flush/", 1),
        ("/read_and_flush/", 2),
        ("/unbind/", 1),
        ("/aread/", 1),
        ("/awrite/?x=2", 2),
        ("/aflush/", 1),
        ("/bind/?user=7", 2),
    ],
)
def test_a_request_with_a_session_costs_exactly(path: str, trips: int) -> None:
    client = started()
    with count_round_trips() as counted:
        assert client.get(path).status_code == 200
    assert counted.awaited == trips, counted


@pytest.mark.parametrize("path", ["/write/?x=1", "/awrite/?x=1", "/bind/?user=7", "/cycle/"])
def test_a_new_session_costs_one_round_trip(path: str) -> None:
    with count_round_trips() as counted:
        assert "sessionid" in Client().get(path).cookies
    assert counted.awaited == 1, counted


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "trips"),
    [("/untouched/", 0), ("/aread/", 1), ("/awrite/?x=2", 2), ("/aflush/", 1), ("/read/", 1), ("/write/?x=2", 2)],
)
async def test_the_async_client_costs_exactly_the_same(path: str, trips: int) -> None:
    client = AsyncClient()
    with count_round_trips() as counted:
        _ = await client.get("/awrite/?x=1")
    assert counted.awaited == 1
    with count_round_trips() as counted:
        response = await client.get(path)
    assert (response.status_code, counted.awaited) == (200, trips), counted


@pytest.mark.asyncio
async def test_async_code_writes_what_sync_code_reads_and_the_other_way_round() -> None:
    client = AsyncClient()
    _ = await client.get("/awrite/?a=1")
    _ = await client.get("/write/?b=2")
    assert (await client.get("/read/")).json() == (await client.get("/aread/")).json() == {"a": "1", "b": "2"}


def test_the_cookie_is_signed_on_its_way_out_and_bare_inside() -> None:
    client = Client()
    _ = client.get("/write/?x=1")
    inside = client.get("/write/?x=2").content.decode()
    assert COOKIE.fullmatch(cookie(client))
    assert cookie(client).partition(".")[0] == inside


def test_the_cookie_keeps_what_django_set_on_it(settings: Any) -> None:
    settings.SESSION_COOKIE_SECURE = True
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    settings.SESSION_COOKIE_PATH = "/app/"
    settings.SESSION_COOKIE_AGE = 1000
    morsel = Client().get("/write/?x=1").cookies["sessionid"]
    assert COOKIE.fullmatch(morsel.value)
    assert (morsel["secure"], morsel["httponly"], morsel["samesite"], morsel["path"], morsel["max-age"]) == (
        True, True, "Strict", "/app/", 1000,
    )  # fmt: skip


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: good[:-1] + ("A" if good[-1] != "A" else "B"),
        lambda good: good.partition(".")[0],
        lambda good: Signer(["another secret that is long enough"]).sign(good.partition(".")[0]),
        lambda good: good * 50,
        lambda good: "",
        lambda good: "\x00\xff;=,",
        lambda good: "someunknownkey",
    ],
    ids=["changed", "bare", "of another secret", "oversized", "empty", "garbage", "a key of the client's choice"],
)
def test_a_bad_cookie_is_no_session_costs_nothing_and_is_left_alone(spoil: Any) -> None:
    client = started()
    client.cookies["sessionid"] = spoil(cookie(client))
    with count_round_trips() as counted:
        response = client.get("/read/")
    assert (response.json(), counted.total, dict(response.cookies)) == ({}, 0, {})


def test_an_id_of_the_clients_choice_is_never_adopted(settings: Any) -> None:
    settings.REDIS_MW_ACCEPT_UNSIGNED = True
    chosen = "AAAABBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
    client = Client()
    client.cookies["sessionid"] = chosen
    _ = client.get("/write/?x=1")
    assert not cookie(client).startswith(chosen)
    assert client.get("/read/").json() == {"x": "1"}


def test_unsigned_ids_are_accepted_only_on_demand_and_signed_at_once(settings: Any) -> None:
    client = started()
    bare = cookie(client).partition(".")[0]
    client.cookies["sessionid"] = bare
    assert client.get("/read/").json() == {}
    settings.REDIS_MW_ACCEPT_UNSIGNED = True
    assert client.get("/read/").json() == {"x": "1"}
    assert cookie(client).startswith(bare + ".")


def test_a_cookie_of_an_old_secret_is_good_and_sent_again_under_the_new_one(
    settings: Any, redis_mw_settings: Settings
) -> None:
    settings.REDIS_MW = replace(redis_mw_settings, secret="")
    client = started()
    old = cookie(client)
    settings.SECRET_KEY_FALLBACKS = [django_settings.SECRET_KEY]
    settings.SECRET_KEY = "a newer key, of at least thirty-two characters"
    assert dict(client.get("/untouched/").cookies) == {}
    assert client.get("/read/").json() == {"x": "1"}
    assert cookie(client) != old
    assert Signer([settings.SECRET_KEY]).verify(cookie(client)) is not None
    settings.SECRET_KEY_FALLBACKS = []
    assert client.get("/read/").json() == {"x": "1"}


def test_the_response_varies_on_the_cookie_when_the_session_was_accessed() -> None:
    client = started()
    assert client.get("/read/").headers["Vary"] == "Cookie"


def test_a_change_inside_a_value_is_noticed() -> None:
    client = Client()
    _ = client.get("/cart/")
    _ = client.get("/nested/")
    assert client.get("/read/").json() == {"cart": ["nested"]}


def test_a_failed_request_saves_nothing_unless_the_settings_say_so(settings: Any, redis_mw_settings: Settings) -> None:
    client = started()
    assert client.get("/broken/").status_code == 500
    assert client.get("/read/").json() == {"x": "1"}
    assert redis_mw_settings.sessions is not None
    settings.REDIS_MW = replace(redis_mw_settings, sessions=replace(redis_mw_settings.sessions, save_on_5xx=True))
    assert client.get("/broken/").status_code == 500
    assert client.get("/read/").json() == {"x": "lost"}


def test_a_request_knows_its_context() -> None:
    client = started()
    assert client.get("/context/").json() == {"face": "RedisMW", "x": "1"}


@pytest.mark.asyncio
async def test_an_async_request_knows_the_async_face() -> None:
    client = AsyncClient()
    _ = await client.get("/awrite/?x=1")
    assert (await client.get("/acontext/")).json() == {"face": "AsyncRedisMW", "x": "1"}


def test_the_engine_alone_works_with_bare_ids(settings: Any) -> None:
    settings.MIDDLEWARE = settings.MIDDLEWARE[1:]
    client = Client()
    inside = client.get("/write/?x=1").content.decode()
    assert cookie(client) == SessionStore(cookie(client)).session_key
    assert inside in ("None", cookie(client))
    assert client.get("/read/").json() == {"x": "1"}
    client.cookies["sessionid"] = "someunknownkey"
    assert client.get("/read/").json() == {}


def test_another_engine_keeps_its_cookies_as_they_are(settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    client = Client()
    _ = client.get("/write/?x=1")
    assert client.get("/read/").json() == {"x": "1"}


def test_a_skipped_path_has_no_session_and_can_store_none(settings: Any, redis_mw_settings: Settings) -> None:
    assert redis_mw_settings.sessions is not None
    skipping = replace(redis_mw_settings.sessions, skip=["/read/", "/cart/"])
    settings.REDIS_MW = replace(redis_mw_settings, sessions=skipping)
    client = started()
    with count_round_trips() as counted:
        response = client.get("/read/")
    assert (response.json(), counted.total, dict(response.cookies)) == ({}, 0, {})
    client.raise_request_exception = False
    assert client.get("/cart/").status_code == 500


def test_what_is_written_while_the_body_is_sent_is_never_lost_in_silence() -> None:
    from redis_mw.errors import SessionClosed

    client = started()
    response: Any = client.get("/late/")
    with pytest.raises(SessionClosed):
        _ = b"".join(response.streaming_content)
    assert client.get("/read/").json() == {"x": "1"}
    response = client.get("/late/?save")
    assert b"".join(response.streaming_content) == b"first last"
    assert client.get("/read/").json() == {"x": "1", "late": 1}


@pytest.mark.asyncio
async def test_an_async_body_may_save_too_and_must() -> None:
    from redis_mw.errors import SessionClosed

    client = AsyncClient()
    _ = await client.get("/awrite/?x=1")
    response: Any = await client.get("/alate/")
    with pytest.raises(SessionClosed):
        _ = [part async for part in response.streaming_content]
    response = await client.get("/alate/?save")
    assert [part async for part in response.streaming_content] == [b"first ", b"last"]
    assert (await client.get("/aread/")).json() == {"x": "1", "late": 1}


@pytest.mark.parametrize("under_test", [True, False])
def test_a_bare_id_saved_outside_of_a_request_passes_only_while_django_is_under_test(
    monkeypatch: pytest.MonkeyPatch, under_test: bool
) -> None:
    """The mailbox of the locmem backend, which sites use outside of tests too, is there in both cases."""
    assert hasattr(mail, "outbox")
    if not under_test:
        monkeypatch.delattr(django.test.utils._TestState, "saved_data")
    session = SessionStore()
    session["x"] = "1"
    session.save()
    client = Client()
    client.cookies["sessionid"] = str(session.session_key)
    assert client.get("/read/").json() == ({"x": "1"} if under_test else {})
