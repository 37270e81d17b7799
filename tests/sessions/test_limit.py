"""``max_sessions``: who gives way to one more login, who does not, and what holds if the login is cut."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from stepping import Stepped

from redis_mw.events import Event
from redis_mw.flows import one
from redis_mw.sessions import index
from redis_mw.sessions.ids import name_of
from redis_mw.sessions.room import Room
from redis_mw.sessions.visit import Visit
from redis_mw.settings import Settings
from redis_mw.testing import count_round_trips

USER = "42"


@pytest.fixture
def noted(redis_mw_settings: Settings, room: Room) -> Iterator[Callable[[], set[str]]]:
    """The names in the user's index, whatever they stand for."""
    with redis.Redis.from_url(redis_mw_settings.url_of("sessions")) as client:
        key = room.store.commands.index_key(USER)
        yield lambda: {name.decode() for name in client.zrange(key, 0, -1)}


@pytest.fixture
def enter(run: Any) -> Callable[..., Visit]:
    """Logs the user in, from a session of before if its id is given; the clean-up afterwards is not done."""

    def log_in(room: Room, id: str | None = None, *, outcome: str = "created") -> Visit:
        visit = Visit(room, id)
        visit.login(USER)
        assert run(visit.close({"a": 1})).outcome == outcome
        return visit

    return log_in


@pytest.fixture
def is_live(run: Any, room: Room) -> Callable[[Visit], bool]:
    def look(visit: Visit) -> bool:
        assert visit.id is not None
        again = Visit(room, visit.id)
        run(again.load())
        return again.record is not None and not again.record.read_only

    return look


def log_out(run: Any, room: Room, visit: Visit) -> Any:
    """Without reading the session."""
    leaving = Visit(room, visit.id)
    leaving.logout()
    return run(leaving.close(None))


def logging_in(room: Room, id: str | None = None) -> Any:
    visit = Visit(room, id)
    visit.login(USER)
    return visit.close({"a": 1}), visit


# Who gives way


def test_a_session_that_was_ended_unread_takes_nobodys_place(run, make_room, enter, is_live):
    room = make_room(max_sessions=2)
    stays, leaves = enter(room), enter(room)
    _ = log_out(run, room, leaves)
    comes = enter(room)
    assert [is_live(each) for each in (stays, leaves, comes)] == [True, False, True]


def test_nor_does_a_login_that_was_cut_before_it_was_written(run, make_room, enter, is_live):
    room = make_room(max_sessions=2)
    stays = enter(room)
    run(one(room.store.commands.enlist(USER, "0" * 72, 60_000_000)))
    comes = enter(room)
    assert [is_live(each) for each in (stays, comes)] == [True, True]


def test_the_oldest_login_gives_way_though_it_was_used_last(run, make_room, enter, is_live, heard: list[Event]):
    room = make_room(max_sessions=2)
    logins = [enter(room), enter(room)]
    used = Visit(room, logins[0].id)
    run(used.load())
    run(used.close({"a": 2}))
    logins.append(enter(room))
    assert [is_live(each) for each in logins] == [False, True, True]
    assert [(event.name, event.outcome) for event in heard if event.name == "session.revoked"] == [
        ("session.revoked", "evicted")
    ]


def test_a_lower_limit_holds_from_the_next_login_on(make_room, enter, is_live):
    before = make_room()
    logins = [enter(before) for _ in range(4)]
    logins.append(enter(make_room(max_sessions=2)))
    assert [is_live(each) for each in logins] == [False, False, False, True, True]


@pytest.mark.parametrize("on_max", ["evict", "refuse"])
def test_logging_in_again_takes_the_place_of_ones_own_session(make_room, enter, is_live, on_max):
    room = make_room(max_sessions=1, on_max=on_max)
    first = enter(room)
    again = enter(room, first.id, outcome="regenerated")
    once_more = enter(room, again.id, outcome="regenerated")
    assert is_live(once_more)


# Who is refused


def test_whoever_logged_out_unread_may_log_in_again_at_once(run, make_room, enter):
    room = make_room(max_sessions=1, on_max="refuse")
    _ = log_out(run, room, enter(room))
    _ = enter(room)


def test_whoever_logged_out_by_the_old_id_may_log_in_again_at_once(run, make_room, enter):
    room = make_room(max_sessions=1, on_max="refuse")
    first = enter(room)
    _ = enter(room, first.id, outcome="regenerated")
    _ = log_out(run, room, first)
    _ = enter(room)


