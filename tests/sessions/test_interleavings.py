"""Requests that overlap in any order: what holds whatever happens first.

Two machines on a real server. In the first, visits begin, change and close in random order, and the test keeps its own
account of what each session must hold: a closed visit's changes, and nothing of what was ended. In the second, flows
overlap at their batches, and some are cut or meet an outage between two of them; what holds then is less, but it holds
at every moment. Both read what is stored without any code of ours.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from stepping import Stepped

from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Events
from redis_mw.sessions import index
from redis_mw.sessions.ids import name_of
from redis_mw.sessions.room import furnish
from redis_mw.sessions.visit import Closed, Visit
from redis_mw.settings import Sessions, Settings

USERS = ["ann", "bob"]
DAY_US = 86_400_000_000
session_keys = st.sampled_from(["a", "b", "c"])
users = st.sampled_from(USERS)
lives = st.sampled_from([None, None, 30 * DAY_US, 300_000_000])


class Stored(NamedTuple):
    """A session as Redis has it; ``deadline`` in seconds."""

    user: str | None
    created_us: int
    deadline: float


class Machine(RuleBasedStateMachine):
    """An application of random settings, and a plain look at what it has stored."""

    settings_of_test: Settings

    def __init__(self) -> None:
        super().__init__()
        settings = self.settings_of_test
        self.driver = SyncDriver(settings, Events((), lambda: 0.0))
        self.client = redis.Redis.from_url(settings.url_of("sessions"))
        self.prefix = settings.prefix

    @initialize(limit=st.sampled_from([None, 1, 2]), on_max=st.sampled_from(["evict", "refuse"]))
    def the_application_starts(self, limit: int | None, on_max: Any) -> None:
        self.limit, self.refuses = limit, on_max == "refuse"
        # An old id and a reply may take their time: a busy machine is no part of this.
        sessions = Sessions(max_sessions=limit, on_max=on_max, grace=600, patience=60)
        self.room = furnish(self.settings_of_test, sessions, ["s" * 32], Events((), lambda: 0.0))

    def teardown(self) -> None:
        for key in self.keys():
            self.client.delete(key)
        self.driver.close()
        self.client.close()

    def run(self, flow: Any) -> Any:
        return self.driver.run(flow)

    def keys(self) -> Iterator[bytes]:
        return self.client.scan_iter(f"{self.prefix}:*", count=1000)

    def live(self) -> dict[str, Stored]:
        """Every session that a request could write to now, by its name."""
        keys = [key for key in self.keys() if not key.endswith(b":i")]
        pipe = self.client.pipeline(transaction=False)
        for key in keys:
            _ = pipe.hmget(key, "m", "n")
        found: dict[str, Stored] = {}
        for key, (meta, successor) in zip(keys, pipe.execute(), strict=True):
            if meta is not None and successor is None:
                _, _, tag, part = key.decode().split(":")
                _, _, created, _, deadline, _, user = meta.decode().split("|")
                found[tag[1:-1] + part] = Stored(user or None, int(created), int(deadline) / 1e6)
        return found

    @invariant()
    def what_is_stored_is_sound(self) -> None:
        """The index misses no live session, and every key ends by itself."""
        live = self.live()
        for user in USERS:
            key = self.room.store.commands.index_key(user)
            noted = dict(self.client.zrange(key, 0, -1, withscores=True))
            ends = self.client.expiretime(key)
            for name, session in live.items():
                if session.user == user:
                    assert name.encode() in noted, "a live session that nobody can revoke"
                    assert min(noted[name.encode()] // 2**20, ends) >= session.deadline, "it outlives its note"
        pipe = self.client.pipeline(transaction=False)
        for key in self.keys():
            _ = pipe.pttl(key)
        assert -1 not in pipe.execute(), "a key that stays for ever"
        self.is_sound(live)

    def is_sound(self, live: dict[str, Stored]) -> None:
        """What else holds, of a machine."""


class Truth(NamedTuple):
    """What a session must hold."""

    values: dict[str, Any]
    user: str | None
    created_us: int


class Requests(Machine):
    """``truth`` maps the id of each live session to what it must hold; ``successor`` old ids to what they became."""

    ids = Bundle("ids")
    visits = Bundle("visits")

    def __init__(self) -> None:
        super().__init__()
        self.truth: dict[str, Truth] = {}
        self.successor: dict[str, str] = {}

    def last(self, id: str) -> str:
        """What became of an id, however often it was regenerated."""
        while id in self.successor:
            id = self.successor[id]
        return id

    def sessions_of(self, user: str) -> set[str]:
        return {id for id, truth in self.truth.items() if truth.user == user}

    def is_full(self, user: str | None, replaced: str | None = None) -> bool:
        """Whether a login is to be refused: the user has enough sessions besides the one that it replaces."""
        if user is None or self.limit is None or not self.refuses:
            return False
        return len(self.sessions_of(user) - {replaced}) >= self.limit

    def stored(self, visit: Visit, values: dict[str, Any], user: str | None, *, logged_in: bool) -> None:
        """Note a session that was written, and forget those that had to give way to it."""
        assert visit.id is not None
        created_us = visit.record.meta.created_us if visit.record is not None else 0
        self.truth[visit.id] = Truth(dict(values), user, created_us)
        if logged_in and user is not None and self.limit is not None:
            mine = sorted(self.sessions_of(user), key=lambda id: self.truth[id].created_us)
            for surplus in mine[: max(len(mine) - self.limit, 0)]:
                assert not self.refuses
                del self.truth[surplus]

    def afterwards(self, closed: Closed, clean: bool) -> None:
        """Do the clean-up that nobody waits for, or lose it."""
        if clean and closed.after is not None:
            self.run(closed.after())

    @rule(
        target=ids,
        values=st.dictionaries(session_keys, st.integers(), min_size=1),
        user=st.sampled_from([None, *USERS]),
        life=lives,
        clean=st.booleans(),
    )
    def a_session_begins(self, values: dict[str, int], user: str | None, life: int | None, clean: bool) -> Any:
        visit = Visit(self.room, None)
        if user:
            visit.login(user)
        visit.own_idle_us = life
        closed = self.run(visit.close(values))
        if self.is_full(user):
            assert closed.outcome == "refused"
            return multiple()
        assert closed.outcome == "created" and visit.id is not None
        self.stored(visit, values, user, logged_in=True)
        self.afterwards(closed, clean)
        return visit.id

    @rule(target=visits, id=ids)
    def a_request_comes_in(self, id: str) -> tuple[Visit, dict[str, Any], str]:
        visit = Visit(self.room, id)
        self.run(visit.load())
        if id in self.truth:
            assert visit.record is not None and not visit.record.read_only
            assert (visit.initial, visit.user_id) == self.truth[id][:2]
        elif self.last(id) in self.truth:
            assert visit.record is not None and visit.record.read_only
        else:
            assert visit.record is None, "an ended session was found"
        return visit, dict(visit.initial), id

    @rule(visit=visits, key=session_keys, value=st.none() | st.integers())
    def it_changes(self, visit: tuple[Visit, dict[str, Any], str], key: str, value: int | None) -> None:
        if value is None:
            visit[1].pop(key, None)
        else:
            visit[1][key] = value

    @rule(
        target=ids,
        visit=consumes(visits),
        mark=st.sampled_from(["", "", "regenerate", "regenerate", "ann", "bob"]),
        life=lives,
        clean=st.booleans(),
    )
    def it_ends(self, visit: tuple[Visit, dict[str, Any], str], mark: str, life: int | None, clean: bool) -> Any:
        request, data, id = visit
        request.own_idle_us = life
        before, existed = dict(request.initial), request.record is not None
        if mark == "regenerate":
            request.regenerate()
        elif mark and request.is_of_another(mark):
            mark = ""  # a framework's session logs out before that
        elif mark:
            request.login(mark)
        bound_before = request.record.meta.user if request.record is not None else None
        life_before = request.record.meta.own_idle_us if request.record is not None else None
        relived = request.own_idle_us not in (None, life_before)
        moved = self.client.exists(self.room.store.commands.key(name_of(id)))
        closed = self.run(request.close(data))
        changed = {key: value for key, value in data.items() if before.get(key, request) != value}
        removed = [key for key in before if key not in data]
        user = mark if mark in USERS else None
        if self.is_full(user, replaced=id):
            assert closed.outcome == "refused"
            return multiple()
        if not existed:
            assert closed.outcome == ("created" if data or user else "unchanged")
            if closed.outcome == "created":
                assert request.id != id
                self.stored(request, data, user, logged_in=True)
        elif closed.outcome == "destroyed":
            values, bound, _ = self.truth.pop(id)
            assert not data and bound is None and not merged(values, changed, removed)
        elif closed.outcome == "saved":
            values, bound, _ = self.truth[id]
            self.stored(request, merged(values, changed, removed), bound, logged_in=False)
        elif closed.outcome == "regenerated":
            values, bound, _ = self.truth.pop(id)
            assert request.id is not None
            self.successor[id] = request.id
            self.stored(request, merged(values, changed, removed), user or bound, logged_in=user is not None)
        elif closed.outcome == "created":
            # A login that found its session ended or moved meanwhile gets one of its own, with nothing of what ended.
            assert user is not None and id not in self.truth
            goes_along = moved and bound_before in (None, user)
            self.stored(request, data if goes_along else changed, user, logged_in=True)
        elif closed.outcome == "conflict":
            assert id not in self.truth, "a live session refused a write"
        else:
            assert closed.outcome == "unchanged" and not (changed or removed or mark or relived)
        self.afterwards(closed, clean)
        return request.id if request.id not in (None, id) else multiple()

    @rule(target=ids, id=ids, read=st.booleans(), user=st.sampled_from([None, *USERS]), clean=st.booleans())
    def somebody_logs_out(self, id: str, read: bool, user: str | None, clean: bool) -> Any:
        """And in again, perhaps."""
        visit = Visit(self.room, id)
        if read:
            self.run(visit.load())
        visit.logout()
        if user is not None:
            visit.login(user)
        closed = self.run(visit.close({} if user is None else {"a": 1}))
        self.truth.pop(self.last(id), None)
        self.afterwards(closed, clean)
        if user is None or self.is_full(user):
            assert closed.outcome != "created"
            return multiple()
        assert closed.outcome == "created" and visit.id is not None
        self.stored(visit, {"a": 1}, user, logged_in=True)
        return visit.id

    @rule(user=users, id=ids)
    def a_session_is_revoked(self, user: str, id: str) -> None:
        last = self.last(id)
        mine = last in self.truth and self.truth[last].user == user
        ended = self.run(index.revoke(self.room.store, user, name_of(id)))
        if last == id:
            assert ended is mine
        if mine and ended:
            del self.truth[last]

    @rule(user=users, keep=ids)
    def all_of_a_user_but_one_are_revoked(self, user: str, keep: str) -> None:
        mine = self.sessions_of(user) - {keep}
        assert self.run(index.revoke_user(self.room.store, user, keep=name_of(keep))) >= len(mine)
        for id in mine:
            del self.truth[id]

    @rule(user=users)
    def a_user_looks_at_their_sessions(self, user: str) -> None:
        listed = {info.handle for info in self.run(index.of_user(self.room.store, user))}
        assert listed == set(map(name_of, self.sessions_of(user)))

    def is_sound(self, live: dict[str, Stored]) -> None:
        expected = {name_of(id): truth.user for id, truth in self.truth.items()}
        assert {name: stored.user for name, stored in live.items()} == expected


class Batches(Machine):
    """``flows`` are under way; ``ids`` those that a browser got to know; ``ended`` what was there and is no more."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.flows: list[tuple[Stepped, Visit | None]] = []
        self.seen: set[str] = set()
        self.ended: set[str] = set()
        self.any_was_cut = False

    def begin(self, flow: Any, visit: Visit | None = None) -> None:
        if len(self.flows) < 4:
            self.flows.append((Stepped(self.run, flow), visit))

    def visit(self, id: str | None, read: bool) -> Visit:
        visit = Visit(self.room, id)
        if read:
            self.run(visit.load())
        return visit

    def take(self, at: int) -> tuple[Stepped, Visit | None]:
        return self.flows.pop(at % len(self.flows))

    def finished(self, result: Any, visit: Visit | None) -> Any:
        """The id that the browser has then; the clean-up becomes a flow of its own."""
        if isinstance(result, Closed) and result.after is not None:
            self.begin(result.after())
        return visit.id if visit is not None and visit.id is not None else multiple()

    @rule(target=ids, user=users | st.none())
    def there_is_a_session(self, user: str | None) -> Any:
        visit = Visit(self.room, None)
        if user is not None:
            visit.login(user)
        return self.finished(self.run(visit.close({"a": 0})), visit)

    @rule(
        id=ids,
        does=st.sampled_from(["log in", "log out", "log out and in", "regenerate", "save"]),
        read=st.booleans(),
        user=users,
        life=lives,
    )
    def a_request_closes(self, id: str, does: str, read: bool, user: str, life: int | None) -> None:
        visit = self.visit(id, read or does == "save")
        data: dict[str, Any] | None = None
        if does == "save":
            data = {**visit.initial, "b": 2}
        elif does == "regenerate":
            visit.regenerate()
        if does in ("log out", "log out and in"):
            visit.logout()
        elif does in ("regenerate", "save"):
            visit.own_idle_us = life
        if does in ("log in", "log out and in"):
            visit.login(user)
        self.begin(visit.close(data), visit)

    @rule(user=users)
    def a_new_visitor_logs_in(self, user: str) -> None:
        visit = self.visit(None, read=False)
        visit.login(user)
        self.begin(visit.close({"a": 1}), visit)

    @rule(user=users, which=st.booleans())
    def a_user_lists_or_ends_all_sessions(self, user: str, which: bool) -> None:
        self.begin((index.of_user if which else index.revoke_user)(self.room.store, user))

    @precondition(lambda self: self.flows)
    @rule(target=ids, at=st.integers(0, 3))
    def a_flow_takes_one_step(self, at: int) -> Any:
        return self.step(at)

    # The same again, so that flows are stepped more often than cut.
    a_flow_goes_on = a_flow_takes_one_step

    def step(self, at: int) -> Any:
        stepped, visit = self.take(at)
        if not stepped.is_done:
            stepped.step()
        if stepped.is_done:
            return self.finished(stepped.result, visit)
        self.flows.append((stepped, visit))
        return multiple()

    @precondition(lambda self: self.flows)
    @rule(at=st.integers(0, 3), how=st.sampled_from(["cut", "cut unsent", "outage"]))
    def a_flow_is_interrupted(self, at: int, how: str) -> None:
        stepped, _ = self.take(at)
        if stepped.is_done:
            return
        self.any_was_cut = True
        if how == "outage":
            stepped.meet_an_outage()
            _ = stepped.finish()
        else:
            stepped.cut(sent=how == "cut")

    def is_sound(self, live: dict[str, Stored]) -> None:
        assert not self.ended & live.keys(), "it came back"
        self.ended |= self.seen - live.keys()
        self.seen |= live.keys()

    def teardown(self) -> None:
        try:
            self.when_all_is_quiet()
        finally:
            super().teardown()

    def when_all_is_quiet(self) -> None:
        for stepped, _ in self.flows:
            _ = stepped.finish()
        self.what_is_stored_is_sound()
        for user in USERS:
            if self.limit is not None:
                login = Visit(self.room, None)
                login.login(user)
                outcome = self.run(login.close({})).outcome
                count = sum(stored.user == user for stored in self.live().values())
                # A login that was cut before it was counted is too many until somebody logs in, or out.
                assert count <= self.limit or (self.refuses and self.any_was_cut)
                assert outcome == "created" or (self.refuses and count >= self.limit), "refused for what is no more"
            _ = self.run(index.revoke_user(self.room.store, user))
            assert all(stored.user != user for stored in self.live().values())


def merged(values: dict[str, Any], changed: dict[str, Any], removed: list[str]) -> dict[str, Any]:
    return {key: value for key, value in {**values, **changed}.items() if key not in removed}


@pytest.mark.hypothesis  # so that the long profile includes it
@pytest.mark.parametrize("machine", [Requests, Batches])
def test_overlapping_requests_lose_nothing_and_revive_nothing(
    redis_mw_settings: Settings, machine: type[Machine]
) -> None:
    machine.settings_of_test = redis_mw_settings
    run_state_machine_as_test(machine)
