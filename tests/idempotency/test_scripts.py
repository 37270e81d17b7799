"""Every script against its model: random histories on a real server, compared step by step.

Scripts are told the time, so it passes in steps of any length. A record that the model has forgotten is taken off the
server, whose own clock has hardly moved; what it was told about expiries is compared with the model instead.
"""

from typing import Any, Literal

import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from redis_mw import Settings
from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Events
from redis_mw.flows import one
from redis_mw.idempotency.commands import Ask, Claimed, Commands, Terms
from redis_mw.idempotency.model import Model

HOUR = 3_600_000_000
LEASE, TTL = HOUR, 5 * HOUR

names = st.sampled_from(["1" * 32, "2" * 32])
asks = st.builds(Ask, names, st.sampled_from([b"\x00f", b"\xffg"]), st.sampled_from(["ann", "bob", "cy"]))
responses = st.binary(max_size=5)


class Scripts(RuleBasedStateMachine):
    settings_of_test: Settings

    def __init__(self) -> None:
        super().__init__()
        settings = self.settings_of_test
        self.driver = SyncDriver(settings, Events((), lambda: 0.0))
        self.client = redis.Redis.from_url(settings.url_of("locks"))
        self.prefix = settings.prefix
        self.wipe()

    @initialize(dead=st.sampled_from(["retry", "unknown"]), start=st.integers(1, 2_000_000_000_000_000))
    def begin(self, dead: Literal["retry", "unknown"], start: int) -> None:
        terms = Terms(TTL // 1000, LEASE, dead)
        self.commands, self.model = Commands(self.prefix, terms, 5_000_000), Model(terms)
        self.start = start

    def wipe(self) -> None:
        for key in self.client.scan_iter(f"{self.prefix}:*", count=1000):
            self.client.delete(key)

    def teardown(self) -> None:
        self.wipe()
        self.driver.close()
        self.client.close()

    def run(self, command: Any) -> Any:
        reply = self.driver.run(one(command))
        assert not isinstance(reply, Exception), reply
        return reply

    @rule(us=st.integers(0, 2 * LEASE) | st.sampled_from([LEASE - 1, LEASE, LEASE + 1, TTL]))
    def time_passes(self, us: int) -> None:
        self.model.pass_time(us)
        for name in ("1" * 32, "2" * 32):
            key = self.commands.key(name)
            if name not in self.model.records:
                self.client.delete(key)
            else:
                left = (self.model.records[name].expires - self.model.now) // 1000
                assert self.client.pexpire(key, max(left, 60_000))

    @rule(ask=asks)
    def claim(self, ask: Ask) -> None:
        self.commands.now_us = self.start + self.model.now
        assert self.run(self.commands.claim(ask)) == self.model.claim(ask)

    @rule(ask=asks, response=responses)
    def complete(self, ask: Ask, response: bytes) -> None:
        assert self.run(self.commands.complete(ask, response)) == self.model.complete(ask, response)

    @rule(ask=asks)
    def release(self, ask: Ask) -> None:
        assert self.run(self.commands.release(ask)) == self.model.release(ask)

    @rule(ask=asks)
    def renew(self, ask: Ask) -> None:
        self.commands.now_us = self.start + self.model.now
        assert self.run(self.commands.renew(ask.name, ask.owner)) == self.model.renew(ask.name, ask.owner)

    @rule(name=names)
    def forget(self, name: str) -> None:
        assert self.run(self.commands.forget(name)) == self.model.forget(name)

    @invariant()
    def what_is_stored_is_what_the_model_says_and_nothing_lives_for_ever(self) -> None:
        stored = set(self.client.scan_iter(f"{self.prefix}:*", count=1000))
        assert stored == {self.commands.key(name).encode() for name in self.model.records}
        for name, record in self.model.records.items():
            left_ms = self.client.pttl(self.commands.key(name))
            assert abs(left_ms - max((record.expires - self.model.now) // 1000, 60_000)) < 50_000


@pytest.mark.hypothesis  # so that the long profile includes it
def test_every_script_does_what_its_model_says(redis_mw_settings: Settings) -> None:
    Scripts.settings_of_test = redis_mw_settings
    run_state_machine_as_test(Scripts)


@pytest.fixture
def commands(redis_mw_settings: Settings) -> Commands:
    return Commands(redis_mw_settings.prefix, Terms(60_000, 30_000_000), 5_000_000)


ASK = Ask("a" * 32, b"f", "ann")


def test_the_servers_own_clock_counts_when_nobody_tells_the_time(run: Any, commands: Commands) -> None:
    assert run(one(commands.claim(ASK))) == Claimed("first", run=1)
    busy = run(one(commands.claim(Ask(ASK.name, b"f", "bob"))))
    assert busy.status == "busy" and 20_000_000 < busy.left_us <= 30_000_000
    assert run(one(commands.renew(ASK.name, "ann")))


@pytest.mark.parametrize(
    "fields", [{"f": "f"}, {"o": "ann"}, {"f": "f", "o": "x", "l": "soon", "n": 1}, {"f": "f", "o": "x", "l": 1}]
)
def test_half_a_record_is_damaged_and_never_run_over(
    run: Any, commands: Commands, client: "redis.Redis[Any]", fields: dict[str, Any]
) -> None:
    client.hset(commands.key(ASK.name), mapping=fields)
    assert run(one(commands.claim(ASK))) == Claimed("damaged")
    assert client.hlen(commands.key(ASK.name)) == len(fields)
    assert run(one(commands.forget(ASK.name)))
    assert run(one(commands.claim(ASK))).status == "first"


def test_what_is_no_record_at_all_is_damaged_and_no_script_breaks_on_it(
    run: Any, commands: Commands, client: "redis.Redis[Any]"
) -> None:
    client.set(commands.key(ASK.name), "a text")
    assert run(one(commands.claim(ASK))) == Claimed("damaged")
    assert run(one(commands.complete(ASK, b"r"))) is False
    assert run(one(commands.release(ASK))) is False
    assert run(one(commands.renew(ASK.name, "ann"))) is False
    assert client.get(commands.key(ASK.name)) == b"a text"
    assert run(one(commands.forget(ASK.name))) is True
