"""The layer without a framework: what it makes of requests, cookies and outages."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from redis_mw import PolicyError, RedisMW, Rule, SessionLimitReached, Sessions, Settings, SettingsError, replace
from redis_mw.http.request import Fields, Request
from redis_mw.layer.cookie import SessionCookie
from redis_mw.layer.exchange import Proceed, Respond
from redis_mw.layer.layer import Layer
from redis_mw.layer.secrets import signing_secrets
from redis_mw.sessions.ids import new_id
from redis_mw.sessions.room import furnish
from redis_mw.testing import count_round_trips, outage

OLD, NEW = "an older secret, thirty-two or more", "the newest secret, thirty-two or more"


class App:
    """A handler's worth of layer: ``answer`` is one request."""

    def __init__(self, settings: Settings, secrets: list[str]) -> None:
        self.mw = RedisMW(settings)
        assert settings.sessions is not None
        room = furnish(settings, settings.sessions, secrets, self.mw.events)
        self.layer = Layer(settings, room, SessionCookie(name="sid", secure=True))

    def begin(self, cookie: str | None = None, path: str = "/", **headers: str) -> Any:
        fields = Fields(tuple((name.replace("_", "-"), value) for name, value in headers.items()))
        return self.layer.begin(Request("GET", path, headers=fields, client="192.0.2.77"), cookie)

    def open(self, exchange: Any, *, eager: bool = True) -> Any:
        return self.mw.driver.run(self.layer.open(exchange, eager=eager))

    def commit(self, exchange: Any, data: Any) -> Any:
        return self.mw.driver.run(self.layer.commit(exchange, data))

    def stored(self, data: dict[str, Any]) -> str:
        """The cookie of a new session."""
        committed = self.commit(self.begin(), data)
        return committed.set_cookie.value


@pytest.fixture
def app(redis_mw_settings: Settings) -> Iterator[App]:
    app = App(redis_mw_settings, [NEW, OLD])
    yield app
    app.mw.close()


def test_a_cookie_brings_its_session_back(app: App) -> None:
    cookie = app.stored({"a": 1})
    exchange = app.begin(cookie)
    assert app.open(exchange) == Proceed()
    assert exchange.visit.initial == {"a": 1}
    assert app.commit(exchange, {"a": 1}).set_cookie is None


NOT_OURS = {
    "none": None,
    "empty": "",
    "short": "x",
    "unsigned": new_id(),
    "forged": f"{new_id()}.forged",
    "surrogate": "\udc80",
    "huge": "a" * 100_000,
}


@pytest.mark.parametrize("cookie", NOT_OURS.values(), ids=NOT_OURS)
def test_a_cookie_that_is_not_ours_costs_nothing(app: App, cookie: str | None) -> None:
    with count_round_trips() as trips:
        exchange = app.begin(cookie)
        app.open(exchange)
        app.commit(exchange, None)
    assert (trips.total, exchange.visit.id) == (0, None)


def test_junk_of_the_same_name_does_not_hide_a_good_cookie(app: App) -> None:
    cookie = app.stored({"a": 1})
    exchange = app.layer.begin(Request("GET", "/"), "junk", f"{cookie}x", cookie)
    app.open(exchange)
    assert exchange.visit.initial == {"a": 1}


def test_a_cookie_signed_by_an_older_secret_is_sent_anew(redis_mw_settings: Settings, app: App) -> None:
    before = App(redis_mw_settings, [OLD])
    cookie = before.stored({"a": 1})
    before.mw.close()
    exchange = app.begin(cookie)
    app.open(exchange)
    again = app.commit(exchange, None).set_cookie
    assert again is not None and again.value != cookie and again.secure
    after = app.begin(again.value)
    app.open(after)
    assert (after.visit.initial, app.commit(after, None).set_cookie) == ({"a": 1}, None)


def test_ending_a_session_takes_the_cookie_back_with_the_same_attributes(app: App) -> None:
    cookie = app.stored({"a": 1})
    exchange = app.begin(cookie)
    exchange.visit.logout()
    taken = app.commit(exchange, {}).set_cookie
    assert taken.max_age == 0
    given = app.layer.cookie.give("", 0)
    assert taken == given