@pytest.mark.parametrize("read", [False, True])
def test_one_request_may_log_out_and_in_again(run, make_room, enter, is_live, read):
    room = make_room(max_sessions=1, on_max="refuse")
    first = enter(room)
    again = Visit(room, first.id)
    if read:
        run(again.load())
    again.logout()
    again.login(USER)
    assert run(again.close({})).outcome == "created"
    assert [is_live(each) for each in (first, again)] == [False, True]


def test_a_refused_login_keeps_the_session_of_before_and_is_not_counted_later(run, make_room, enter, is_live):
    room = make_room(max_sessions=1, on_max="refuse")
    full = enter(room)
    visit = Visit(room, None)
    run(visit.close({"cart": [1]}))
    for _ in range(2):
        _ = enter(room, visit.id, outcome="refused")
    assert is_live(full) and is_live(visit)
    _ = log_out(run, room, full)
    _ = enter(room, visit.id, outcome="regenerated")


def test_of_logins_side_by_side_no_more_get_in_than_may(run, make_room, is_live, heard: list[Event]):
    room = make_room(max_sessions=1, on_max="refuse")
    for first_steps in range(4):
        run(index.revoke_user(room.store, USER))
        (one, other), visits = zip(*(logging_in(room) for _ in range(2)), strict=True)
        one, other = Stepped(run, one), Stepped(run, other)
        for _ in range(first_steps):
            if not one.is_done:
                one.step()
        other.finish()
        one.finish()
        assert sorted([one.result.outcome, other.result.outcome]) == ["created", "refused"]
        for stepped, visit in zip((one, other), visits, strict=True):
            assert (visit.id is not None and is_live(visit)) is (stepped.result.outcome == "created")


@pytest.mark.parametrize("on_max", ["evict", "refuse"])
def test_of_logins_side_by_side_the_limit_is_left(run, make_room, on_max):
    room = make_room(max_sessions=2, on_max=on_max)
    logins = [Stepped(run, logging_in(room)[0]) for _ in range(5)]
    while any(not each.is_done for each in logins):
        for each in logins:
            if not each.is_done:
                each.step()
    assert len(run(index.of_user(room.store, USER))) == 2


@pytest.mark.parametrize("on_max", ["evict", "refuse"])
def test_a_session_that_moves_while_it_is_counted_is_counted(run, make_room, enter, is_live, on_max):
    room = make_room(max_sessions=1, on_max=on_max)
    for steps in range(3):
        run(index.revoke_user(room.store, USER))
        first = enter(room)
        closing, _ = logging_in(room)
        login = Stepped(run, closing)
        for _ in range(steps):
            if not login.is_done:
                login.step()
        moving = Visit(room, first.id)
        moving.regenerate()
        run(moving.close({"a": 1}))
        assert login.finish().outcome == ("created" if on_max == "evict" else "refused")
        assert is_live(moving) is (on_max == "refuse")


# A login that is cut


@pytest.mark.parametrize("on_max", ["evict", "refuse"])
@pytest.mark.parametrize("end", ["cut", "cut unsent", "outage"])
def test_a_login_cut_anywhere_leaves_no_session_that_cannot_be_revoked(
    run, make_room, enter, is_live, noted, heard: list[Event], on_max, end
):
    room = make_room(max_sessions=1, on_max=on_max)
    for steps in range(10):
        run(index.revoke_user(room.store, USER))
        first = enter(room)
        heard.clear()
        closing, second = logging_in(room)
        stepped = Stepped(run, closing)
        for _ in range(steps):
            if not stepped.is_done:
                stepped.step()
        if stepped.is_done:
            assert steps >= 2, "it took two trips at least"
            return
        stepped.meet_an_outage() if end == "outage" else stepped.cut(sent=end == "cut")
        for visit in (first, second):
            if visit.id is not None and is_live(visit):
                assert name_of(visit.id) in noted()
        evicted = [event for event in heard if event.outcome == "evicted"]
        assert bool(evicted) <= (not is_live(first)), "the event came before the end"
        run(index.revoke_user(room.store, USER))
        assert not is_live(first) and (second.id is None or not is_live(second))
        _ = enter(room)  # what was cut is in nobody's way
    raise AssertionError("it never came to its end")


# What it costs


