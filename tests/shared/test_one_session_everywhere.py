"""One session, three frameworks: with equal secret, prefix and cookie name each reads and changes what all wrote."""

from itertools import permutations

import pytest

from redis_mw import RedisMW
from redis_mw.testing import count_round_trips

FRAMEWORKS = ("flask", "django", "starlette")
PAIRS = list(permutations(FRAMEWORKS, 2))


@pytest.fixture
def mw(redis_mw_settings):
    with RedisMW(redis_mw_settings) as face:
        yield face


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_what_is_written_here_is_read_and_changed_there_and_seen_here_again(browser, here, there):
    browser.get(here, "put", "a=1")
    cookie = browser.cookie
    assert browser.get(there, "read")["values"] == {"a": "'1'"}
    browser.get(there, "put", "b=2")
    assert browser.get(here, "read")["values"] == {"a": "'1'", "b": "'2'"}
    browser.get(there, "drop", "a")
    assert browser.get(here, "read")["values"] == {"b": "'2'"}
    assert browser.cookie == cookie


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_values_keep_their_types_and_deep_changes_travel(browser, here, there):
    browser.get(here, "values")
    assert set(browser.get(there, "same")["same"].values()) == {True}
    browser.get(there, "deeper", "2")
    assert browser.get(here, "read")["values"]["nested"] == "{'items': [1, '2']}"


@pytest.mark.parametrize("where", FRAMEWORKS)
def test_a_login_counts_everywhere(browser, where):
    browser.get(where, "put", "a=1")
    before = browser.cookie
    browser.get(where, "login", "7")
    assert browser.cookie != before
    told = [browser.get(each, "read") for each in FRAMEWORKS]
    assert [each["user"] for each in told] == ["7"] * 3
    assert len({each["handle"] for each in told}) == 1
    assert [each["values"] for each in told] == [{"a": "'1'"}] * 3


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_a_logout_there_ends_the_session_everywhere(browser, here, there):
    browser.get(here, "login", "7")
    old = browser.cookie
    browser.get(there, "logout")
    assert browser.cookie == ""
    browser.cookie = old
    for each in FRAMEWORKS:
        told = browser.get(each, "read")
        assert (told["user"], told["values"]) == (None, {})


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_a_session_regenerated_there_is_the_same_session(browser, here, there):
    browser.get(here, "login", "7")
    browser.get(here, "put", "a=1")
    before = browser.cookie
    browser.get(there, "regenerate")
    assert browser.cookie not in ("", before)
    for each in FRAMEWORKS:
        told = browser.get(each, "read")
        assert (told["user"], told["values"]) == ("7", {"a": "'1'"})


def test_a_user_has_one_list_of_sessions_and_ends_them_from_anywhere(browser, mw):
    others = [browser.another() for _ in FRAMEWORKS]
    for other, framework in zip(others, FRAMEWORKS, strict=True):
        other.get(framework, "login", "7")
    handles = [other.get("flask", "read")["handle"] for other in others]
    assert sorted(info.handle for info in mw.sessions.of_user(7)) == sorted(handles)
    assert mw.sessions.revoke(7, handles[0])
    assert [others[0].get(each, "read")["user"] for each in FRAMEWORKS] == [None] * 3
    assert [others[1].get(each, "read")["user"] for each in FRAMEWORKS] == ["7"] * 3
    assert mw.sessions.revoke_user(7, keep=handles[2]) == 1
    assert [other.get(each, "read")["user"] for other, each in zip(others, FRAMEWORKS, strict=True)] == [
        None,
        None,
        "7",
    ]


@pytest.mark.parametrize("where", FRAMEWORKS)
def test_a_read_and_a_change_cost_the_same_everywhere(browser, where):
    browser.get("flask", "put", "a=1")
    with count_round_trips() as read:
        browser.get(where, "read")
    with count_round_trips() as change:
        browser.get(where, "put", "a=2")
    assert (read.total, change.total) == (1, 2)


@pytest.mark.parametrize("where", FRAMEWORKS)
def test_a_forged_cookie_is_nobodys_everywhere_and_costs_nothing(browser, where):
    browser.get("flask", "login", "7")
    browser.cookie = browser.cookie[:-4] + ("AAAA" if not browser.cookie.endswith("AAAA") else "BBBB")
    with count_round_trips() as trips:
        assert browser.get(where, "read")["user"] is None
    assert trips.total == 0