def test_who_logged_in_is_listed_with_browser_and_network(app: App) -> None:
    exchange = app.begin(user_agent="Firefox")
    exchange.visit.login(42)
    app.commit(exchange, {})
    (info,) = app.mw.sessions.of_user(42)
    assert (info.user_agent, info.address) == ("Firefox", "192.0.2.0/24")


def test_a_path_that_needs_its_session_is_refused_in_an_outage_and_others_are_not(redis_mw_settings: Settings) -> None:
    app = App(replace(redis_mw_settings, rules=[Rule("/account", session="require")]), [NEW])
    cookie = app.stored({"a": 1})
    with outage(app.mw):
        refused = app.open(app.begin(cookie, "/account"), eager=False)
        assert isinstance(refused, Respond)
        assert refused.response.status == 503
        assert dict(refused.response.headers)["retry-after"] == "1"
        assert msgspec.json.decode(refused.response.body)["status"] == 503
        assert app.open(app.begin(cookie, "/"), eager=True) == Proceed()
    app.mw.close()


def test_a_write_that_meets_an_outage_is_refused_and_leaves_the_cookie_alone(app: App) -> None:
    cookie = app.stored({"a": 1})
    exchange = app.begin(cookie)
    app.open(exchange)
    with outage(app.mw):
        committed = app.commit(exchange, {"a": 2})
    assert committed.respond.response.status == 503 and committed.set_cookie is None


def test_a_skipped_path_asks_for_nothing(redis_mw_settings: Settings) -> None:
    app = App(replace(redis_mw_settings, sessions=Sessions(skip=["/healthz"])), [NEW])
    cookie = app.stored({"a": 1})
    with count_round_trips() as trips:
        exchange = app.begin(cookie, "/healthz")
        app.open(exchange)
        app.commit(exchange, None)
    assert trips.total == 0 and exchange.visit.initial == {}
    app.mw.close()


def test_one_session_too_many_is_an_error(redis_mw_settings: Settings) -> None:
    app = App(replace(redis_mw_settings, sessions=Sessions(max_sessions=1, on_max="refuse")), [NEW])
    for attempt in range(2):
        exchange = app.begin()
        exchange.visit.login(42)
        if attempt:
            with pytest.raises(SessionLimitReached):
                app.commit(exchange, {})
        else:
            app.commit(exchange, {})
    app.mw.close()


def test_what_is_not_built_yet_is_no_silent_promise() -> None:
    with pytest.raises(PolicyError, match=r"wait_replicas: .* not part of this version"):
        Layer(Settings(wait_replicas=1), None, SessionCookie(name="sid"))


def test_secrets_come_from_the_settings_then_from_the_framework(caplog: pytest.LogCaptureFixture) -> None:
    own = ["framework " * 4]
    assert signing_secrets(Settings(secret=NEW, old_secrets=[OLD]), own, named="SECRET_KEY") == [NEW, OLD]
    assert signing_secrets(Settings(), own, named="SECRET_KEY") == own
    assert signing_secrets(Settings(old_secrets=[OLD]), own, named="SECRET_KEY") == [*own, OLD]
    assert not caplog.records
    assert signing_secrets(Settings(), ["short", "older"], named="SECRET_KEY") == ["short", "older"]
    assert "SECRET_KEY" in caplog.text and "short" not in caplog.text
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        signing_secrets(Settings(), [], named="SECRET_KEY")


@pytest.mark.parametrize("empty", ["", None, b""], ids=repr)
def test_an_empty_fallback_of_the_framework_is_a_problem_that_names_it(empty: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        signing_secrets(Settings(), [NEW, OLD, empty], named="SECRET_KEY")
    assert [problem.path for problem in caught.value.problems] == ["SECRET_KEY fallbacks[1]"]
    assert signing_secrets(Settings(secret=NEW), [OLD, empty], named="SECRET_KEY") == [NEW]
