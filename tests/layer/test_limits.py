"""Limits in the layer without a framework: in which batch they leave, in which order, and what it costs."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from redis_mw import Limit, Limits, RedisMW, Rule, Settings, replace
from redis_mw.engine import trips
from redis_mw.http.request import Fields, Request
from redis_mw.layer.cookie import SessionCookie
from redis_mw.layer.exchange import Exchange, Proceed, Respond
from redis_mw.layer.layer import Layer
from redis_mw.layer.rooms import rooms_of
from redis_mw.limits.commands import SETTLE, TAKE
from redis_mw.policy.marks import Mark, Placed
from redis_mw.sessions.commands import LOAD
from redis_mw.sessions.room import furnish
from redis_mw.testing import count_round_trips, outage

SECRET = "a secret of thirty-two characters or more"


class App:
    """A handler's worth of layer."""

    def __init__(self, settings: Settings, *limits: Limit | str, sessions: bool = True, **of_limits: Any) -> None:
        rules = [Rule("/limited", limits=list(limits)), Rule("/limited/own", session="require")]
        settings = replace(settings, rules=rules, limits=Limits(**of_limits))
        self.mw = RedisMW(settings)
        assert settings.sessions is not None
        room = furnish(settings, settings.sessions, [SECRET], self.mw.events) if sessions else None
        self.layer = Layer(settings, room, SessionCookie(name="sid"), rooms_of(settings, self.mw.events, SECRET))
        self.cookie = self.stored() if sessions else None

    def begin(self, path: str = "/limited", method: str = "GET", marks: Any = (), **headers: str) -> Exchange:
        fields = Fields(tuple((name.replace("_", "-"), value) for name, value in headers.items()))
        request = Request(method, path, headers=fields, client="192.0.2.77")
        return self.layer.begin(request, self.cookie, marks=marks)

    def open(self, exchange: Exchange | None = None, eager: bool = True) -> Any:
        return self.mw.driver.run(self.layer.open(exchange or self.begin(), eager=eager))

    def finish(self, exchange: Exchange) -> None:
        self.mw.driver.run(self.layer.finish(exchange))

    def left(self, exchange: Exchange | None = None) -> list[int]:
        found = self.mw.driver.run(self.layer.explain(exchange or self.begin()))
        return [each.verdict.remaining for each in found]

    def stored(self) -> str:
        exchange = self.layer.begin(Request("GET", "/", client="192.0.2.77"))
        assert exchange.visit is not None
        exchange.visit.login(42)
        cookie = self.mw.driver.run(self.layer.commit(exchange, {"a": 1})).set_cookie
        assert cookie is not None
        return cookie.value


@pytest.fixture
def app_of(redis_mw_settings: Settings) -> Iterator[Callable[..., App]]:
    made: list[App] = []

    def make(*limits: Limit | str, **more: Any) -> App:
        made.append(App(redis_mw_settings, *limits, **more))
        return made[-1]

    yield make
    for app in made:
        app.mw.close()


@pytest.fixture
def sent() -> Iterator[list[list[str]]]:
    """The scripts of each batch, by their names, in order."""
    names = {script.sha: script.name for script in (TAKE, SETTLE, LOAD)}
    batches: list[list[str]] = []

    def note(endpoint: str, commands: Any, detached: bool) -> None:
        batches.append([names.get(words[1], str(words[0])) for words in commands])

    stop = trips.observe(note)
    yield batches
    stop()


def test_limits_and_session_leave_in_one_batch_in_this_order(app_of: Callable[..., App], sent: list[Any]) -> None:
    app = app_of("9/hour", Limit("8/day", by="global"), default=["7/minute"])
    sent.clear()
    exchange = app.begin()
    assert app.open(exchange) == Proceed()
    assert sent == [[TAKE.name, LOAD.name]]
    assert exchange.visit is not None and exchange.visit.initial == {"a": 1} and exchange.visit.user_id == "42"
    assert exchange.tally is not None and [each.limit for each in exchange.tally.verdicts] == [7, 9, 8]
    assert app.layer.fields(exchange)[0] == (
        "RateLimit-Policy",
        '"7-per-m";q=7;w=60, "9-per-h";q=9;w=3600, "8-per-d";q=8;w=86400',
    )


