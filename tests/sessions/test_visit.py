"""What one request's session promises, said once for all frameworks."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from redis_mw.errors import CannotEncode, SessionClosed, SessionTooLarge, SessionUnavailable
from redis_mw.events import Event
from redis_mw.sessions import index
from redis_mw.sessions.agent import Agent
from redis_mw.sessions.ids import name_of, new_id
from redis_mw.sessions.record import Away
from redis_mw.sessions.room import Room
from redis_mw.sessions.visit import Issue, Visit, Withdraw
from redis_mw.settings import Settings
from redis_mw.testing import count_round_trips

HOUR_US = 3_600_000_000


@pytest.fixture
def server_side(redis_mw_settings: Settings) -> Iterator[redis.Redis]:
    """A plain client, to look at what is stored."""
    url = redis_mw_settings.url_of("sessions")
    with redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture
def keys(server_side: redis.Redis, redis_mw_settings: Settings) -> Callable[[], list[bytes]]:
    return lambda: sorted(server_side.scan_iter(f"{redis_mw_settings.prefix}:*", count=1000))


@pytest.fixture
def stored(run: Any, room: Room) -> Callable[..., str]:
    """Stores a session with some values and gives its id."""

    def store(values: dict[str, Any], user: str | None = None, in_room: Room | None = None) -> str:
        visit = Visit(in_room or room, None)
        if user is not None:
            visit.login(user)
        assert run(visit.close(values)).outcome == "created"
        assert visit.id is not None
        return visit.id

    return store


# Nothing for nothing


def test_a_visit_that_writes_nothing_stores_nothing_and_sends_no_cookie(run, room, keys):
    visit = Visit(room, None)
    with count_round_trips() as trips:
        assert run(visit.close(None)).outcome == "unchanged"
        assert run(visit.close({})).outcome == "unchanged"
    assert (trips.total, visit.cookie, keys()) == (0, None, [])


def test_an_unknown_id_is_never_adopted(run, visit, keys):
    stranger = new_id()
    met = visit(stranger)
    assert met.id is None and met.initial == {}
    run(met.close({"a": 1}))
    assert isinstance(met.cookie, Issue) and met.cookie.id != stranger
    assert name_of(stranger)[8:].encode() not in b"".join(keys())


def test_reading_writes_nothing(run, visit, stored, server_side, keys):
    id = stored({"a": 1})
    (key,) = keys()
    before = (server_side.dump(key), server_side.pexpiretime(key))
    met = visit(id)
    with count_round_trips() as trips:
        assert run(met.close(dict(met.initial))).outcome == "unchanged"
    assert trips.total == 0
    assert (server_side.dump(key), server_side.pexpiretime(key)) == before


# Trips


def test_trips_are_one_to_create_one_to_read_one_to_write_and_one_to_end(run, room, visit):
    fresh = Visit(room, None)
    with count_round_trips() as create:
        run(fresh.close({"a": 1}))
    with count_round_trips() as read:
        met = visit(fresh.id)
    with count_round_trips() as write:
        run(met.close({"a": 2}))
    with count_round_trips() as login:
        met.login(42)
        run(met.close({"a": 2}))
    with count_round_trips() as end:
        unread = Visit(room, met.id)
        unread.logout()
        run(unread.close(None))
    assert [trips.total for trips in (create, read, write, login, end)] == [1, 1, 1, 1, 1]


# Two requests at once


def test_parallel_writers_of_different_keys_both_survive(run, visit, stored):
    id = stored({"a": 1, "b": 1})
    first, second = visit(id), visit(id)
    run(first.close({"a": 2, "b": 1}))
    run(second.close({"a": 1, "b": 1, "c": 1}))
    assert visit(id).initial == {"a": 2, "b": 1, "c": 1}


def test_a_delete_is_not_put_back_by_a_parallel_writer(run, visit, stored):
    id = stored({"a": 1, "b": 1})
    first, second = visit(id), visit(id)
    run(first.close({"b": 1}))
    run(second.close({"a": 1, "b": 2}))
    assert visit(id).initial == {"b": 2}


def test_an_emptied_session_ends_with_its_cookie(run, visit, stored, keys):
    id = stored({"flash": "hello"})
    met = visit(id)
    assert run(met.close({})).outcome == "destroyed"
    assert (met.cookie, keys()) == (Withdraw(), [])
    assert run(met.close({"a": 1})).outcome == "created" and met.id != id


def test_emptying_ones_own_view_of_a_session_does_not_end_what_a_parallel_request_added(run, visit, stored):
    id = stored({"flash": "hello"})
    popping, adding = visit(id), visit(id)
    run(adding.close({"flash": "hello", "cart": [1]}))
    assert run(popping.close({})).outcome == "saved"
    assert visit(id).initial == {"cart": [1]} and popping.cookie is None


def test_an_old_id_that_empties_its_view_does_not_end_the_login_it_became(run, visit, stored):
    id = stored({"flash": "hello"})
    popping, entering = visit(id), visit(id)
    entering.login(42)
    run(entering.close(entering.initial))
    assert run(popping.close({})).outcome == "conflict"
    late = visit(id)
    assert run(late.close({})).outcome == "conflict"
    assert visit(entering.id).user_id == "42"


def test_a_session_of_a_user_goes_on_without_values(run, visit, stored):
    id = stored({"cart": [1]}, user="42")
    met = visit(id)
    assert run(met.close({})).outcome == "saved"
    assert visit(id).user_id == "42"


def test_an_edit_deep_inside_a_value_is_noticed(run, visit, stored):
    id = stored({"cart": {"items": [{"id": 1, "count": 1}]}})
    met = visit(id)
    met.initial["cart"]["items"][0]["count"] = 5
    assert run(met.close(met.initial)).outcome == "saved"
    assert visit(id).initial == {"cart": {"items": [{"id": 1, "count": 5}]}}


def test_the_loaded_values_may_be_changed_in_place(run, visit, stored):
    id = stored({"a": 1, "b": "x", "c": None})
    met = visit(id)
    met.initial["a"] = 2
    del met.initial["c"]
    assert run(met.close(met.initial)).outcome == "saved"
    met.initial["b"] = "y"
    assert run(met.close(met.initial)).outcome == "saved"
    assert visit(id).initial == {"a": 2, "b": "y"}


def test_a_request_in_flight_cannot_bring_back_a_session_that_was_logged_out(
    run, visit, stored, heard: list[Event], keys
):
    id = stored({"a": 1})
    slow, leaving = visit(id), visit(id)
    leaving.logout()
    assert run(leaving.close({})).outcome == "destroyed"
    assert leaving.cookie == Withdraw()
    assert run(slow.close({"a": 2})).outcome == "conflict"
    assert (keys(), slow.cookie) == ([], None)
    assert [event.name for event in heard][-1] == "session.conflict"


def test_a_revoked_session_is_not_brought_back_by_a_regeneration_in_flight(run, room, visit, stored, keys):
    id = stored({"a": 1}, user="42")
    slow = visit(id)
    assert run(index.revoke_user(room.store, "42")) == 1
    slow.regenerate()
    assert run(slow.close(slow.initial)).outcome == "conflict"
    assert visit(id).id is None
    assert run(index.of_user(room.store, "42")) == []


def test_giving_up_forgets_what_was_marked_but_not_that_the_session_ends(run, visit, stored, keys):
    id = stored({"a": 1})
    failing = visit(id)
    failing.login(42)
    failing.regenerate()
    assert not failing.give_up()
    assert run(failing.close(None)).outcome == "unchanged"
    assert (visit(id).initial, visit(id).user_id) == ({"a": 1}, None)

    leaving = visit(id)
    leaving.logout()
    leaving.login(42)
    leaving.foretell()
    assert leaving.give_up() and leaving.id is None
    assert run(leaving.close(None)).outcome == "destroyed"
    assert (leaving.cookie, keys()) == (Withdraw(), [])
    assert not leaving.give_up()


# Logging in


def test_a_login_gives_a_new_id_and_what_was_planted_sees_none_of_it(run, visit, stored):
    planted = stored({"cart": [1]})
    victim = visit(planted)
    victim.login(42)
    run(victim.close({"cart": [1], "secret": "mine"}))
    assert isinstance(victim.cookie, Issue) and victim.cookie.id not in (None, planted)
    attacker = visit(planted)
    assert (attacker.initial, attacker.user_id) == ({"cart": [1]}, None)
    assert run(attacker.close({"cart": [2]})).outcome == "conflict"
    there = visit(victim.id)
    assert (there.initial, there.user_id) == ({"cart": [1], "secret": "mine"}, "42")


def test_the_old_id_is_over_as_soon_as_the_new_one_is_ended(run, room, visit, stored):
    old = stored({"a": 1}, user="42")
    moving = visit(old)
    moving.regenerate()
    run(moving.close(moving.initial))
    assert visit(old).record.read_only
    run(index.revoke(room.store, "42", moving.handle))
    assert visit(old).id is None


def test_ending_the_old_id_ends_the_session_it_became(run, room, visit, stored):
    old = stored({"a": 1}, user="42")
    moving = visit(old)
    moving.regenerate()
    run(moving.close(moving.initial))
    late = Visit(room, old)
    late.logout()
    run(late.close(None))
    assert visit(moving.id).id is None


def test_a_login_is_never_lost_to_a_parallel_login_of_the_same_form(run, visit, stored):
    id = stored({"cart": [1]})
    first, second = visit(id), visit(id)
    for each in (first, second):
        each.login(42)
        run(each.close({"cart": [1]}))
    assert first.id != second.id
    assert [visit(each.id).user_id for each in (first, second)] == ["42", "42"]


def test_without_grace_the_old_id_is_over_at_once(run, make_room, visit, stored):
    room = make_room(grace=0)
    old = stored({"a": 1}, in_room=room)
    moving = visit(old, room)
    moving.regenerate()
    run(moving.close(moving.initial))
    assert visit(old, room).id is None and visit(moving.id, room).initial == {"a": 1}


def test_a_login_in_flight_brings_nothing_of_an_ended_session_back(run, room, visit, stored):
    id = stored({"medical": "private"}, user="alice")
    slow = visit(id)
    run(index.revoke_user(room.store, "alice"))
    slow.login("bob")
    assert run(slow.close({**slow.initial, "new": 1})).outcome == "created"
    there = visit(slow.id)
    assert (there.initial, there.user_id) == ({"new": 1}, "bob")


def test_nor_does_a_second_save_of_the_same_request(run, room, visit, stored):
    id = stored({"medical": "private", "shared": 1}, user="alice")
    slow = visit(id)
    run(index.revoke_user(room.store, "alice"))
    slow.login("bob")
    data = {**slow.initial, "new": 1}
    run(slow.close(data))
    assert not slow.pending(data)
    data["shared"] = 2
    assert slow.pending(data)
    run(slow.close(data))
    assert visit(slow.id).initial == {"new": 1, "shared": 2}
    assert not slow.pending(data)


def test_a_login_beside_another_users_login_takes_nothing_of_theirs(run, visit, stored):
    id = stored({"medical": "private"}, user="alice")
    first, second = visit(id), visit(id)
    first.regenerate()
    run(first.close(first.initial))
    second.login("bob")
    run(second.close({**second.initial, "new": 1}))
    assert visit(second.id).initial == {"new": 1}


def test_what_a_parallel_request_saved_before_the_regeneration_moves_along(run, visit, stored):
    id = stored({"a": 1})
    moving, writing = visit(id), visit(id)
    run(writing.close({"a": 1, "b": 2}))
    moving.login(42)
    run(moving.close({"a": 3}))
    assert visit(moving.id).initial == {"a": 3, "b": 2}


def test_the_user_named_by_the_data_is_bound_and_unbound_with_a_new_id(run, make_room, visit, stored):
    room = make_room(user_of=lambda data: data.get("_user_id"))
    id = stored({"x": 1}, in_room=room)
    entering = visit(id, room)
    run(entering.close({"x": 1, "_user_id": 7}))
    assert entering.id != id and visit(entering.id, room).user_id == "7"
    leaving = visit(entering.id, room)
    run(leaving.close({"x": 1}))
    assert visit(leaving.id, room).user_id is None
    assert visit(entering.id, room).id is None, "an id that was logged in must not outlive the logout"


@pytest.mark.parametrize("nobody", [None, "", b"x", True, 1.5, [1], "x" * 256, "\ud800", object], ids=repr)
def test_a_user_id_that_names_nobody_is_refused(room, nobody):
    with pytest.raises(ValueError, match="user id"):
        Visit(room, None).login(nobody)


# A user's sessions


def test_a_user_sees_all_their_sessions_and_nobody_elses(run, room, make_room, stored):
    visit = Visit(room, None, agent=lambda: Agent("Firefox", "192.0.2.0/24"))
    visit.login("42")
    run(visit.close({"a": 1}))
    other = stored({"a": 1}, user="42")
    stored({"a": 1}, user="43")
    infos = run(index.of_user(room.store, "42"))
    assert {info.handle for info in infos} == {visit.handle, name_of(other)}
    (mine,) = [info for info in infos if info.handle == visit.handle]
    assert (mine.user_agent, mine.address) == ("Firefox", "192.0.2.0/24")
    assert mine.created <= mine.last_seen


def test_logging_out_leaves_no_trace_in_the_users_list(run, visit, stored, keys):
    id = stored({"a": 1}, user="42")
    met = visit(id)
    met.logout()
    with count_round_trips() as trips:
        assert run(met.close({})).outcome == "destroyed"
    assert (trips.total, keys()) == (1, [])


def test_revoking_ends_ones_own_sessions_only(run, room, visit, stored):
    mine, theirs = stored({"a": 1}, user="42"), stored({"a": 1}, user="43")
    assert run(index.revoke(room.store, "42", name_of(theirs))) is False
    assert visit(theirs).user_id == "43"
    assert run(index.revoke(room.store, "42", name_of(mine))) is True
    assert run(index.revoke(room.store, "42", name_of(mine))) is False
    assert visit(mine).id is None


@pytest.mark.parametrize("handle", ["", "x", "0" * 71, "G" * 72, "*" * 72, None])
def test_a_handle_of_another_shape_revokes_nothing_and_costs_nothing(run, room, handle):
    with count_round_trips() as trips:
        assert run(index.revoke(room.store, "42", handle)) is False
    assert trips.total == 0


def test_all_but_this_one_can_be_revoked(run, room, visit, stored):
    ids = [stored({"n": n}, user="42") for n in range(5)]
    assert run(index.revoke_user(room.store, "42", keep=name_of(ids[2]))) == 4
    assert [visit(id).id is not None for id in ids] == [False, False, True, False, False]
    assert [info.handle for info in run(index.of_user(room.store, "42"))] == [name_of(ids[2])]


def test_the_oldest_session_gives_way_to_one_more(run, make_room, visit, stored):
    room = make_room(max_sessions=2)
    ids = [stored({"n": n}, "42", room) for n in range(4)]
    assert [visit(id, room).id is not None for id in ids] == [False, False, True, True]


def test_a_user_with_thousands_of_sessions_can_still_log_in(run, make_room, server_side, visit):
    room = make_room(max_sessions=2)
    key = room.store.commands.index_key("42")
    seconds = server_side.time()[0]
    an_hour_ago = (seconds + 3600) * 2**20 + (seconds - 3600) % 2**20
    server_side.zadd(key, {f"{n:072x}": an_hour_ago for n in range(9000)})
    server_side.expire(key, 60)
    met = Visit(room, None)
    met.login("42")
    closed = run(met.close({}))
    assert closed.outcome == "created"
    run(closed.after())
    assert server_side.zcard(key) == 1


def test_one_session_more_is_refused_where_the_settings_say_so(run, make_room, visit, stored, keys):
    room = make_room(max_sessions=1, on_max="refuse")
    first = stored({"n": 1}, "42", room)
    before = keys()
    second = Visit(room, None)
    second.login("42")
    closed = run(second.close({"n": 2}))
    assert (closed.outcome, second.cookie, keys()) == ("refused", None, before)
    again = visit(first, room)
    again.login("42")
    assert run(again.close(again.initial)).outcome == "regenerated", "logging in again replaces one's own session"


# Lifetimes


def test_every_key_ends_by_itself(run, room, visit, stored, server_side, keys):
    id = stored({"a": 1}, user="42")
    moving = visit(id)
    moving.regenerate()
    run(moving.close(moving.initial))
    assert len(keys()) == 3
    assert all(server_side.pttl(key) > 0 for key in keys())


def test_a_session_without_a_user_has_the_shorter_life(run, make_room, stored, server_side, keys):
    room = make_room(idle=1000, anonymous_idle=100)
    stored({"a": 1}, in_room=room)
    (key,) = keys()
    assert 99_000 <= server_side.pttl(key) <= 100_000


def test_the_absolute_limit_cuts_the_idle_time(run, make_room, visit, stored, server_side, keys):
    room = make_room(idle=1000, anonymous_idle=1000, absolute=1500)
    id = stored({"a": 1}, in_room=room)
    (key,) = keys()
    age(server_side, key, seconds=900, deadline=True)
    assert visit(id, room).record.renewed
    assert 590_000 < server_side.pttl(key) <= 600_000
    age(server_side, key, seconds=600, deadline=True)
    assert visit(id, room).id is None


def test_a_read_renews_only_after_a_tenth_of_the_idle_time(run, make_room, visit, stored, server_side, keys):
    room = make_room(idle=1000, anonymous_idle=1000, touch_after=0.1)
    id = stored({"a": 1}, in_room=room)
    (key,) = keys()
    age(server_side, key, seconds=99)
    assert not visit(id, room).record.renewed
    age(server_side, key, seconds=2)
    assert not visit(id, room, touch=False).record.renewed, "a path that does not count as activity"
    renewed = visit(id, room)
    assert renewed.record.renewed and server_side.pttl(key) > 999_000
    assert not visit(id, room).record.renewed


def test_a_lifetime_of_its_own_outlives_the_settings_and_is_renewed_with_its_cookie(
    run, room, visit, server_side, keys
):
    keep = Visit(room, None)
    keep.own_idle_us = 240 * HOUR_US
    run(keep.close({"a": 1}))
    assert keep.cookie == Issue(keep.id, 240 * 3600)
    (key,) = keys()
    assert server_side.pttl(key) > 239 * 3_600_000
    age(server_side, key, seconds=25 * 3600)
    later = visit(keep.id)
    assert later.record.renewed and later.cookie == Issue(keep.id, 240 * 3600)


def test_a_framework_lifetime_counts_where_the_settings_leave_idle_alone(run, make_room, server_side, keys):
    room = make_room(lifetime_us=24 * HOUR_US)
    visit = Visit(room, None)
    run(visit.close({"a": 1}))
    assert visit.cookie == Issue(visit.id, 24 * 3600)
    (key,) = keys()
    assert server_side.pttl(key) > 23 * 3_600_000
    other = Visit(make_room(lifetime_us=24 * HOUR_US, idle=60, anonymous_idle=60), None)
    run(other.close({"a": 1}))
    assert isinstance(other.cookie, Issue) and other.cookie.max_age == 43200


def age(client: redis.Redis, key: bytes, seconds: int, *, deadline: bool = False) -> None:
    """Make a session look as if it had been last seen (and begun) that much earlier; stands for waiting."""
    parts = client.hget(key, "m").split(b"|")
    for at in (3, 4) if deadline else (3,):
        parts[at] = str(int(parts[at]) - seconds * 1_000_000).encode()
    client.hset(key, "m", b"|".join(parts))


# Limits and damage


def test_a_session_that_is_too_large_says_which_key_is_the_largest(run, make_room, keys):
    room = make_room(max_bytes=1000, max_fields=3)
    with pytest.raises(SessionTooLarge) as too_large:
        run(Visit(room, None).close({"small": 1, "huge": "x" * 2000}))
    assert too_large.value.key == "huge" and too_large.value.limit == 1000
    with pytest.raises(SessionTooLarge, match="fields"):
        run(Visit(room, None).close({str(n): n for n in range(4)}))
    assert keys() == []


def test_a_value_that_cannot_be_stored_is_named_and_nothing_is_written(run, visit, stored):
    id = stored({"a": 1})
    met = visit(id)
    with pytest.raises(CannotEncode) as cannot:
        run(met.close({"a": 2, "cart": {"items": [1, object()]}}))
    assert cannot.value.path == "cart.items[1]"
    assert visit(id).initial == {"a": 1}


@pytest.mark.parametrize("key", [1, None, ("a",), "\udc80"])
def test_a_key_that_is_no_text_is_refused(run, room, key):
    with pytest.raises(CannotEncode):
        run(Visit(room, None).close({key: 1}))


HARM: dict[str, Callable[[redis.Redis, bytes], Any]] = {
    "a layout of another version": lambda client, key: client.hset(key, "m", "2|of|another|version"),
    "a meta text that is none": lambda client, key: client.hset(key, "m", "1|zz|1|2|3|4|"),
    "no meta text": lambda client, key: client.hdel(key, "m"),
    "a value in an unknown format": lambda client, key: client.hset(key, ".a", b"\x00\xff"),
    "a value cut short": lambda client, key: client.hset(key, ".a", b'j{"'),
    "a field name that is no text": lambda client, key: client.hset(key, b".\xff", b"j1"),
    "a key of another type": lambda client, key: (client.delete(key), client.set(key, "a text")),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_a_damaged_session_is_empty_left_alone_and_told(run, visit, stored, server_side, keys, heard, harm):
    id = stored({"a": 1})
    (key,) = keys()
    harm(server_side, key)
    before = server_side.dump(key)
    met = visit(id)
    assert (met.id, met.initial, met.away) == (None, {}, None)
    told = [event for event in heard if event.name == "session.damaged"]
    assert len(told) == 1 and id not in str(told[0]) and told[0].detail["session"] == name_of(id)[8:24]
    assert server_side.dump(key) == before
    run(met.close({"b": 1}))
    assert met.id != id


def test_neither_the_id_nor_a_value_stands_in_a_key_or_an_event(run, visit, stored, keys, heard):
    id = stored({"a": "confidential"}, user="somebody@example.com")
    met = visit(id)
    run(met.close({"a": "confidential", "b": 1}))
    visible = b"".join(keys()).decode() + str(heard)
    for part in (id, id[:12], id[4:], "confidential", "somebody"):
        assert part not in visible


# Redis away


def test_an_outage_is_neither_an_empty_session_nor_a_lost_cookie(run, room):
    visit = Visit(room, new_id())
    visit.settle(visit.id, Away("away", 2.0))
    assert visit.unavailable and visit.id is not None
    for attempt in (visit.must_read, visit.must_write, visit.regenerate, visit.logout, lambda: visit.login(1)):
        with pytest.raises(SessionUnavailable) as away:
            attempt()
        assert away.value.retry_after == 2.0
    assert run(visit.close({})).outcome == "unchanged" and visit.cookie is None


def test_an_outage_can_be_an_anonymous_visit_that_writes_nothing(run, make_room):
    visit = Visit(make_room(on_outage="anonymous"), new_id())
    visit.settle(visit.id, Away("away"))
    visit.must_read()
    with pytest.raises(SessionUnavailable):
        visit.must_write()


def test_a_full_server_still_serves_sessions_and_refuses_to_lose_a_write(run, room, visit, stored, server_side):
    id = stored({"a": 1})
    met = visit(id)
    server_side.config_set("maxmemory", "1")
    try:
        assert visit(id).initial == {"a": 1}
        closed = run(met.close({"a": 2}))
    finally:
        server_side.config_set("maxmemory", "0")
    assert closed.outcome == "away" and closed.away is not None and "OOM" in closed.away.reason


def test_a_skipped_path_has_an_empty_session_that_cannot_be_written(run, room):
    visit = Visit(room, None)
    visit.skipped = True
    assert run(visit.close({})).outcome == "unchanged"
    with pytest.raises(SessionClosed):
        run(visit.close({"a": 1}))
    with pytest.raises(SessionClosed):
        visit.login(1)


# Encryption


KEYS = ["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="]


def test_encrypted_values_are_unreadable_in_redis_and_survive_a_change_of_key(
    run, make_room, visit, stored, server_side, keys
):
    old, new = make_room(encryption_keys=KEYS[:1]), make_room(encryption_keys=KEYS[::-1])
    id = stored({"card": "confidential"}, in_room=old)
    (key,) = keys()
    stored_fields = server_side.hgetall(key)
    assert stored_fields[b".card"].startswith(b"e") and b"confidential" not in b"".join(stored_fields.values())
    met = visit(id, new)
    assert met.initial == {"card": "confidential"}
    run(met.close({"card": "confidential", "b": 2}))
    assert visit(id, new).initial == {"card": "confidential", "b": 2}
    foreign = visit(id, make_room(encryption_keys=KEYS[1:]))
    assert (foreign.id, foreign.initial) == (None, {})


def test_a_save_seals_each_changed_value_once_and_a_read_none(run, make_room, visit, stored, monkeypatch):
    room = make_room(encryption_keys=KEYS)
    id = stored({"a": 1, "b": 2}, in_room=room)
    met = visit(id, room)
    sealed: list[str] = []
    seal = room.store.codec.seal

    def counting(plain: bytes, context: bytes, field: str) -> bytes:
        sealed.append(field)
        return seal(plain, context, field)

    monkeypatch.setattr(room.store.codec, "seal", counting)
    assert run(met.close(dict(met.initial))).outcome == "unchanged" and sealed == []
    assert run(met.close({"a": 1, "b": 3})).outcome == "saved" and sealed == [".b"]


def test_values_written_before_encryption_was_switched_on_are_read(run, make_room, visit, stored):
    id = stored({"a": 1})
    assert visit(id, make_room(encryption_keys=KEYS)).initial == {"a": 1}