@pytest.mark.parametrize(
    ("on_max", "below", "at_the_limit"), [("evict", 1, 3), ("refuse", 2, 2)], ids=["evict", "refuse"]
)
def test_a_login_costs_exactly(run, make_room, on_max, below, at_the_limit):
    room = make_room(max_sessions=2, on_max=on_max)
    costs = []
    for _ in range(3):
        closing, _ = logging_in(room)
        with count_round_trips() as trips:
            run(closing)
        costs.append(trips.total)
    assert costs == [below, below, at_the_limit]


# The index


def test_ending_an_unread_session_takes_it_off_the_index_afterwards(run, room, enter, noted):
    closed = log_out(run, room, enter(room))
    assert closed.outcome == "destroyed"
    run(closed.after())
    assert noted() == set()


def test_ending_by_the_old_id_takes_off_what_it_became(run, room, enter, noted):
    visit = Visit(room, None)
    run(visit.close({"a": 1}))
    before = Visit(room, visit.id)
    entered = enter(room, visit.id, outcome="regenerated")
    assert noted() == {entered.handle}
    before.logout()
    closed = run(before.close(None))
    run(closed.after())
    assert noted() == set()


def test_ending_an_anonymous_session_leaves_nothing_for_afterwards(run, room):
    visit = Visit(room, None)
    run(visit.close({"a": 1}))
    assert log_out(run, room, visit).after is None


def test_what_gave_way_is_taken_off_the_index_afterwards(run, make_room, enter, noted):
    room = make_room(max_sessions=1)
    first = enter(room)
    closing, second = logging_in(room)
    closed = run(closing)
    assert {first.handle, second.handle} == noted()
    run(closed.after())
    assert noted() == {second.handle}


@pytest.mark.parametrize("user", [USER, None])
def test_a_longer_life_that_another_request_sets_meanwhile_is_noted_too(run, room, stored_life, noted_life, user):
    """A regeneration that read the session before: what it moves lives longer than it knows."""
    visit = Visit(room, None)
    if user is not None:
        visit.login(user)
    run(visit.close({"a": 1}))
    longer, moving = Visit(room, visit.id), Visit(room, visit.id)
    for each in (longer, moving):
        run(each.load())
    longer.own_idle_us = 30 * 86_400_000_000
    moving.regenerate() if user is not None else moving.login(USER)
    with count_round_trips() as trips:
        moved = Stepped(run, moving.close(dict(moving.initial)))
        assert run(longer.close(dict(longer.initial))).outcome == "saved"
        assert moved.finish().outcome == "regenerated"
    assert trips.total == 3  # one more, in this case only
    assert stored_life(moving.handle) > 29 * 86400
    assert noted_life(moving.handle) >= stored_life(moving.handle)


@pytest.fixture
def stored_life(redis_mw_settings: Settings, room: Room) -> Iterator[Callable[[str], float]]:
    """Seconds that a session has left at most."""
    with redis.Redis.from_url(redis_mw_settings.url_of("sessions")) as client:

        def left(name: str) -> float:
            meta = client.hget(room.store.commands.key(name), "m")
            assert isinstance(meta, bytes)
            return int(meta.split(b"|")[4]) / 1e6 - client.time()[0]

        yield left


@pytest.fixture
def noted_life(redis_mw_settings: Settings, room: Room) -> Iterator[Callable[[str], float]]:
    """Seconds that the index names a session."""
    with redis.Redis.from_url(redis_mw_settings.url_of("sessions")) as client:
        key = room.store.commands.index_key(USER)

        def left(name: str) -> float:
            score = client.zscore(key, name)
            assert isinstance(score, float)
            return min(int(score) // 2**20 - client.time()[0], client.ttl(key))

        yield left


def test_all_but_this_one_can_be_revoked_though_its_old_id_is_noted_still(run, room, enter, is_live):
    first = enter(room)
    moving = Visit(room, first.id)
    moving.regenerate()
    assert run(moving.close({"a": 1})).outcome == "regenerated"
    run(index.revoke_user(room.store, USER, keep=moving.handle))
    assert is_live(moving)


def test_and_the_old_id_of_the_one_that_is_kept_goes_on_to_mean_it(run, room, enter, is_live):
    first = enter(room)
    moving = Visit(room, first.id)
    moving.regenerate()
    run(moving.close({"a": 1}))
    run(index.revoke_user(room.store, USER, keep=moving.handle))
    behind = Visit(room, first.id)
    run(behind.load())
    assert behind.record is not None and behind.record.read_only
    leaving = Visit(room, first.id)
    leaving.logout()
    run(leaving.close(None))
    assert not is_live(moving)