def test_a_session_rides_along_although_nobody_asked_for_it_yet(app_of: Callable[..., App]) -> None:
    app = app_of("9/hour")
    exchange = app.begin()
    with count_round_trips() as trips:
        assert app.open(exchange, eager=False) == Proceed()
        assert exchange.visit is not None and exchange.visit.loaded
        assert app.open(app.begin("/other"), eager=False) == Proceed()
    assert trips.total == 1, "where there is no limit there is no batch"


def test_a_limit_by_user_costs_one_trip_more(app_of: Callable[..., App], sent: list[Any]) -> None:
    app = app_of("9/hour", Limit("5/hour", by="user"))
    sent.clear()
    exchange = app.begin()
    assert app.open(exchange) == Proceed()
    assert sent == [[LOAD.name], [TAKE.name]]
    (_, by_user) = app.mw.driver.run(app.layer.explain(app.begin()))
    assert by_user.client == "user:42"


def test_without_a_cookie_a_limit_by_user_costs_none(app_of: Callable[..., App]) -> None:
    app = app_of(Limit("5/hour", by=["user", "session"]))
    app.cookie = None
    with count_round_trips() as trips:
        assert app.open() == Proceed()
    assert trips.total == 1


def test_lists_that_name_users_need_the_session_first(app_of: Callable[..., App], sent: list[Any]) -> None:
    app = app_of("1/hour", allow=["user:42"])
    sent.clear()
    assert [app.open() for _ in range(3)] == [Proceed()] * 3
    assert sent == [[LOAD.name]] * 3


def test_a_limit_by_session_is_known_by_the_cookie(app_of: Callable[..., App], sent: list[Any]) -> None:
    app = app_of(Limit("1/hour", by="session"))
    sent.clear()
    assert app.open() == Proceed() and isinstance(app.open(), Respond)
    assert sent[0] == [TAKE.name, LOAD.name]
    app.cookie = app.stored()
    assert app.open() == Proceed()


@pytest.mark.parametrize("sessions", [True, False])
def test_a_preflight_is_exempt(app_of: Callable[..., App], sessions: bool) -> None:
    app = app_of("1/hour", sessions=sessions)
    marks = [Placed(Mark(Limit("1/day")), "view#1")]
    with count_round_trips() as trips:
        for _ in range(3):
            exchange = app.begin(method="OPTIONS", marks=marks, access_control_request_method="POST")
            assert app.open(exchange, eager=False) == Proceed()
            assert app.mw.driver.run(app.layer.hold(exchange, *marks)) is None
            assert app.layer.fields(exchange) == [] and not app.layer.finishes(exchange)
    assert trips.total == 0
    assert app.open(app.begin(method="OPTIONS")) == Proceed()
    assert isinstance(app.open(app.begin(method="OPTIONS")), Respond)


def test_a_denied_request_is_answered_and_its_session_left_alone(app_of: Callable[..., App]) -> None:
    app = app_of("1/hour")
    assert app.open() == Proceed()
    answers = [app.open(app.begin(accept=accept)) for accept in ("*/*", "text/html")]
    for answer in answers:
        assert isinstance(answer, Respond) and answer.response.status == 429
        headers = dict(answer.response.headers)
        assert int(headers["retry-after"]) > 3000 and headers["RateLimit"].startswith('"1-per-h";r=0;t=')
    problem = msgspec.json.decode(answers[0].response.body)
    assert (problem["status"], problem["violated-policies"]) == (429, ["1-per-h"])
    assert answers[1].response.body.startswith(b"429 Too Many Requests\n")


def test_a_denied_repeat_costs_nothing_although_a_session_came(app_of: Callable[..., App]) -> None:
    app = app_of("1/hour")
    assert app.open() == Proceed() and isinstance(app.open(), Respond)
    with count_round_trips() as trips:
        exchange = app.begin()
        assert isinstance(app.open(exchange), Respond)
        app.finish(exchange)
    assert trips.total == 0


