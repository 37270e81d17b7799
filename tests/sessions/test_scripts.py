"""Every script against a plain model of it: random histories on a real server, compared step by step.

Scripts read the server's clock. Time is made to pass by moving everything that is stored into the past, which is the
same to a script; it passes in steps that come no closer than some seconds to any of the lifetimes, so the moment that a
test itself takes decides nothing.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Events
from redis_mw.flows import one
from redis_mw.sessions.commands import Changes, Commands, Lifetimes
from redis_mw.settings import Settings

MINUTE = 60_000_000
STEP = 67_000_000
IDLE, ANONYMOUS, LONGEST, GRACE = 30 * MINUTE, 15 * MINUTE, 120 * MINUTE, 2 * MINUTE
TIMES = Lifetimes(IDLE, ANONYMOUS, LONGEST, 100, GRACE // 1000)

NAMES = [f"{slot * 8}{part * 64}" for slot in "ab" for part in "123"]
names = st.sampled_from(NAMES)
users = st.sampled_from([None, "42", "a|b"])
own = st.sampled_from([None, None, 0, 200 * MINUTE, 5 * MINUTE])
values = st.dictionaries(st.sampled_from([".x", ".y", ".z"]), st.binary(max_size=3), max_size=3)


@dataclass
class Stored:
    """A session as the model knows it; times are microseconds of the model's clock."""

    birth: str
    created: int
    seen: int
    deadline: int
    own_idle: int
    user: str
    expires: int
    fields: dict[str, bytes] = field(default_factory=dict)
    successor: str | None = None

    def live_until(self, now: int) -> int:
        return min(now + (self.own_idle or (IDLE if self.user else ANONYMOUS)), self.deadline)


class Model:
    """What the scripts promise, in plain Python."""

    def __init__(self) -> None:
        self.now = 0
        self.sessions: dict[str, Stored] = {}
        self.index: dict[str, dict[str, tuple[int, int]]] = {}

    def pass_time(self, us: int) -> None:
        self.now += us
        self.sessions = {name: each for name, each in self.sessions.items() if each.expires > self.now}

    def load(self, name: str, renew: bool) -> tuple[str, bool, dict[str, bytes]]:
        session = self.sessions.get(name)
        if session is None or session.deadline <= self.now:
            return "gone", False, {}
        if session.successor is not None:
            last: Stored | None = session
            while last is not None and last.successor is not None:
                last = self.sessions.get(last.successor)
            alive = last is not None
            return ("old" if alive else "gone"), False, session.fields if alive else {}
        idle = session.own_idle or (IDLE if session.user else ANONYMOUS)
        renewed = renew and (self.now - session.seen) * 10 >= idle
        if renewed:
            session.seen = self.now
            session.expires = session.live_until(self.now)
        return "live", renewed, session.fields

    def create(self, name: str, birth: str, put: dict[str, bytes], own_idle: int | None, user: str | None) -> str:
        if name in self.sessions:
            return "taken"
        deadline = self.now + max(LONGEST, own_idle or 0)
        session = Stored(birth, self.now, self.now, deadline, own_idle or 0, user or "", 0, dict(put))
        session.expires = session.live_until(self.now)
        self.sessions[name] = session
        return "live"

    def writable(self, name: str) -> str:
        session = self.sessions.get(name)
        if session is None:
            return "gone"
        return "live" if session.successor is None else "old"

    def save(self, name: str, put: dict[str, bytes], drop: list[str], own_idle: int | None, end: bool) -> str:
        if (status := self.writable(name)) != "live":
            return status
        session = self.sessions[name]
        self._extend(session, own_idle)
        self._write(session, put, drop)
        if end and not session.fields and not session.user:
            del self.sessions[name]
            return "ended"
        return "live"

    def regenerate(
        self,
        old: str,
        new: str,
        put: dict[str, bytes],
        drop: list[str],
        own_idle: int | None,
        user: str,
        grace: bool,
        noted: int,
    ) -> str:
        if (status := self.writable(old)) != "live":
            return status
        before = self.sessions[old]
        after = replace(before, fields=dict(before.fields))
        if user[0] == "+":
            after.user, after.created = user[1:], self.now
            after.own_idle = after.own_idle if own_idle is None else own_idle
            after.deadline = self.now + max(LONGEST, after.own_idle)
        else:
            after.user = "" if user == "-" else after.user
            self._extend(after, own_idle)
        if noted and after.deadline - self.now > noted:
            return "longer"
        if new in self.sessions:
            return "taken"
        self._write(after, put, drop)
        self.sessions[new] = after
        if grace:
            before.successor, before.expires = new, min(before.expires, self.now + GRACE)
        else:
            del self.sessions[old]
        return "live"

    def destroy(self, name: str, user: str | None, keep: str | None) -> tuple[str, list[tuple[str, str | None]]]:
        session = self.sessions.get(name)
        if session is None:
            return "gone", []
        if user is not None and session.user != user:
            return "other", []
        became = session.successor
        while became is not None:
            if became == keep:
                return "kept", []
            became = self.sessions[became].successor if became in self.sessions else None
        went: list[tuple[str, str | None]] = []
        while session is not None and (user is None or session.user == user):
            del self.sessions[name]
            went.append((name, session.user or None))
            if session.successor is None:
                break
            name, session = session.successor, self.sessions.get(session.successor)
        return "ended", went

    def enlist(self, user: str, name: str) -> None:
        index = self.index.setdefault(user, {})
        for each in [each for each, (deadline, _) in index.items() if deadline < self.now]:
            del index[each]
        noted = (self.now + LONGEST + MINUTE, self.now)
        index[name] = max(index.get(name, noted), noted)

    def _extend(self, session: Stored, own_idle: int | None) -> None:
        if own_idle is not None:
            session.own_idle = own_idle
            session.deadline = max(session.deadline, self.now + own_idle)

    def _write(self, session: Stored, put: dict[str, bytes], drop: list[str]) -> None:
        session.seen = self.now
        for name in drop:
            _ = session.fields.pop(name, None)
        session.fields.update(put)
        session.expires = session.live_until(self.now)


