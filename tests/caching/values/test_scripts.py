"""Every script against its model: random histories on a real server, compared step by step.

Scripts are told the time, so it passes in steps of any length; leases end when the test says so.
"""

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace
from scripted import HOUR, PATIENCE_US, AgainstModel

from redis_mw import Settings
from redis_mw.caching.leases import Claim
from redis_mw.caching.lifetimes import Lifetime
from redis_mw.caching.tags import name_of
from redis_mw.caching.values.commands import Commands, Looked, Stored
from redis_mw.caching.values.entry import CHUNK, CHUNKED, CHUNKS, INTEGER
from redis_mw.caching.values.model import Model
from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Events
from redis_mw.flows import one

pytestmark = pytest.mark.one_server

names = st.sampled_from(["1" * 32, "2" * 32])
tags = st.sampled_from([name_of("t"), name_of("u")])
owners = st.sampled_from(["ann", "bob"])
integers = st.sampled_from([0, 1, -7, 2**53 + 1, -(2**63), 2**63 - 1, 10**18])
stored = st.builds(
    Stored,
    flags=st.integers(0, 31),
    length=st.integers(0, 2**32 - 1),
    body=st.binary(max_size=40),
    lifetime=st.builds(Lifetime, st.integers(1, 5).map(lambda n: n * HOUR), st.sampled_from([0, HOUR, 9 * HOUR])),
    cost_us=st.sampled_from([0, 1, 400_000, 2_000_000, HOUR]),
    copies=st.integers(1, 64),
    tags=st.lists(tags, unique=True, max_size=2).map(tuple),
)