def test_a_late_mark_is_held_once_and_its_denial_gives_back_what_was_taken(app_of: Callable[..., App]) -> None:
    app = app_of("9/hour", Limit("3 in flight"))
    late = Placed(Mark(Limit("1/day")), "view#1")
    for turn in range(2):
        exchange = app.begin()
        assert app.open(exchange) == Proceed()
        with count_round_trips() as trips:
            refusal = app.mw.driver.run(app.layer.hold(exchange, late))
            again = app.mw.driver.run(app.layer.hold(exchange, late))
        assert (trips.awaited, again is None, refusal is None) == (1, turn == 0, turn == 0)
        assert app.left() == [8 - turn, 2]
        exchange.status = 200 if refusal is None else 429
        with count_round_trips() as trips:
            assert app.layer.finishes(exchange)
            app.finish(exchange)
            app.finish(exchange)
        assert trips.total == 1 and not app.layer.finishes(exchange)
        assert app.left() == [8, 3]


def test_a_mark_that_was_seen_is_counted_in_the_batch_and_not_again(app_of: Callable[..., App]) -> None:
    app = app_of("9/hour")
    mark = Placed(Mark(Limit("5/day")), "view#1")
    exchange = app.begin(marks=[mark])
    with count_round_trips() as trips:
        assert app.open(exchange) == Proceed()
        assert app.mw.driver.run(app.layer.hold(exchange, mark)) is None
    assert trips.awaited == 1
    assert app.left(app.begin(marks=[mark])) == [8, 4]


def test_finish_has_nothing_to_do_where_all_is_counted(app_of: Callable[..., App]) -> None:
    app = app_of("9/hour")
    exchange = app.begin()
    assert app.open(exchange) == Proceed() and not app.layer.finishes(exchange)


def test_who_says_no_status_let_the_request_fail(app_of: Callable[..., App]) -> None:
    app = app_of(Limit("5/hour", count="failed"))
    exchanges = [app.begin() for _ in range(2)]
    for exchange in exchanges:
        assert app.open(exchange) == Proceed()
    exchanges[0].status = 200
    for exchange in exchanges:
        assert app.layer.finishes(exchange)
        app.finish(exchange)
    assert app.left() == [4]


def test_while_redis_is_away_limits_pass_and_a_session_that_is_needed_refuses(app_of: Callable[..., App]) -> None:
    app = app_of(default=["2/hour"])
    with outage(app.mw):
        exchange = app.begin("/other")
        assert app.open(exchange) == Proceed() and app.layer.fields(exchange) == []
        refused = app.open(app.begin("/limited/own"))
        assert isinstance(refused, Respond) and refused.response.status == 503
        assert isinstance(app.open(app.begin("/other")), Respond), "two an hour are counted here, too"


def test_limits_may_be_off(redis_mw_settings: Settings) -> None:
    settings = replace(redis_mw_settings, limits=None, rules=[Rule("/limited", limits=["1/hour"])])
    with RedisMW(settings) as mw:
        layer = Layer(settings, None, SessionCookie(name="sid"), rooms_of(settings, mw.events))
        with count_round_trips() as trips:
            for _ in range(3):
                exchange = layer.begin(Request("GET", "/limited"), marks=[Placed(Mark(Limit("1/day")), "v#1")])
                assert mw.driver.run(layer.open(exchange, eager=True)) == Proceed()
                assert mw.driver.run(layer.explain(exchange)) == []
        assert trips.total == 0


@pytest.mark.parametrize(
    ("limit", "needed"),
    [
        (Limit("5/m", by="route"), True),
        (Limit("5/m", by=["user", "route"]), True),
        ("5/m", False),
        (Limit("5/m", by="global"), False),
    ],
    ids=["by route", "by user and route", "by client", "by nothing"],
)
def test_routes_are_needed_where_a_rule_counts_by_them(app_of: Callable[..., App], limit: Any, needed: bool) -> None:
    assert app_of(limit).layer.needs_routes == app_of(default=[limit]).layer.needs_routes == needed
