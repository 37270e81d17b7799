"""What the layer does with limits around a request, without a framework: a view known late, the settling at the end."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redis_mw import Limit, PolicyError, RedisMW, Rule, Settings, replace
from redis_mw.http.request import Fields, Request
from redis_mw.layer.cookie import SessionCookie
from redis_mw.layer.exchange import Proceed, Respond
from redis_mw.layer.layer import Layer
from redis_mw.layer.rooms import rooms_of
from redis_mw.policy.marks import Mark, Placed
from redis_mw.testing import count_round_trips


class App:
    """A layer with limits only."""

    def __init__(self, settings: Settings, secret: Any = "") -> None:
        self.mw = RedisMW(settings)
        rooms = rooms_of(settings, self.mw.events, secret)
        self.room = rooms.limits
        self.layer = Layer(settings, None, SessionCookie(name="sid"), rooms)

    def begin(self, method: str = "GET", **headers: str) -> Any:
        return self.layer.begin(Request(method, "/x", headers=Fields(tuple(headers.items())), client="192.0.2.77"))

    def open(self, exchange: Any) -> Any:
        return self.mw.driver.run(self.layer.open(exchange, eager=False))

    def finish(self, exchange: Any) -> None:
        self.mw.driver.run(self.layer.finish(exchange))


Make = Callable[..., App]


@pytest.fixture
def make(redis_mw_settings: Settings) -> Iterator[Make]:
    made: list[App] = []

    def app(*limits: Limit | str, secret: Any = "", **changes: Any) -> App:
        rules = [Rule("/x", limits=limits)] if limits else []
        made.append(App(replace(redis_mw_settings, sessions=None, rules=rules, secret="", **changes), secret))
        return made[-1]

    yield app
    for each in made:
        each.mw.close()


def test_a_view_that_is_known_late_is_asked_in_the_same_trip(make: Make) -> None:
    app = make("5/minute")
    exchange = app.begin()
    app.layer.routed(exchange, [Placed(Mark(Limit("9/minute")), "view#1")], "view")
    with count_round_trips() as trips:
        assert app.open(exchange) == Proceed()
    assert trips.total == 1
    assert [verdict.limit for verdict in exchange.tally.verdicts] == [5, 9]
    assert exchange.route == "view"


def test_a_preflight_is_exempt_from_them_too(make: Make) -> None:
    app = make("5/minute")
    exchange = app.begin("OPTIONS", **{"access-control-request-method": "PUT"})
    app.layer.routed(exchange, [Placed(Mark(Limit("9/minute")), "view#1")], "view")
    assert exchange.entries == ()


def test_only_what_can_still_change_is_settled(make: Make) -> None:
    for limit, settles in (
        ("5/minute", False),
        ("5 in flight", True),
        (Limit("5/minute", count="failed"), True),
        (Limit("5/minute", count=lambda response: 2), True),
    ):
        app = make(limit)
        exchange = app.begin()
        app.open(exchange)
        assert app.layer.finishes(exchange) is settles
        exchange.tally.charge(1)
        assert app.layer.finishes(exchange)
        app.finish(exchange)
        assert not app.layer.finishes(exchange)


def test_a_slot_is_freed_although_what_the_user_wrote_fails(make: Make) -> None:
    def fails(response: Any) -> int:
        raise ZeroDivisionError

    app = make("1 in flight", Limit("9/minute", count=fails, name="fails"))
    assert app.room is not None
    exchange = app.begin()
    app.open(exchange)
    assert isinstance(app.open(app.begin()), Respond)
    exchange.status, exchange.answer = 200, object()
    with pytest.raises(ZeroDivisionError):
        app.finish(exchange)
    assert not app.room.memory.slots
    later = app.begin()
    assert app.open(later) == Proceed()
    assert later.tally.verdicts[1].remaining == 7  # it counts as it was taken


@pytest.mark.parametrize("status", [403, 429, 451, 499, 503, 599])
def test_a_limit_may_answer_with_any_status_of_an_error(make: Make, status: int) -> None:
    app = make(Limit("1/minute", status=status))
    app.open(app.begin())
    refused = app.open(app.begin())
    assert (refused.response.status, refused.refusal.status) == (status, status)
    assert refused.refusal.problem["title"]


def test_a_secret_may_be_known_late(make: Make) -> None:
    secrets = [""]
    app = make(Limit("1/minute", by="header:X-Key"), secret=lambda: secrets[0])
    with pytest.raises(PolicyError, match="secret"):
        app.open(app.begin(**{"x-key": "a"}))
    secrets[0] = "known at last, and long enough for it"
    assert app.open(app.begin(**{"x-key": "a"})) == Proceed()
    secrets[0] = "another one, which would change all the counts"
    assert isinstance(app.open(app.begin(**{"x-key": "a"})), Respond)
    assert app.open(app.begin(**{"x-key": "b"})) == Proceed()


def test_where_no_secret_will_ever_be_known_the_application_does_not_start(make: Make) -> None:
    with pytest.raises(PolicyError, match=r"GET|\* /x.*secret"):
        make(Limit("1/minute", by="header:X-Key"))


def test_who_is_charged_for_denied_requests_does_not_get_that_back(make: Make) -> None:
    app = make(Limit("2/minute", name="tight", on_deny="charge"))
    for _ in range(3):
        exchange = app.begin()
        app.open(exchange)
        app.finish(exchange)
    assert app.mw.limits.peek(Limit("10/minute", name="tight"), key="192.0.2.77").remaining == 7


def test_a_mark_that_is_known_to_be_denied_gives_back_what_was_taken_before_it(make: Make) -> None:
    app = make("5/minute", "1 in flight")
    assert app.room is not None
    late = Placed(Mark(Limit("1/minute")), "late#1")
    for _ in range(3):
        exchange = app.begin()
        assert app.open(exchange) == Proceed()
        refused = app.mw.driver.run(app.layer.hold(exchange, late))
        app.finish(exchange)
    assert refused is not None
    assert not app.room.memory.slots
    last = app.begin()
    app.open(last)
    assert last.tally.verdicts[0].remaining == 3
