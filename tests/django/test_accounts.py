"""Users of Django: login, logout, admin, messages, changed passwords, and the list of a user's sessions."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import AsyncClient, Client

from redis_mw.testing import count_round_trips
from redis_mw_django import mw
from redis_mw_django.sessions import SessionStore

pytestmark = pytest.mark.django_db

WHO = {"username": "ada", "password": "a good one"}


@pytest.fixture
def ada() -> Any:
    users: Any = get_user_model().objects
    return users.create_superuser("ada", "ada@example.org", "a good one")


def key(client: Any) -> str:
    return client.cookies["sessionid"].value.partition(".")[0]


def test_a_login_gives_a_new_key_keeps_the_data_and_binds_the_user(ada: Any) -> None:
    client = Client()
    _ = client.get("/write/?x=1")
    before = key(client)
    with count_round_trips() as counted:
        told = client.post("/enter/", WHO).content.decode()
    assert counted.awaited == 2, counted
    assert before != key(client) == told
    seen = client.get("/about/").json()
    assert (seen["user_id"], seen["fresh"], seen["unavailable"]) == (str(ada.pk), True, False)
    assert client.get("/read/").json()["x"] == "1"
    assert [info.handle for info in mw.sessions.of_user(ada.pk)] == [seen["handle"]]


def test_a_login_without_a_session_costs_one_round_trip(ada: Any) -> None:
    with count_round_trips() as counted:
        assert Client().post("/enter/", WHO).status_code == 200
    assert counted.awaited == 1, counted


def test_the_list_of_a_users_sessions_tells_browser_and_network(ada: Any) -> None:
    client = Client(headers={"user-agent": "Firefox"}, REMOTE_ADDR="192.0.2.77")
    _ = client.post("/enter/", WHO)
    (info,) = mw.sessions.of_user(ada.pk)
    assert (info.user_agent, info.address) == ("Firefox", "192.0.2.0/24")


def test_who_planted_a_key_before_the_login_sees_nothing_of_it(ada: Any) -> None:
    client, planter = Client(), Client()
    _ = client.get("/write/?x=1")
    planter.cookies["sessionid"] = client.cookies["sessionid"].value
    _ = client.post("/enter/", WHO)
    assert "_auth_user_id" not in planter.get("/read/").json()


def test_a_logout_ends_the_session_for_every_copy_of_its_cookie(ada: Any) -> None:
    client, thief = Client(), Client()
    _ = client.post("/enter/", WHO)
    thief.cookies["sessionid"] = client.cookies["sessionid"].value
    response = client.get("/leave/")
    assert response.cookies["sessionid"]["max-age"] == 0
    assert thief.get("/private/").status_code == 302
    assert mw.sessions.of_user(ada.pk) == []


def test_a_revoked_session_is_over_at_its_next_request(ada: Any) -> None:
    client = Client()
    _ = client.post("/enter/", WHO)
    assert client.get("/private/").status_code == 200
    assert mw.sessions.revoke_user(ada.pk) == 1
    assert client.get("/private/").status_code == 302


def test_after_a_change_of_password_the_old_key_is_worth_nothing_and_harms_nobody(ada: Any) -> None:
    client, late = Client(), Client()
    _ = client.post("/enter/", WHO)
    late.cookies["sessionid"] = client.cookies["sessionid"].value
    _ = client.get("/new_password/")
    assert late.get("/private/").status_code == 302
    assert client.get("/private/").status_code == 200


def test_another_user_who_logs_in_gets_a_session_of_their_own(ada: Any) -> None:
    users: Any = get_user_model().objects
    bob = users.create_user("bob", password="b")
    client = Client()
    _ = client.post("/enter/", WHO)
    _ = client.get("/write/?x=1")
    assert client.post("/enter/", {"username": "bob", "password": "b"}).status_code == 200
    assert "x" not in client.get("/read/").json()
    assert (len(mw.sessions.of_user(bob.pk)), mw.sessions.of_user(ada.pk)) == (1, [])


def test_the_admin_logs_in_and_out(ada: Any) -> None:
    client = Client()
    assert client.get("/admin/").status_code == 302
    assert client.post("/admin/login/?next=/admin/", WHO).headers["Location"] == "/admin/"
    assert b"Site administration" in client.get("/admin/").content
    assert client.post("/admin/logout/").status_code == 200
    assert client.get("/admin/").status_code == 302


def test_a_message_is_heard_once() -> None:
    client = Client()
    _ = client.get("/say/")
    assert client.get("/hear/").json() == ["well done"]
    assert client.get("/hear/").json() == []


def test_djangos_test_client_logs_in_as_ever(ada: Any) -> None:
    forced, checked = Client(), Client()
    forced.force_login(ada)
    assert checked.login(**WHO)
    for client in (forced, checked):
        assert client.get("/private/").status_code == 200
        client.logout()
        assert client.get("/private/").status_code == 302


def test_the_session_of_djangos_test_client_can_be_read_and_written() -> None:
    client = Client()
    session: Any = client.session
    session["x"] = "from the test"
    session.save()
    assert client.get("/read/").json() == {"x": "from the test"}
    _ = client.get("/write/?y=1")
    assert dict(client.session.items()) == {"x": "from the test", "y": "1"}
    session = client.session
    session["z"] = 1
    session.save()
    assert client.get("/read/").json() == {"x": "from the test", "y": "1", "z": 1}


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_djangos_async_test_client_logs_in_as_ever() -> None:
    users: Any = get_user_model().objects
    ada = await users.acreate_superuser("ada", "ada@example.org", "a good one")
    client = AsyncClient()
    await client.aforce_login(ada)
    assert (await client.get("/private/")).status_code == 200
    await client.alogout()
    assert (await client.get("/private/")).status_code == 302


def test_our_own_login_binds_any_user_and_our_own_logout_ends_it() -> None:
    client = Client()
    _ = client.get("/write/?x=1")
    before = key(client)
    assert client.get("/bind/?user=7").content == b"7"
    assert key(client) != before
    assert client.get("/about/").json()["user_id"] == "7"
    assert len(mw.sessions.of_user(7)) == 1
    assert client.get("/unbind/").cookies["sessionid"]["max-age"] == 0
    assert mw.sessions.of_user(7) == []


def test_a_cycled_key_is_told_before_it_is_stored() -> None:
    client = Client()
    _ = client.get("/write/?x=1")
    before = key(client)
    told = client.get("/cycle/").content.decode()
    assert before != key(client) == told
    assert client.get("/read/").json() == {"x": "1"}
    assert not SessionStore().exists(before)


def test_clearsessions_has_nothing_to_do_and_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("clearsessions")
    assert capsys.readouterr() == ("", "")