class Scripts(AgainstModel):
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.commands = Commands(self.prefix, PATIENCE_US, apart=self.apart)
        self.tags = self.commands.tags
        self.model = Model(apart=self.apart)

    def tell(self) -> None:
        self.commands.now_us = self.tags.now_us = self.model.now

    @rule(us=st.sampled_from([1, 1000, HOUR - 1, HOUR, 3 * HOUR]))
    def time_passes(self, us: int) -> None:
        self.goes_by(us)

    @rule(
        target=claims,
        name=names,
        owner=owners | st.just(""),
        wanted=st.lists(tags, unique=True, max_size=2).map(tuple),
        haste=st.none() | st.sampled_from([0.0, 0.5, 3.0]),
        unlike=st.booleans(),
    )
    def look(self, name: str, owner: str, wanted: tuple[str, ...], haste: float | None, unlike: bool) -> Any:
        seed = self.seed()
        entry = self.model.entries.get(name)
        but = entry.at if unlike and entry is not None else None
        got = self.run(self.commands.look(name, owner=owner, tags=wanted, haste=haste, but_stored_us=but, seed=seed))
        expected = self.model.look(name, owner, wanted, haste, but, seed, self.commands.key(name, part="l"))
        if got.left_us is not None:
            assert 0 < got.left_us <= 60_000_000
            got = Looked(got.what, got.data, None, 0)
        assert got == expected
        return name, wanted, got.claim

    @rule(claim=claims, value=stored)
    def fill(self, claim: tuple[str, tuple[str, ...], Claim | None], value: Stored) -> None:
        seed = self.seed()
        name, wanted, taken = claim
        if taken is not None:
            value = Stored(value.flags, value.length, value.body, value.lifetime, value.cost_us, value.copies, wanted)
            if self.apart:
                taken = replace(taken, versions=tuple(self.held(wanted).values()))
            got = self.run(self.commands.store(name, value, claim=taken, seed=seed))
            assert got == self.model.store(name, value, taken, seed)

    @rule(name=names, value=stored)
    def put(self, name: str, value: Stored) -> None:
        seed = self.seed()
        read = self.held(value.tags)
        got = self.run(self.commands.store(name, value, versions=read, seed=seed))
        assert got == self.model.store(name, value, None, seed, read)

    @rule(name=names, value=stored)
    def add(self, name: str, value: Stored) -> None:
        seed = self.seed()
        read = self.held(value.tags)
        got = self.run(self.commands.add(name, value, versions=read, seed=seed))
        assert got == self.model.add(name, value, seed, read)

    def told(self, name: str) -> dict[str, bytes]:
        """The versions of the tags of what is there, as who changes it has read them."""
        entry = self.model.entries.get(name)
        return self.held(tuple(entry.versions)) if entry is not None else {}

    def held(self, tags: tuple[str, ...]) -> dict[str, bytes]:
        """The versions of these tags, where scripts cannot read them."""
        return {tag: self.hold(tag) for tag in tags} if self.apart else {}

    @rule(tag=tags, us=st.sampled_from([0, 3 * HOUR]), ago=st.none() | st.sampled_from([0, 1, 1000]))
    def hold_one(self, tag: str, us: int, ago: int | None) -> None:
        _ = self.hold(tag, us, None if ago is None else max(0, self.model.now - ago))

    @rule(name=names, ttl_us=st.sampled_from([None, 0, HOUR, 20 * HOUR]))
    def touch(self, name: str, ttl_us: int | None) -> None:
        read = self.told(name)
        assert self.run(self.commands.touch(name, ttl_us, read)) == self.model.touch(name, ttl_us, read)

    @rule(name=names, digits=integers.map(lambda n: b"%d" % n) | st.sampled_from([b"", b"01", b"x", b"-0"]))
    def put_an_integer(self, name: str, digits: bytes) -> None:
        seed = self.seed()
        value = Stored(INTEGER, len(digits), digits, Lifetime(5 * HOUR), tags=(name_of("t"),))
        read = self.held(value.tags)
        got = self.run(self.commands.store(name, value, versions=read, seed=seed))
        assert got == self.model.store(name, value, None, seed, read)

    @rule(name=names, delta=integers | st.integers())
    def incr(self, name: str, delta: int) -> None:
        read = self.told(name)
        assert self.run(self.commands.incr(name, delta, read)) == self.model.incr(name, delta, read)

    @rule(name=names)
    def drop(self, name: str) -> None:
        assert self.run(self.commands.drop(name)) == self.model.drop(name)

    @rule(name=names, owner=owners)
    def renew_or_release(self, name: str, owner: str) -> None:
        at = self.commands.key(name, part="l")
        claim = Claim((at,), owner, 1_000_000)
        assert self.run(self.commands.leases.renew(at, claim)) == self.model.renew(name, owner)
        assert self.run(self.commands.leases.release(at, owner)) == self.model.release(name, owner)

    @rule(tag=tags, soft=st.booleans())
    def drop_tag(self, tag: str, soft: bool) -> None:
        self.dropped(tag, soft=soft)

    @rule(name=names)
    def a_lease_ends(self, name: str) -> None:
        self.client.delete(self.commands.key(name, part="l"))
        self.model.leases.pop(name, None)

    @rule(name=names, tag=tags)
    def something_is_evicted(self, name: str, tag: str) -> None:
        self.client.delete(self.commands.key(name), self.tags.key(tag))
        self.model.entries.pop(name, None)
        self.model.damaged.discard(name)
        self.model.tags.pop(tag, None)

    @rule(name=names, junk=st.binary(min_size=1, max_size=40).filter(lambda junk: junk[0] != 1 or len(junk) < 36))
    def something_else_is_written_there(self, name: str, junk: bytes) -> None:
        if name in self.model.entries:
            self.client.set(self.commands.key(name), junk, px=HOUR // 1000)
            self.model.damaged.add(name)

    @invariant()
    def what_is_stored_is_what_the_model_says_and_nothing_lives_for_ever(self) -> None:
        model, keys = self.model, self.commands
        stored = set(self.client.scan_iter(f"{self.prefix}:*", count=1000))
        expected = [keys.key(name) for name in model.entries] + [keys.tags.key(tag) for tag in model.tags]
        assert stored == {key.encode() for key in (*expected, *(keys.key(name, part="l") for name in model.leases))}
        for name, entry in model.entries.items():
            if name not in model.damaged:
                left = self.client.pttl(keys.key(name))
                assert abs(left - entry.lasts_us // 1000) < 60_000
                assert self.client.get(keys.key(name)) == entry.data()
                for tag, version in entry.versions.items():
                    if model.tags.get(tag) == version:
                        assert self.client.pttl(keys.tags.key(tag)) > left, "a tag outlives what hangs on it"
        for tag, version in model.tags.items():
            assert self.client.get(keys.tags.key(tag)) == version
            assert self.client.pttl(keys.tags.key(tag)) > 3_000_000
        for name, owner in model.leases.items():
            at = keys.key(name, part="l")
            assert self.client.get(at) == owner.encode()
            assert 0 < self.client.pttl(at) <= 60_000
            self.client.pexpire(at, 60_000)  # it ends when the test says so


class Apart(Scripts):
    """The same where tags live on other servers, as in a cluster."""

    apart = True


@pytest.mark.hypothesis  # so that the long profile includes it
@pytest.mark.parametrize("machine", [Scripts, Apart])
def test_every_script_does_what_its_model_says(machine: type[Scripts], redis_mw_settings: Settings) -> None:
    machine.settings_of_test = redis_mw_settings
    run_state_machine_as_test(machine)


@pytest.fixture
def commands(redis_mw_settings: Settings) -> Commands:
    return Commands(redis_mw_settings.prefix, 10_000_000)


@pytest.fixture
def run(redis_mw_settings: Settings) -> Any:
    driver = SyncDriver(redis_mw_settings, Events((), lambda: 0.0))
    yield lambda command: driver.run(one(command))
    driver.close()


VALUE = Stored(1, 1, b"\x05", Lifetime(60_000_000))


def test_a_tag_drawn_anew_after_it_was_evicted_revives_nothing(run: Any, commands: Commands, kept: Any) -> None:
    tag, other = name_of("t"), name_of("u")
    value = Stored(1, 1, b"\x05", Lifetime(60_000_000), tags=(tag,))
    assert run(commands.store("1" * 32, value, seed=b"same"))
    assert run(commands.look("1" * 32)).what == "fresh"
    kept.delete(commands.tags.key(tag))
    assert run(commands.look("1" * 32)).what == "nothing"
    assert run(commands.store("2" * 32, value, seed=b"same"))
    assert run(commands.look("1" * 32)).what == "nothing" and run(commands.look("2" * 32)).what == "fresh"
    assert not kept.exists(commands.tags.key(other))


def test_those_who_wait_are_told_only_when_a_lease_ended(run: Any, commands: Commands, kept: Any) -> None:
    name = "1" * 32
    with kept.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(commands.channel(name))
        assert heard.get_message(timeout=5) is None
        run(commands.store(name, VALUE))
        run(commands.drop(name))
        claim = run(commands.look(name, owner="ann")).claim
        run(commands.store(name, VALUE, claim=claim))
        assert heard.get_message(timeout=5) is not None
        claim = run(commands.look(name, owner="bob", but_stored_us=0)).claim
        assert claim is None
        assert heard.get_message(timeout=0.05) is None


def test_what_is_of_another_kind_is_no_entry_and_is_replaced(run: Any, commands: Commands, kept: Any) -> None:
    name = "1" * 32
    kept.rpush(commands.key(name), "x")
    kept.expire(commands.key(name), 100)
    assert run(commands.look(name)).what == "damaged"
    assert run(commands.store(name, VALUE)) is True
    assert run(commands.look(name)).what == "fresh"


@hypothesis.given(junk=st.binary(max_size=120))
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_any_bytes_are_looked_at_and_dropped_without_an_error(
    run: Any, commands: Commands, kept: Any, junk: bytes
) -> None:
    name = "1" * 32
    for data in (junk, b"\x01" + junk, b"\x01\x21" + junk):
        kept.set(commands.key(name), data, px=60_000)
        assert isinstance(run(commands.look(name)), Looked)
        assert run(commands.drop(name))[0] is True


def test_the_chunks_of_an_entry_go_with_it(run: Any, commands: Commands, kept: Any) -> None:
    name, body = "1" * 32, b"x" * (CHUNK + 1)
    value = Stored(1 | CHUNKED, len(body), CHUNKS.pack(b"0123456789abcdef", 2), Lifetime(60_000_000))
    for again in (True, False):
        for command in commands.store_chunks(name, 0, "0123456789abcdef", body, 60_000):
            assert run(command) is True
        assert run(commands.store(name, value)) is True
        assert b"".join(run(commands.chunks(name, 0, "0123456789abcdef", 2))) == body
        assert run(commands.store(name, VALUE) if again else commands.drop(name))
        assert run(commands.chunks(name, 0, "0123456789abcdef", 2)) == [None, None]
