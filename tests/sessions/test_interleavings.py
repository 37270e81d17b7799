"""Requests that overlap in any order: what holds whatever happens first.

Visits begin, change and close in random order on a real server. The test keeps its own account of what each session
must hold: a closed visit's changes, and nothing of what was ended.
"""

from typing import Any

import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Events
from redis_mw.sessions import index
from redis_mw.sessions.ids import name_of
from redis_mw.sessions.room import furnish
from redis_mw.sessions.visit import Visit
from redis_mw.settings import Sessions, Settings

USERS = ["ann", "bob"]
session_keys = st.sampled_from(["a", "b", "c"])


class Requests(RuleBasedStateMachine):
    """``truth`` maps the id of each live session to (values, user); ``retired`` maps old ids to their successors."""

    settings_of_test: Settings
    ids = Bundle("ids")
    visits = Bundle("visits")

    def __init__(self) -> None:
        super().__init__()
        settings = self.settings_of_test
        self.driver = SyncDriver(settings, Events((), lambda: 0.0))
        self.client = redis.Redis.from_url(settings.url_of("sessions"))
        self.prefix = settings.prefix
        self.room = furnish(settings, Sessions(), ["s" * 32], Events((), lambda: 0.0))
        self.truth: dict[str, tuple[dict[str, Any], str | None]] = {}
        self.successor: dict[str, str] = {}

    def teardown(self) -> None:
        for key in self.client.scan_iter(f"{self.prefix}:*", count=1000):
            self.client.delete(key)
        self.driver.close()
        self.client.close()

    def run(self, flow: Any) -> Any:
        return self.driver.run(flow)

    def last(self, id: str) -> str:
        """What became of an id, however often it was regenerated."""
        while id in self.successor:
            id = self.successor[id]
        return id

    @rule(
        target=ids,
        values=st.dictionaries(session_keys, st.integers(), min_size=1),
        user=st.sampled_from([None, *USERS]),
    )
    def a_session_begins(self, values: dict[str, int], user: str | None) -> str:
        visit = Visit(self.room, None)
        if user:
            visit.login(user)
        assert self.run(visit.close(values)).outcome == "created"
        assert visit.id is not None
        self.truth[visit.id] = (dict(values), user)
        return visit.id

    @rule(target=visits, id=ids)
    def a_request_comes_in(self, id: str) -> tuple[Visit, dict[str, Any], str]:
        visit = Visit(self.room, id)
        self.run(visit.load())
        if id in self.truth:
            assert visit.record is not None and not visit.record.read_only
            assert (visit.initial, visit.user_id) == self.truth[id]
        elif self.last(id) in self.truth:
            assert visit.record is not None and visit.record.read_only
        else:
            assert visit.record is None, "an ended session was found"
        return visit, dict(visit.initial), id

    @rule(visit=visits, key=session_keys, value=st.integers())
    def it_writes(self, visit: tuple[Visit, dict[str, Any], str], key: str, value: int) -> None:
        visit[1][key] = value

    @rule(visit=visits, key=session_keys)
    def it_deletes(self, visit: tuple[Visit, dict[str, Any], str], key: str) -> None:
        visit[1].pop(key, None)

    @rule(target=ids, visit=consumes(visits), mark=st.sampled_from(["", "", "", "regenerate", "ann", "bob"]))
    def it_ends(self, visit: tuple[Visit, dict[str, Any], str], mark: str) -> str:
        request, data, id = visit
        before, existed = dict(request.initial), request.record is not None
        if mark == "regenerate":
            request.regenerate()
        elif mark:
            request.login(mark)
        bound_before = request.record.meta.user if request.record is not None else None
        moved = self.client.exists(self.room.store.commands.key(name_of(id)))
        closed = self.run(request.close(data))
        changed = {key: value for key, value in data.items() if before.get(key, request) != value}
        removed = [key for key in before if key not in data]
        user = mark if mark in USERS else None
        if not existed:
            assert closed.outcome == ("created" if data or user else "unchanged")
            if closed.outcome == "created":
                assert request.id is not None and request.id != id
                self.truth[request.id] = (dict(data), user)
        elif closed.outcome == "destroyed":
            values, bound = self.truth.pop(id)
            assert not data and bound is None and not merged(values, changed, removed)
        elif closed.outcome == "saved":
            values, bound = self.truth[id]
            self.truth[id] = (merged(values, changed, removed), bound)
        elif closed.outcome == "regenerated":
            values, bound = self.truth.pop(id)
            assert request.id is not None
            self.successor[id] = request.id
            self.truth[request.id] = (merged(values, changed, removed), user or bound)
            if closed.after is not None:
                self.run(closed.after())
        elif closed.outcome == "created":
            # A login that found its session ended or moved meanwhile gets one of its own, with nothing of what ended.
            assert user is not None and id not in self.truth and request.id is not None
            goes_along = moved and bound_before in (None, user)
            self.truth[request.id] = (dict(data if goes_along else changed), user)
        elif closed.outcome == "conflict":
            assert id not in self.truth, "a live session refused a write"
        else:
            assert closed.outcome == "unchanged" and not (changed or removed or mark)
        return request.id or id

    @rule(id=ids)
    def somebody_logs_out(self, id: str) -> None:
        visit = Visit(self.room, id)
        visit.logout()
        self.run(visit.close(None))
        self.truth.pop(self.last(id), None)

    @rule(user=st.sampled_from(USERS), id=ids)
    def a_session_is_revoked(self, user: str, id: str) -> None:
        last = self.last(id)
        mine = last in self.truth and self.truth[last][1] == user
        ended = self.run(index.revoke(self.room.store, user, name_of(id)))
        if last == id:
            assert ended is mine
        if mine and ended:
            del self.truth[last]

    @rule(user=st.sampled_from(USERS))
    def all_of_a_user_are_revoked(self, user: str) -> None:
        mine = [id for id, (_, bound) in self.truth.items() if bound == user]
        assert self.run(index.revoke_user(self.room.store, user)) >= len(mine)
        for id in mine:
            del self.truth[id]

    @invariant()
    def the_index_of_a_user_is_their_live_sessions(self) -> None:
        for user in USERS:
            listed = {info.handle for info in self.run(index.of_user(self.room.store, user))}
            assert listed == {name_of(id) for id, (_, bound) in self.truth.items() if bound == user}

    @invariant()
    def every_key_ends_by_itself(self) -> None:
        for key in self.client.scan_iter(f"{self.prefix}:*", count=1000):
            assert self.client.pttl(key) != -1


def merged(values: dict[str, Any], changed: dict[str, Any], removed: list[str]) -> dict[str, Any]:
    return {key: value for key, value in {**values, **changed}.items() if key not in removed}


@pytest.mark.hypothesis  # so that the long profile includes it
def test_overlapping_requests_lose_nothing_and_revive_nothing(redis_mw_settings: Settings) -> None:
    Requests.settings_of_test = redis_mw_settings
    run_state_machine_as_test(Requests)
