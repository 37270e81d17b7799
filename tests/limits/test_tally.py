"""One request's limits: what is asked, what is counted by its response, and what others hear of it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redis_mw import Event, Limit, PolicyError, RedisMW, Settings, Strikes
from redis_mw.http.request import Fields
from redis_mw.limits import direct
from redis_mw.limits.entry import Entry
from redis_mw.limits.room import Room, workers_of_environment
from redis_mw.limits.tally import Tally
from redis_mw.policy.caller import Caller
from redis_mw.testing import count_round_trips, outage

WHO = Caller(address="192.0.2.7")


class House:
    """A room and its server; ``ask`` is one request."""

    def __init__(self, mw: RedisMW, room: Room) -> None:
        self.mw = mw
        self.room = room

    def entry(self, limit: Limit | str, place: str = "here") -> Entry:
        return self.room.entry(limit, place)

    def ask(self, *entries: Entry, caller: Caller = WHO, method: str = "GET") -> Tally:
        tally = Tally(self.room, caller)
        self.more(tally, *entries, method=method)
        return tally

    def more(self, tally: Tally, *entries: Entry, method: str = "GET") -> None:
        asks = tally.begin(entries, method)
        if not tally.knows(asks):
            self.mw.driver.run(tally.ask(asks))

    def settle(self, tally: Tally, status: int = 200, response: Any = None) -> None:
        self.mw.driver.run(tally.settle(status, response))

    def left(self, entry: Entry, caller: Caller = WHO) -> int:
        (found,) = self.mw.driver.run(Tally(self.room, caller).explain([entry], "GET"))
        return found.verdict.remaining


@pytest.fixture
def house_of(redis_mw_settings: Settings, make_room: Callable[..., Room]) -> Iterator[Callable[..., House]]:
    with RedisMW(redis_mw_settings) as mw:
        yield lambda **limits: House(mw, make_room(**limits))


@pytest.fixture
def house(house_of: Callable[..., House]) -> House:
    return house_of()


def test_an_entry_that_is_met_twice_is_counted_once(house: House) -> None:
    entry, named = house.entry("5/minute"), Limit("9/minute", name="x")
    tally = house.ask(entry, entry, house.entry(named, "one"), house.entry(named, "another"))
    house.more(tally, entry)
    assert (len(tally.verdicts), house.left(entry), house.left(house.entry(named, "a third"))) == (2, 4, 8)


def test_limits_without_a_name_are_counted_apart_at_each_place(house: House) -> None:
    one, other = house.entry("5/minute", "one"), house.entry("5/minute", "other")
    tally = house.ask(one, other)
    assert [verdict.name for verdict in tally.verdicts] == ["5-per-m", "5-per-m-2"]
    _ = house.ask(one)
    assert (house.left(one), house.left(other)) == (3, 4)


def test_a_limit_for_some_methods_is_asked_for_those(house: House) -> None:
    entry = house.entry(Limit("5/minute", methods=["POST", "PUT"]))
    assert len(house.ask(entry, method="POST").verdicts) == 1
    assert house.ask(entry, method="GET").verdicts == ()
    assert house.room.memory is house.room.memory


def test_a_rate_may_depend_on_the_request(house: House) -> None:
    plans = {"free": "2/minute", "paid": "50/minute", "staff": None}
    entry = house.entry(Limit(lambda native: plans[native], by="user"))
    for plan, limit in (("free", [2]), ("paid", [50]), ("staff", [])):
        tally = house.ask(entry, caller=Caller(user="42", native=plan))
        assert [verdict.limit for verdict in tally.verdicts] == limit


@pytest.mark.parametrize(
    ("rate", "message"),
    [("often", "not a rate"), (5, "the limit at here"), ("0/minute", "not a rate"), ("1/minute", "cost")],
)
def test_a_wrong_rate_of_a_callable_is_a_policy_error_that_names_its_place(
    house: House, rate: Any, message: str
) -> None:
    with pytest.raises(PolicyError, match=f"the limit at here.*{message}|{message}"):
        house.ask(house.entry(Limit(lambda native: rate, cost=2)))


def test_a_request_may_cost_more(house: House) -> None:
    entry = house.entry(Limit("10/minute", cost=lambda native: native))
    assert house.ask(entry, caller=Caller(native=7)).verdicts[0].remaining == 3
    assert house.ask(entry, caller=Caller(native=99)).refused is not None
    for cost in (0, -1, "1", 1.5, None):
        with pytest.raises(PolicyError, match="a cost is a whole number of at least 1"):
            house.ask(entry, caller=Caller(native=cost))


def test_only_what_failed_counts_in_the_end(house: House) -> None:
    entry = house.entry(Limit("5/hour", count="failed"))
    for status, left in ((200, 5), (302, 5), (399, 5), (400, 4), (500, 3)):
        tally = house.ask(entry)
        assert house.left(entry) == left - (status < 400)
        house.settle(tally, status)
        assert house.left(entry) == left


def test_the_response_may_say_what_the_request_cost(house: House) -> None:
    entry = house.entry(Limit("100/hour", cost=10, count=lambda response: response))
    for cost, left in ((10, 90), (0, 90), (30, 60), (None, 50)):
        house.settle(house.ask(entry), response=cost)
        assert house.left(entry) == left


@pytest.mark.parametrize("wrong", [-1, "many", ZeroDivisionError], ids=str)
def test_whatever_a_callable_does_slots_are_freed_and_the_rest_is_settled(house: House, wrong: Any) -> None:
    def count(response: Any) -> Any:
        return 1 // 0 if wrong is ZeroDivisionError else wrong

    slot, entry = house.entry("1 in flight"), house.entry(Limit("9/hour", count=count), "there")
    failed = house.entry(Limit("8/hour", count="failed"), "elsewhere")
    tally = house.ask(entry, failed, slot)
    assert house.left(slot) == 0 and house.room.memory.slots
    with pytest.raises((PolicyError, ZeroDivisionError)):
        house.settle(tally, 200, object())
    assert (house.left(slot), house.left(entry), house.left(failed)) == (1, 8, 8)
    assert not house.room.memory.slots and not tally.took


def test_a_view_may_charge_more_or_less_but_no_other_requests_units(house: House) -> None:
    entry = house.entry("20/hour")
    _ = house.ask(entry), house.ask(entry)
    for units, left in ((4, 13), (-1, 13), (-9, 13), (0, 12)):
        tally = house.ask(entry)
        tally.charge(units)
        house.settle(tally)
        house.settle(tally)
        assert house.left(entry) == left


def test_a_charge_is_counted_by_gcra_although_all_had_arrived_before(house: House) -> None:
    entry = house.entry(Limit("1000/second", algorithm="gcra", burst=10))
    tally = house.ask(entry)
    while house.left(entry) < 10:
        pass
    tally.charge(100_000)
    house.settle(tally)
    assert house.left(entry) == 0


def test_a_denied_request_is_charged_where_a_limit_says_so_and_gets_nothing_back(house: House) -> None:
    charged, narrow = house.entry(Limit("9/hour", on_deny="charge"), "one"), house.entry("1/day", "two")
    for left in (8, 7, 6):
        tally = house.ask(charged, narrow)
        house.settle(tally, 429)
        assert house.left(charged) == left
    assert house.left(narrow) == 0


def test_a_late_denial_gives_back_what_was_taken_before(house: House) -> None:
    early, slot, late = house.entry("9/hour", "early"), house.entry("3 in flight"), house.entry("1/day", "late")
    _ = house.ask(late)
    tally = house.ask(early, slot)
    assert (house.left(early), house.left(slot)) == (8, 2)
    house.more(tally, late)
    assert tally.refused is not None and tally.took
    assert tally.begin([house.entry("7/day", "later")], "GET") == []
    house.settle(tally, 200)
    assert (house.left(early), house.left(slot), house.left(late)) == (9, 3, 0)


def test_lists_of_the_settings_decide_without_a_trip(house_of: Callable[..., House]) -> None:
    house = house_of(allow=["10.0.0.0/8", "user:boss", "192.0.2.1"], deny=["192.0.2.0/24", "user:42", "2001:db8::/32"])
    entry = house.entry("1/hour")
    with count_round_trips() as trips:
        boss = Caller(address="192.0.2.9", user="boss")
        for caller in (Caller("10.1.2.3"), Caller("192.0.2.1"), Caller("::ffff:10.0.0.1"), boss):
            tally = house.ask(entry, caller=caller)
            assert tally.refused is None and not tally.verdicts and not tally.took
        for caller in (Caller("192.0.2.9"), Caller("2001:db8:9::1"), Caller("1.2.3.4", user="42")):
            refused = house.ask(entry, caller=caller).refused
            assert refused is not None and (refused.status, refused.retry_after) == (403, None)
            assert refused.problem["type"].endswith("#abnormal-usage-detected")
    assert trips.total == 0 and house.room.lists_users


def test_lists_that_change_at_run_time_decide_for_every_limit(house: House) -> None:
    entries = [house.entry("1/hour", "one"), house.entry(Limit("1/hour", by="user"), "two")]
    boss = Caller(address="192.0.2.7", user="boss")
    house.mw.driver.run(direct.allow(house.room, "user", "boss"))
    for _ in range(3):
        tally = house.ask(*entries, caller=boss)
        assert tally.refused is None and [verdict.remaining for verdict in tally.verdicts] == [1, 1]
    house.mw.driver.run(direct.delist(house.room, "a", "user", "boss"))
    house.mw.driver.run(direct.ban(house.room, "client", "192.0.2.0/24", 60))
    refused = house.ask(*entries, caller=boss).refused
    assert refused is not None and refused.status == 429 and 55 < (refused.retry_after or 0) <= 60
    house.mw.driver.run(direct.ban(house.room, "client", "192.0.2.0/24", None))
    refused = house.ask(*entries, caller=boss).refused
    assert refused is not None and (refused.status, refused.retry_after) == (403, None)


def test_an_explanation_says_what_would_be_said_and_counts_nothing(house: House) -> None:
    def plan(native: Any) -> str | None:
        return None

    entries = [house.entry("1/hour", "GET /x#0"), house.entry(Limit("9/day", by=["user", plan], name="d"), "GET /x#1")]
    caller = Caller(address="2001:db8::1", user="42")
    for _ in range(2):
        one, other = house.mw.driver.run(Tally(house.room, caller).explain(entries, "GET"))
    assert (one.name, one.place, one.by, one.client) == ("1-per-h", "GET /x#0", "client", "client:2001:db8::/64")
    assert (one.verdict.allowed, one.verdict.remaining) == (True, 1)
    assert (other.name, other.place) == ("d", "GET /x#1")
    assert other.by.startswith("user, ") and other.by.endswith("plan")
    _ = house.ask(*entries, caller=caller)
    one, other = house.mw.driver.run(Tally(house.room, caller).explain(entries, "GET"))
    assert not one.verdict and one.verdict.retry_after > 0 and other.verdict.remaining == 8
    assert house.mw.driver.run(Tally(house.room, caller).explain([], "GET")) == []
    with outage(house.mw):
        one, _ = house.mw.driver.run(Tally(house.room, caller).explain(entries, "GET"))
        assert one.verdict.degraded
        closed = house.entry(Limit("5/hour", on_outage="closed"), "closed")
        assert house.mw.driver.run(Tally(house.room, caller).explain([closed], "GET")) == []


def told(heard: list[Event]) -> list[tuple[str, str, str]]:
    found = [(event.name, event.outcome, event.policy) for event in heard]
    heard.clear()
    return found


def test_listeners_hear_of_every_decision_and_of_nobody(house: House, heard: list[Event]) -> None:
    entry, shadow = house.entry(Limit("1/hour", name="login")), house.entry(Limit("1/day", name="new", shadow=True))
    _ = house.ask(entry, shadow)
    assert told(heard) == [("limit.allowed", "allowed", "login"), ("limit.allowed", "allowed", "new")]
    _ = house.ask(entry, shadow)
    assert told(heard) == [("limit.denied", "limit", "login"), ("limit.shadow", "denied", "new")]
    _ = house.ask(entry, shadow)
    assert told(heard)[0] == ("limit.denied", "limit", "login")
    house.room.forget_denials()
    with outage(house.mw):
        _ = house.ask(entry)
        _ = house.ask(entry)
        _ = house.ask(house.entry(Limit("5/hour", on_outage="closed"), "closed"))
    events = told(heard)
    assert ("limit.degraded", "allowed", "login") in events and ("limit.degraded", "closed", "") in events
    house.mw.driver.run(direct.ban(house.room, "client", "192.0.2.7", 60))
    _ = house.ask(entry)
    assert told(heard) == [("limit.denied", "list", "")]


def test_a_ban_by_strikes_is_told_as_one(house: House, heard: list[Event]) -> None:
    entry = house.entry(Limit("1/hour", name="x", strikes=Strikes(after=2, ban=600)))
    tallies = [house.ask(entry) for _ in range(4)]
    assert [name for name, *_ in told(heard)] == ["limit.allowed", "limit.denied", "limit.ban", "limit.ban"]
    refused = tallies[-1].refused
    assert refused is not None and refused.problem["type"].endswith("#abnormal-usage-detected")
    assert refused.status == 429 and (refused.retry_after or 0) > 500


def test_events_never_name_anybody(house: House, heard: list[Event]) -> None:
    caller = Caller("192.0.2.77", Fields((("x-api-key", "secret-key"),)), "somebody", "abcdef", "/route", None)
    entry = house.entry(Limit("1/hour", by=["client", "user", "header:X-Api-Key"]))
    for _ in range(3):
        _ = house.ask(entry, caller=caller)
    assert heard and not any(word in repr(heard) for word in ("192.0.2", "secret", "somebody"))


def test_while_redis_is_away_a_request_is_counted_here(house_of: Callable[..., House]) -> None:
    house = house_of(workers=2)
    entry, failed = house.entry("4/hour", "one"), house.entry(Limit("4/hour", count="failed"), "two")
    with outage(house.mw):
        with count_round_trips() as trips:
            tallies = [house.ask(entry, failed) for _ in range(3)]
        assert trips.total == 0
        assert [tally.refused is None for tally in tallies] == [True, True, False]
        assert all(verdict.degraded for tally in tallies for verdict in tally.verdicts)
        for tally in tallies:
            house.settle(tally, 200)
            assert tally.fields() == []
        assert (house.left(entry), house.left(failed)) == (0, 2)


def test_a_limit_that_is_closed_refuses_while_redis_is_away_unless_in_shadow(house: House) -> None:
    closed = house.entry(Limit("5/hour", on_outage="closed"))
    shadow = house.entry(Limit("5/hour", on_outage="closed", shadow=True), "shadow")
    with outage(house.mw):
        refused = house.ask(closed).refused
        assert refused is not None and (refused.status, refused.retry_after) == (503, 1.0)
        assert refused.problem["type"].endswith("#temporary-reduced-capacity")
        assert house.ask(shadow).refused is None


@pytest.mark.parametrize(
    ("text", "workers"),
    [("", 1), ("4", 4), ("0", 1), ("-3", 1), ("4.5", 1), ("many", 1), ("٤", 1), ("999999", 1), (None, 1), ("04", 4)],
)
def test_how_many_processes_there_are_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, make_room: Callable[..., Room], text: str | None, workers: int
) -> None:
    if text is None:
        monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    else:
        monkeypatch.setenv("WEB_CONCURRENCY", text)
    assert workers_of_environment() == make_room().workers == workers
    assert make_room(workers=7).workers == 7


def test_a_name_means_one_limit(make_room: Callable[..., Room]) -> None:
    room = make_room(named={"login": "5/minute"})
    assert room.entry(Limit("5/minute", name="login"), "GET /x").quota(None) is not None
    with pytest.raises(PolicyError, match=r"the limit 'login' at GET /x is not .* at limits\.named\.login"):
        room.entry(Limit("6/minute", name="login"), "GET /x")
    with pytest.raises(PolicyError, match="not the one of that name"):
        room.entry(Limit("5/minute", name="login", by="user"), "GET /x")


def test_all_limits_may_be_in_shadow(house_of: Callable[..., House]) -> None:
    house = house_of(shadow=True, named={"x": "1/hour"})
    entry = house.entry("1/hour")
    for remaining in (0, 0, 0):
        tally = house.ask(entry)
        assert tally.refused is None and tally.fields() == []
        (verdict,) = tally.verdicts
        assert (verdict.allowed, verdict.shadow, verdict.remaining) == (True, True, remaining)
