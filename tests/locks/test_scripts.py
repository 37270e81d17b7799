"""Every script against its model: random histories on a real server, compared step by step.

Scripts are told the time, so it passes in steps of any length. What the server keeps is compared as a whole after each
step: who holds, who waits, the fences; and that each key ends by itself, when it should.
"""

from math import ceil, inf
from typing import Any, NamedTuple

import hypothesis
import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from redis_mw import Locks, Settings
from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Events
from redis_mw.flows import one
from redis_mw.keys import digest
from redis_mw.locks.ask import Ask, Wanted, wanted
from redis_mw.locks.commands import Commands, Crowded, Granted, Waiting, granted

SECOND = 1_000_000
GRANT, LINGER_MS, MOST = SECOND, 60_000, 3

names = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)
# Waits are long: no queue ends so soon that the time of the test itself would matter.
steps = st.sampled_from([us * SECOND for us in (0, 0, 1, 2, 5, 20, 60, 61, 100)] + [1, 100_000])


class Entry(NamedTuple):
    """One who waits; ``stops`` is told by when he came to each queue."""

    ask: Ask

    @property
    def wanted(self) -> Wanted:
        return self.ask.wanted

    @property
    def shared(self) -> bool:
        return self.wanted.shared


class Model:
    """What the scripts do, in plain Python: for each lock who holds it until when, who waits since when, its fence."""

    def __init__(self) -> None:
        self.holds: dict[str, dict[str, int]] = {}
        self.waits: dict[str, list[tuple[Entry, int]]] = {}
        self.fences: dict[str, int] = {}
        self.expires: dict[str, float] = {}
        self.listens: set[str] = set()
        self.told: list[tuple[str, Granted | None]] = []
        self.now = 0

    def alive(self, name: str) -> dict[str, int]:
        return {token: ends for token, ends in self.holds.get(name, {}).items() if ends > self.now}

    def queue(self, name: str) -> list[tuple[Entry, int]]:
        return self.waits.setdefault(name, [])

    def first(self, name: str) -> tuple[Entry, int] | None:
        queue = self.queue(name)
        while queue and queue[0][1] + queue[0][0].wanted.wait_us <= self.now:
            _ = queue.pop(0)
        return queue[0] if queue else None

    def is_next(self, name: str, entry: Entry) -> bool:
        first = self.first(name)
        return first is not None and first[0] == entry

    def admits(self, name: str, shared: bool) -> bool:
        return all(shared and token[0] == "s" for token in self.alive(name))

    def hold(self, name: str, token: str, ends: int) -> bool:
        before = self.holds.get(name, {})
        after = {**self.alive(name), token: ends}
        self.holds[name] = after
        self.expires[name] = self.now // 1000 + ceil((max(after.values()) - self.now) / 1000) + LINGER_MS
        return any(each <= self.now for each in before.values())

    def draw(self, names: tuple[str, ...]) -> int:
        fence = max([self.now, *(self.fences.get(name, 0) + 1 for name in names)])
        self.fences.update(dict.fromkeys(names, fence))
        return fence

    def advance(self, names: tuple[str, ...], over: bool) -> set[str]:
        given: set[str] = set()
        look = list(names)
        for name in look:
            while (head := self.first(name)) is not None:
                entry, wanted = head[0], head[0].wanted
                if not all(self.is_next(each, entry) and self.admits(each, entry.shared) for each in wanted.names):
                    break
                fence, token, stops = self.draw(wanted.names), entry.ask.token, head[1] + wanted.wait_us
                ttl_us = wanted.ttl_us if token in self.listens else min(GRANT, wanted.ttl_us)
                for each in wanted.names:
                    self.waits[each] = [other for other in self.queue(each) if other[0] != entry]
                    self.hold(each, token, self.now + ttl_us)
                    if len(wanted.names) > 1:
                        self.hasten(each, stops)
                self.told.append((token, Granted(fence, self.now, over, ttl_us)))
                given.add(token)
                if entry.shared:
                    look += [each for each in wanted.names if each != name]
        return given

    def hasten(self, name: str, known: int) -> None:
        """All who wait are to look again, where something may change earlier than they knew."""
        if alive := self.alive(name):
            changes: float = max(alive.values())
        else:
            head = self.first(name)
            changes = head[1] + head[0].wanted.wait_us if head is not None else inf
        if changes < known:
            self.told += [(entry.ask.token, None) for entry, _ in self.queue(name)]

    def acquire(self, ask: Ask) -> Granted | Waiting | Crowded:
        wanted, token, entry = ask.wanted, ask.token, Entry(ask)
        given = self.advance(wanted.names, True)
        if all(token in self.alive(name) for name in wanted.names):
            for name in wanted.names:
                self.hold(name, token, self.now + wanted.ttl_us)
            return Granted(self.fences.get(wanted.names[0]) or self.draw(wanted.names), self.now, token in given)
        if all(self.first(name) is None and self.admits(name, wanted.shared) for name in wanted.names):
            over = False
            for name in wanted.names:
                alone = not self.alive(name)
                over = (self.hold(name, token, self.now + wanted.ttl_us) and alone) or over
            return Granted(self.draw(wanted.names), self.now, over)
        looks: list[float] = []
        for name in wanted.names:
            head = self.first(name)
            if alive := self.alive(name):
                looks.append(max(alive.values()) - self.now)
            elif head is not None and head[0] != entry:
                looks.append(head[1] + head[0].wanted.wait_us - self.now)
        look = int(min(looks, default=GRANT))
        if not wanted.wait_us:
            return Waiting(look, self.now, 0)
        if entry not in [other for other, _ in self.queue(wanted.names[0])]:
            for name in wanted.names:
                if len(self.queue(name)) >= MOST:
                    self.waits[name] = [
                        (other, since) for other, since in self.queue(name) if since + other.wanted.wait_us > self.now
                    ]
                    if len(self.queue(name)) >= MOST:
                        return Crowded(look)
            for name in wanted.names:
                queue = self.queue(name)
                since = max(self.now, queue[-1][1] + 1 if queue else 0)
                # Nobody stands in a queue twice: of one who gave up waiting for several locks, his old place may still
                # be in this one, behind somebody else's.
                self.waits[name] = [other for other in queue if other[0] != entry] + [(entry, since)]
        before = [other for other, _ in self.queue(wanted.names[0])].index(entry)
        return Waiting(look, self.now, before)

    def release(self, ask: Ask, *, leaves: bool) -> bool:
        ends = [self.holds.get(name, {}).pop(ask.token, None) for name in ask.wanted.names]
        known = [each or 0 for each in ends]
        if leaves:
            for place, name in enumerate(ask.wanted.names):
                stops = [since + ask.wanted.wait_us for other, since in self.queue(name) if other == Entry(ask)]
                known[place] = max([known[place], *stops])
                self.waits[name] = [other for other in self.queue(name) if other[0] != Entry(ask)]
        if any(self.queue(name) for name in ask.wanted.names):
            self.advance(ask.wanted.names, any(each is not None and each <= self.now for each in ends))
            for name, each in zip(ask.wanted.names, known, strict=True):
                self.hasten(name, each)
        return all(each is not None and each > self.now for each in ends)

    def renew(self, ask: Ask, ttl_us: int) -> bool:
        if not all(ask.token in self.alive(name) for name in ask.wanted.names):
            return False
        for name in ask.wanted.names:
            holds, known = self.holds[name], self.holds[name][ask.token]
            holds[ask.token] = self.now + ttl_us
            if self.now + ttl_us < known:
                self.hasten(name, known)
            self.expires[name] = self.now // 1000 + ceil((max(holds.values()) - self.now) / 1000) + LINGER_MS
        return True

    def pass_time(self, us: int) -> list[str]:
        """The locks of which it is forgotten by then who held them."""
        self.now += us
        gone = [name for name, expires in self.expires.items() if expires <= self.now // 1000]
        for name in gone:
            del self.expires[name], self.holds[name]
        return gone


class Histories(RuleBasedStateMachine):
    settings_of_test: Settings

    @initialize()
    def begin(self) -> None:
        settings = self.settings_of_test
        self.driver = SyncDriver(settings, Events((), lambda: 0.0))
        self.client = redis.Redis.from_url(settings.url_of("locks"), decode_responses=True)
        self.ears = self.client.pubsub(ignore_subscribe_messages=True)
        self.commands = Commands(settings.prefix, 10 * SECOND, MOST)
        self.model = Model()
        self.model.now = 1_700_000_000 * SECOND
        self.asks: list[Ask] = []
        self.wipe()

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            self.wipe()
            self.ears.close()
            self.driver.close()
            self.client.close()

    def wipe(self) -> None:
        for key in self.client.scan_iter(f"{self.settings_of_test.prefix}:*", count=1000):
            self.client.delete(key)

    def key(self, name: str, part: str) -> str:
        return f"{self.settings_of_test.prefix}:k1:{{{digest(name)}}}:{part}"

    def run(self, command: Any) -> Any:
        reply = self.driver.run(one(command))
        assert not isinstance(reply, Exception), reply
        return reply

    def told(self) -> Commands:
        self.commands.now_us = self.model.now
        return self.commands

    @rule(
        names=names,
        shared=st.booleans(),
        wait=st.sampled_from([0, 60, 90, 300]),
        ttl=st.sampled_from([0.5, 5, 20, 120]),
        listens=st.booleans(),
    )
    def acquire(self, names: list[str], shared: bool, wait: int, ttl: float, listens: bool) -> None:
        number = len(self.asks)
        wish = wanted(self.settings_of_test.prefix, Locks(), names, ttl, wait, shared)
        ask = Ask(wish, f"{'s' if shared else 'x'}{number}.0")
        self.asks.append(ask)
        if listens:
            self.ears.subscribe(self.commands.channel(ask))
            self.model.listens.add(ask.token)
            _ = self.ears.get_message(timeout=5)
        self.ask_again(ask)

    @precondition(lambda self: self.asks)
    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        """As when a command is sent twice, or one who waits looks."""
        self.ask_again(data.draw(st.sampled_from(self.asks[-8:])))

    def ask_again(self, ask: Ask) -> None:
        assert self.run(self.told().acquire(ask)) == self.model.acquire(ask)

    @precondition(lambda self: self.asks)
    @rule(data=st.data(), leaves=st.booleans(), twice=st.booleans())
    def release(self, data: st.DataObject, leaves: bool, twice: bool) -> None:
        ask = data.draw(st.sampled_from(self.asks[-8:]))
        for _ in range(1 + twice):
            command = self.told().leave(ask) if leaves else self.told().release(ask)
            assert self.run(command) is self.model.release(ask, leaves=leaves)

    @precondition(lambda self: self.asks)
    @rule(data=st.data(), ttl=st.sampled_from([SECOND, 30 * SECOND]))
    def renew(self, data: st.DataObject, ttl: int) -> None:
        ask = data.draw(st.sampled_from(self.asks[-8:]))
        assert self.run(self.told().renew(ask, ttl)) is self.model.renew(ask, ttl)

    @rule(us=steps)
    def time_passes(self, us: int) -> None:
        for name in self.model.pass_time(us):
            self.client.delete(self.key(name, "h"))

    @rule()
    def fences_are_forgotten(self) -> None:
        self.client.delete(*[self.key(name, "f") for name in "abc"])
        self.model.fences.clear()

    @invariant()
    def those_who_listen_are_told(self) -> None:
        heard: list[tuple[str, Granted | None]] = []
        expected = [(token, grant) for token, grant in self.model.told if token in self.model.listens]
        while len(heard) < len(expected):
            message = self.ears.get_message(timeout=5)
            assert message is not None, "nobody was told"
            (ask,) = [ask for ask in self.asks if self.commands.channel(ask) == message["channel"]]
            heard.append((ask.token, granted(ask, message["data"].encode())))
        assert heard == expected
        self.model.told.clear()

    @invariant()
    def what_is_kept_is_what_the_model_says(self) -> None:
        for name in "abc":
            holds = dict(self.client.zrange(self.key(name, "h"), 0, -1, withscores=True))
            assert holds == self.model.holds.get(name, {})
            waits = [(entry.ask.entry, since) for entry, since in self.model.queue(name)]
            assert self.client.zrange(self.key(name, "q"), 0, -1, withscores=True) == waits
            assert int(self.client.get(self.key(name, "f")) or 0) == self.model.fences.get(name, 0)

    @invariant()
    def every_key_ends_by_itself_and_not_before_what_it_says(self) -> None:
        for name in "abc":
            fence, holds, waits = (self.client.pttl(self.key(name, part)) for part in "fhq")
            assert fence == -2 or fence > 80_000_000
            assert holds == -2 or holds > LINGER_MS - 10_000
            stops = [since + entry.wanted.wait_us - self.model.now for entry, since in self.model.queue(name)]
            assert waits != -1 and (waits > 0 or max(stops, default=-inf) <= 0)


@pytest.mark.hypothesis  # so that the long profile includes it
def test_every_script_does_what_its_model_says(redis_mw_settings: Settings) -> None:
    Histories.settings_of_test = redis_mw_settings
    run_state_machine_as_test(Histories, settings=hypothesis.settings(report_multiple_bugs=False))