class Scripts(RuleBasedStateMachine):
    settings_of_test: Settings

    def __init__(self) -> None:
        super().__init__()
        settings = self.settings_of_test
        self.driver = SyncDriver(settings, Events((), lambda: 0.0))
        self.client = redis.Redis.from_url(settings.url_of("sessions"))
        self.commands = Commands(settings.prefix, TIMES, 5_000_000)
        self.model = Model()
        self.births = 0
        self.wipe()

    def wipe(self) -> None:
        for key in self.client.scan_iter(f"{self.commands.key('x' * 72).partition(':')[0]}:*"):
            self.client.delete(key)

    def teardown(self) -> None:
        self.wipe()
        self.driver.close()
        self.client.close()

    def run(self, command: Any) -> Any:
        reply = self.driver.run(one(command))
        assert not isinstance(reply, Exception), reply
        return reply

    @rule(steps=st.integers(1, 50))
    def time_passes(self, steps: int) -> None:
        self.model.pass_time(steps * STEP)
        for name in NAMES:
            key = self.commands.key(name)
            meta = self.client.hget(key, "m")
            if meta is None:
                continue
            parts = meta.split(b"|", 6)
            for at in (2, 3, 4):
                parts[at] = str(int(parts[at]) - steps * STEP).encode()
            self.client.hset(key, "m", b"|".join(parts))
            self.client.pexpireat(key, self.client.pexpiretime(key) - steps * STEP // 1000)
        seconds = steps * STEP // 1_000_000
        for user in ("42", "a|b"):
            index = self.commands.index_key(user)
            for name, score in self.client.zrange(index, 0, -1, withscores=True):
                deadline, noted = divmod(int(score), 1 << 20)
                moved = (deadline - seconds) << 20 | (noted - seconds) % (1 << 20)
                self.client.zadd(index, {name: moved})

    @rule(name=names, renew=st.booleans())
    def load(self, name: str, renew: bool) -> None:
        read = self.run(self.commands.load(name, renew=renew))
        kept = {key: value for key, value in read.fields.items() if key.startswith(".")}
        assert (read.status, read.renewed, kept) == self.model.load(name, renew)

    @rule(name=names, put=values, own_idle=own, user=users)
    def create(self, name: str, put: dict[str, bytes], own_idle: int | None, user: str | None) -> None:
        self.births += 1
        birth = f"{self.births:016x}"
        status = self.run(self.commands.create(name, birth, Changes(put, (), own_idle), user))
        assert status.status == self.model.create(name, birth, put, own_idle, user)

    @rule(
        name=names,
        put=values,
        drop=st.lists(st.sampled_from([".x", ".y", ".z"]), unique=True),
        own_idle=own,
        end=st.booleans(),
    )
    def save(self, name: str, put: dict[str, bytes], drop: list[str], own_idle: int | None, end: bool) -> None:
        drop = [each for each in drop if each not in put]
        status = self.run(self.commands.save(name, Changes(put, drop, own_idle), end_if_empty=end))
        assert status.status == self.model.save(name, put, drop, own_idle, end)

    @rule(slot=st.sampled_from([0, 3]), pair=st.permutations([0, 1, 2]), put=values, own_idle=own,
          user=st.sampled_from(["=", "-", "+42", "+a|b"]), grace=st.booleans(),
          noted=st.sampled_from([0, LONGEST + MINUTE, 300 * MINUTE]))  # fmt: skip
    def regenerate(
        self,
        slot: int,
        pair: list[int],
        put: dict[str, bytes],
        own_idle: int | None,
        user: str,
        grace: bool,
        noted: int,
    ) -> None:
        old, new = NAMES[slot + pair[0]], NAMES[slot + pair[1]]
        drop = [each for each in (".z",) if each not in put]
        changes = Changes(put, drop, own_idle)
        status = self.run(self.commands.regenerate(old, new, changes, user, grace=grace, noted_us=noted))
        assert status.status == self.model.regenerate(old, new, put, drop, own_idle, user, grace, noted)
        if status.status == "longer":
            assert status.deadline_us - status.now_us > noted

    @rule(name=names, user=st.sampled_from([None, None, "42", "a|b"]), keep=st.sampled_from([None, *NAMES]))
    def destroy(self, name: str, user: str | None, keep: str | None) -> None:
        destroyed = self.run(self.commands.destroy(name, user=user, keep=keep))
        assert (destroyed.status, list(destroyed.sessions)) == self.model.destroy(name, user, keep)

    @rule(user=st.sampled_from(["42", "a|b"]), name=names)
    def enlist(self, user: str, name: str) -> None:
        self.model.enlist(user, name)
        assert self.run(self.commands.enlist(user, name, LONGEST)) == 1

    @precondition(lambda self: any(self.model.index.values()))
    @rule(user=st.sampled_from(["42", "a|b"]), ended=st.lists(names, max_size=2, unique=True),
          missing=st.lists(names, max_size=2, unique=True))  # fmt: skip
    def delist(self, user: str, ended: list[str], missing: list[str]) -> None:
        index = self.model.index.get(user, {})
        gone = {name for name in ended if name in index}
        gone |= {name for name in missing if name in index and self.model.now - index[name][1] > MINUTE}
        for name in gone:
            del index[name]
        assert self.run(self.commands.delist(user, ended, missing)) == len(gone)

    @invariant()
    def what_is_stored_is_what_the_model_says(self) -> None:
        for name in NAMES:
            key = self.commands.key(name)
            stored, expected = self.client.hgetall(key), self.model.sessions.get(name)
            if expected is None:
                assert stored == {}
                continue
            birth, created, seen, deadline, own_idle, user = stored.pop(b"m").decode().split("|", 6)[1:]
            successor = stored.pop(b"n", None)
            assert successor == (expected.successor and self.commands.key(expected.successor).encode())
            assert stored == {name.encode(): value for name, value in expected.fields.items()}
            assert (birth, int(own_idle), user) == (expected.birth, expected.own_idle, expected.user)
            assert near(int(seen) - int(created), expected.seen - expected.created)
            assert near(int(deadline) - int(seen), expected.deadline - expected.seen)
            assert near(self.client.pttl(key) * 1000, expected.expires - self.model.now)

    @invariant()
    def what_is_noted_is_what_the_model_says(self) -> None:
        for user in ("42", "a|b"):
            stored = self.client.zrange(self.commands.index_key(user), 0, -1)
            expected = {name for name, (deadline, _) in self.model.index.get(user, {}).items()}
            assert {name.decode() for name in stored} == expected

    @invariant()
    def nothing_lives_for_ever(self) -> None:
        for key in self.client.scan_iter(f"{self.commands.key('x' * 72).partition(':')[0]}:*", count=1000):
            assert self.client.pttl(key) != -1, key


def near(a: int, b: int) -> bool:
    """Equal but for what the test itself took."""
    return abs(a - b) < MINUTE // 2


@pytest.mark.hypothesis  # so that the long profile includes it
def test_every_script_does_what_its_model_says(redis_mw_settings: Settings) -> None:
    Scripts.settings_of_test = redis_mw_settings
    run_state_machine_as_test(Scripts)
