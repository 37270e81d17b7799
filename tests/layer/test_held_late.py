"""Marks that nobody saw before the view was called: what the layer's ``hold`` asks, and what it gives back."""

from collections.abc import Iterator
from typing import Any

import pytest

from redis_mw import Limit, RedisMW, Rule, Settings, replace
from redis_mw.faces.limits import RequestLimits
from redis_mw.http.request import Request
from redis_mw.layer.cookie import SessionCookie
from redis_mw.layer.exchange import Proceed
from redis_mw.layer.layer import Layer
from redis_mw.layer.rooms import rooms_of
from redis_mw.policy.marks import Mark, Placed
from redis_mw.sessions.room import furnish
from redis_mw.testing import count_round_trips

SECRET = "a secret of thirty-two characters or more"


def placed(limit: Limit | str, place: str = "view#1") -> Placed:
    return Placed(Mark(Limit(limit) if isinstance(limit, str) else limit), place)


class App:
    """A layer with sessions, and limits by rule for two paths."""

    def __init__(self, settings: Settings) -> None:
        settings = replace(settings, rules=[Rule("/limited", limits=["5/minute"])])
        self.mw = RedisMW(settings)
        assert settings.sessions is not None
        room = furnish(settings, settings.sessions, [SECRET], self.mw.events)
        rooms = rooms_of(settings, self.mw.events, SECRET)
        self.layer = Layer(settings, room, SessionCookie(name="sid"), rooms)

    def opened(self, cookie: str | None = None, path: str = "/limited") -> Any:
        exchange = self.layer.begin(Request("GET", path, client="192.0.2.77"), cookie)
        assert self.mw.driver.run(self.layer.open(exchange, eager=False)) == Proceed()
        return exchange

    def hold(self, exchange: Any, *late: Placed) -> Any:
        return self.mw.driver.run(self.layer.hold(exchange, *late))

    def finish(self, exchange: Any) -> None:
        self.mw.driver.run(self.layer.finish(exchange))

    def remaining(self) -> int:
        """What the rule has left of the five, after this one more."""
        remaining: int = self.opened().tally.verdicts[0].remaining
        return remaining

    def logged_in(self, user: int) -> str:
        exchange = self.layer.begin(Request("GET", "/", client="192.0.2.77"))
        exchange.visit.login(user)
        cookie = self.mw.driver.run(self.layer.commit(exchange, {"x": 1})).set_cookie
        assert cookie is not None
        return cookie.value


@pytest.fixture
def app(redis_mw_settings: Settings) -> Iterator[App]:
    app = App(redis_mw_settings)
    yield app
    app.mw.close()


def test_all_marks_of_a_view_are_one_trip_and_are_counted_once(app: App) -> None:
    exchange = app.opened()
    late = placed("7/minute"), placed("9/hour", "view#2")
    with count_round_trips() as trips:
        assert app.hold(exchange, *late) is None
        assert app.hold(exchange, late[1]) is None
    assert trips.total == 1
    assert [verdict.remaining for verdict in exchange.tally.verdicts] == [4, 6, 8]


def test_a_limit_by_user_that_is_held_late_knows_the_user_although_others_were_asked_before(app: App) -> None:
    late = placed(Limit("1/minute", by="user"))
    ada, grace = app.logged_in(1), app.logged_in(2)
    assert app.hold(app.opened(ada), late) is None
    assert app.hold(app.opened(grace), late) is None
    assert app.hold(app.opened(ada), late) is not None


def test_a_limit_by_session_that_is_held_late_knows_the_session(app: App) -> None:
    late = placed(Limit("1/minute", by="session"))
    ada, grace = app.logged_in(1), app.logged_in(2)
    assert app.hold(app.opened(ada), late) is None
    assert app.hold(app.opened(grace), late) is None
    assert app.hold(app.opened(ada), late) is not None


@pytest.mark.parametrize("known", [False, True])
def test_who_is_denied_late_gets_back_what_was_taken_early_and_does_not_wait_for_it(app: App, known: bool) -> None:
    late = placed("1/hour")
    assert app.hold(app.opened(), late) is None
    assert app.remaining() == 3
    if known:
        refused = app.opened()
        assert app.hold(refused, late) is not None
        app.finish(refused)
    refused = app.opened()
    with count_round_trips() as trips:
        assert app.hold(refused, late) is not None
    assert trips.total == (0 if known else 1)
    assert app.layer.finishes(refused)
    app.finish(refused)
    assert not app.layer.finishes(refused)
    assert app.remaining() == 2


def test_different_limits_at_places_of_one_name_are_both_enforced(app: App) -> None:
    """A decorator that keeps a view's name and drops its marks makes one of what was two."""
    exchange = app.opened(path="/")
    assert app.hold(exchange, placed("9/minute")) is None
    assert app.hold(exchange, placed("1/minute")) is None
    assert [verdict.remaining for verdict in exchange.tally.verdicts] == [8, 0]
    again = app.opened(path="/")
    assert app.hold(again, placed("9/minute")) is None
    assert app.hold(again, placed("1/minute")) is not None


def test_who_tries_again_after_being_turned_away_is_turned_away_again_and_counts_nothing(app: App) -> None:
    late = placed("1/hour")
    assert app.hold(app.opened(), late) is None
    refused = app.opened()
    answer = app.hold(refused, late)
    assert answer is not None and not refused.passed(late.mark)
    with count_round_trips() as trips:
        assert app.hold(refused, late) is answer and app.hold(refused, placed("9/hour", "view#2")) is answer
    assert trips.total == 0


def test_who_tries_again_after_something_broke_gets_no_further(app: App) -> None:
    def broken(request: Any) -> str:
        raise LookupError("a bug of the application")

    exchange, late = app.opened(), placed(Limit("1/hour", by=broken))
    for _ in range(2):
        with pytest.raises(LookupError, match="a bug"):
            app.hold(exchange, late)
        assert not exchange.passed(late.mark)


def test_a_mark_that_was_seen_and_never_asked_has_not_passed(app: App) -> None:
    """As where the body of the request could not be read: who tries again is asked then."""
    exchange, late = app.opened(), placed("1/hour")
    app.layer.routed(exchange, [late], exchange.route)
    assert not exchange.passed(late.mark)
    app.layer.routed(exchange, [late], exchange.route)
    with count_round_trips() as trips:
        assert app.hold(exchange) is None and exchange.passed(late.mark)
    assert trips.total == 1
    assert len(exchange.tally.verdicts) == 2


def test_a_limiter_for_the_client_of_a_request_knows_the_session_too(app: App) -> None:
    limit = Limit("1/minute", by="session")
    ada, grace = (
        RequestLimits(app.mw.limits, app.layer, app.opened(app.logged_in(user))).limiter(limit) for user in (1, 2)
    )
    assert [bool(ada.hit()), bool(grace.hit()), bool(ada.hit())] == [True, True, False]
