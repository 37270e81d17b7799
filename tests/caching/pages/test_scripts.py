"""Every script against its model: random histories on a real server, compared step by step.

Scripts are told the time, so it passes in steps of any length.
"""

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, invariant, rule, run_state_machine_as_test
from scripted import HOUR, PATIENCE_US, AgainstModel

from redis_mw import Settings
from redis_mw.caching.pages.commands import Commands, Looked, Question, Storing, joined
from redis_mw.caching.pages.model import Model
from redis_mw.caching.pages.page import Packed, Page
from redis_mw.caching.rules.freshness import Freshness
from redis_mw.caching.rules.storing import Storable
from redis_mw.caching.tags import TagCommands, name_of
from redis_mw.caching.values.entry import CHUNKS

pytestmark = pytest.mark.one_server

ID = "0123456789abcdef"

urls = st.sampled_from(["1" * 32] * 3 + ["2" * 32])
variants = st.sampled_from(["a" * 32] * 3 + ["b" * 32, "c" * 32])
spec = st.sampled_from([(), (), ("accept",), ("accept", "x")])
tags = st.sampled_from([name_of("t"), name_of("u")])
owners = st.sampled_from(["ann", "bob"])
windows = st.sampled_from([0, HOUR, 9 * HOUR])


class Scripts(AgainstModel):
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.tags = TagCommands(self.prefix, PATIENCE_US, apart=self.apart)
        self.commands = Commands(self.prefix, PATIENCE_US, self.tags)
        self.model = Model(apart=self.apart)

    def tell(self) -> None:
        self.commands.now_us = self.commands.leases.now_us = self.tags.now_us = self.model.now

    @rule(us=st.sampled_from([1, 1000, 1000, 2_000_000, HOUR - 1, HOUR, 3 * HOUR]))
    def time_passes(self, us: int) -> None:
        self.goes_by(us)

    @rule(
        target=claims,
        name=urls,
        names=st.sampled_from([None] * 5 + [("accept",)]),
        variant=variants,
        owner=st.sampled_from(["ann", "bob", "ann", "bob", ""]),
        asks=st.tuples(st.booleans(), st.booleans(), st.booleans()),
        haste=st.none() | st.sampled_from([0.0, 0.5, 3.0]),
        wanted=st.lists(tags, unique=True, max_size=2).map(tuple),
        unlike=st.booleans(),
    )
    def look(
        self,
        name: str,
        names: tuple[str, ...] | None,
        variant: str,
        owner: str,
        asks: tuple[bool, bool, bool],
        haste: float | None,
        wanted: tuple[str, ...],
        unlike: bool,
    ) -> Any:
        seed = self.seed()
        site = self.model.sites.get(name)
        if names is None:  # the right guess
            names = (site.names or ()) if site is not None else ()
        page = site.pages.get(variant) if site is not None else None
        question = Question(
            name, names, variant, *asks, haste=haste, tags=wanted, unlike_us=page.at if unlike and page else None
        )
        got = self.run(self.commands.look(question, owner, seed=seed))
        expected = self.model.look(question, owner, seed, self.commands.key(name))
        assert got == expected
        return question, got

    @rule(
        claim=claims,
        more=spec,
        variant=variants | st.none(),
        most=st.integers(1, 3),
        times=st.tuples(st.integers(-1, 5).map(lambda n: n * HOUR), windows, windows),
        cost_us=st.sampled_from([0, 1, 400_000, 2_000_000, HOUR]),
        flags=st.integers(0, 15),
        body=st.binary(max_size=40),
        late=st.lists(tags, unique=True, max_size=2),
        keeps=st.booleans(),
        chunked=st.booleans(),
        guess=st.booleans(),
    )
    def fill(
        self,
        claim: tuple[Question, Looked],
        more: tuple[str, ...],
        variant: str | None,
        most: int,
        times: tuple[int, int, int],
        cost_us: int,
        flags: int,
        body: bytes,
        late: list[str],
        keeps: bool,
        chunked: bool,
        guess: bool,
    ) -> None:
        seed = self.seed()
        question, looked = claim
        taken = looked.claim
        if taken is None:
            return
        now = self.model.now
        ends = now + times[0]
        fresh = Freshness(
            received_us=now, fresh_until_us=ends, stale_until_us=ends + times[1], error_until_us=ends + times[2]
        )
        if fresh.is_useless:
            return
        names_of_tags = tuple(dict.fromkeys((*question.tags, *late)))
        page = Page(status=200, fields=(), storable=Storable(fresh), cost_us=cost_us, length=5, tags=names_of_tags)
        versions = (*taken.versions, *(b"" for _ in names_of_tags[len(question.tags) :]))
        if self.apart:
            versions = tuple(self.hold(tag) for tag in names_of_tags)
        site = self.model.sites.get(question.name)
        old = site.pages.get(variant or question.variant) if site is not None else None
        keeps_us = (old.at if old is not None else 5) if keeps else None
        chunks = CHUNKS.pack(ID.encode(), 2) if chunked and not keeps else b""
        for number in range(2 if chunks else 0):
            words = (taken, question.name, ID, number, body, 6 * HOUR // 1000)
            assert self.run(self.commands.keep_chunk(*words)) == self.model.keep_chunk(*words)
        known = looked.names if guess else more
        names, chosen = tuple(sorted({*(known or ()), *more})), variant or question.variant
        packed = Packed(flags, b"\x90", None if keeps else body)
        storing = Storing(question.name, known, names, chosen, most, page, packed, versions, keeps_us, chunks)
        assert self.run(self.commands.store(taken, storing, seed=seed)) == self.model.store(taken, storing, seed)

    @rule(
        name=urls,
        variant=variants,
        more=spec,
        most=st.integers(1, 3),
        ends=st.sampled_from([HOUR, 5 * HOUR]),
        tag=st.lists(tags, unique=True, max_size=2).map(tuple),
        late=st.lists(tags, unique=True, max_size=1),
        keeps=st.booleans(),
        chunked=st.booleans(),
        between=st.sampled_from(["nothing", "drop", "soften", "draw", "purge"]),
        other=tags,
    )
    def make(
        self,
        name: str,
        variant: str,
        more: tuple[str, ...],
        most: int,
        ends: int,
        tag: tuple[str, ...],
        late: list[str],
        keeps: bool,
        chunked: bool,
        between: str,
        other: str,
    ) -> None:
        """What requests do when nobody else is there, or somebody is once."""
        self.time_passes(us=2_000_000)
        question, looked = self.look(name, None, variant, "cleo", (True, True, True), None, tag, False)
        match between:
            case "drop" | "soften":
                self.drop_tag(other, between == "soften")
            case "draw":
                self.look("2" * 32, None, variant, "dora", (False, True, True), None, (other,), False)
            case "purge":
                self.purge(name)
            case _:
                pass
        times = (ends, 0, HOUR)
        self.fill((question, looked), more, None, most, times, 400_000, 0, b"body", late, keeps, chunked, True)

    @rule(tag=tags)
    def hold_one(self, tag: str) -> None:
        _ = self.hold(tag)

    @rule(name=urls, variant=variants)
    def say_that_it_is_useless(self, name: str, variant: str) -> None:
        looked = self.look(name, None, variant, "cleo", (True, True, True), None, (), False)
        self.release(looked, 10_000_000)
        for owner in ("ann", "bob"):
            self.look(name, None, variant, owner, (True, True, True), None, (), False)

    @rule(claim=claims)
    def renew(self, claim: tuple[Question, Looked]) -> None:
        question, looked = claim
        if looked.claim is not None:
            at = self.commands.key(question.name)
            assert self.run(self.commands.leases.renew(at, looked.claim)) == self.model.renew(
                question.name, looked.claim
            )

    @rule(claim=claims, useless_us=st.sampled_from([0, 10_000_000]))
    def release(self, claim: tuple[Question, Looked], useless_us: int) -> None:
        question, looked = claim
        if looked.claim is not None:
            got = self.run(self.commands.release(looked.claim, useless_us=useless_us))
            assert got == self.model.release(question.name, looked.claim, useless_us)

    @rule(name=urls)
    def purge(self, name: str) -> None:
        assert self.run(self.commands.purge(name)) == self.model.purge(name)

    @rule(tag=tags, soft=st.booleans())
    def drop_tag(self, tag: str, soft: bool) -> None:
        self.dropped(tag, soft=soft)

    @rule(name=urls, tag=tags)
    def something_is_evicted(self, name: str, tag: str) -> None:
        self.client.delete(self.commands.key(name), self.tags.key(tag))
        self.model.purge(name)
        self.model.tags.pop(tag, None)

    @rule(name=urls)
    def something_of_another_type_is_written_there(self, name: str) -> None:
        at = self.commands.key(name)
        self.client.delete(at)
        self.client.rpush(at, "x")
        self.client.expire(at, 3600)
        self.model.purge(name)
        self.model.foreign.add(name)

    @rule(name=urls, variant=variants, junk=st.binary(max_size=60).filter(lambda junk: junk[:1] != b"\x01"))
    def a_page_is_damaged(self, name: str, variant: str, junk: bytes) -> None:
        site = self.model.sites.get(name)
        if site is not None and site.pages.get(variant) is not None:
            self.client.hset(self.commands.key(name), "m:" + variant, junk)
            self.client.hdel(self.commands.key(name), "b:" + variant)
            page = site.pages[variant]
            assert page is not None
            site.pages[variant] = None
            site.bodiless.discard(variant)

    @rule(name=urls, variant=variants)
    def a_body_is_lost(self, name: str, variant: str) -> None:
        site = self.model.sites.get(name)
        if site is not None and site.pages.get(variant) is not None:
            self.client.hdel(self.commands.key(name), "b:" + variant)
            site.bodiless.add(variant)

    @rule(name=urls, tag=tags, junk=st.binary(max_size=30).filter(lambda junk: len(junk) != 24), other=st.booleans())
    def a_tag_is_damaged(self, name: str, tag: str, junk: bytes, other: bool) -> None:
        at = self.tags.key(tag)
        self.client.delete(at)
        if other:
            self.client.rpush(at, junk)
        else:
            self.client.set(at, junk)
        self.client.expire(at, 3600)
        self.model.tags.pop(tag, None)

    @invariant()
    def what_is_stored_is_what_the_model_says_and_nothing_lives_for_ever(self) -> None:
        model, keys = self.model, self.commands
        for key in self.client.scan_iter(f"{self.prefix}:*", count=1000):
            assert self.client.pttl(key) > 0
        for tag, version in model.tags.items():
            assert self.client.get(self.tags.key(tag)) == version
            assert self.client.pttl(self.tags.key(tag)) > 3_000_000
        for name in ("1" * 32, "2" * 32):
            if name in model.foreign:
                continue
            site, at = model.sites.get(name), keys.key(name)
            fields = {each.decode(): value for each, value in self.client.hgetall(at).items()}
            if site is None:
                assert not fields
                continue
            assert len(fields) == site.fields
            assert fields.get("v") == (None if site.names is None else joined(site.names).encode())
            for variant, page in site.pages.items():
                if page is not None:
                    assert fields["m:" + variant] == page.meta
                    assert fields.get("b:" + variant) == (None if variant in site.bodiless else page.body)
                    for tag, version in page.versions.items():
                        if model.tags.get(tag) == version and page.last > model.now:
                            left_ms = self.client.pttl(self.tags.key(tag))
                            assert left_ms > (page.last - model.now) // 1000 - 60_000, "a tag outlives its pages"
            for variant, lease in site.leases.items():
                times = lease.until.to_bytes(8, "big") + lease.since.to_bytes(8, "big")
                assert fields["l:" + variant] == times + lease.owner.encode()
            assert {at: part for at, part in fields.items() if at[:2] == "c:"} == {
                f"c:{id}:{number}": part for (id, number), part in site.chunks.items()
            }
            left_ms = self.client.pttl(at)
            assert site.lasts_ms - 60_000 < left_ms <= site.lasts_ms
            if left_ms < 60_000:  # it ends when the test says so
                self.client.pexpire(at, 60_000)
                site.lasts_ms = 60_000


class Apart(Scripts):
    """The same where tags live on other servers, as in a cluster."""

    apart = True


@pytest.mark.hypothesis  # so that the long profile includes it
@pytest.mark.parametrize("machine", [Scripts, Apart])
def test_every_script_does_what_its_model_says(machine: type[Scripts], redis_mw_settings: Settings) -> None:
    machine.settings_of_test = redis_mw_settings
    run_state_machine_as_test(machine, settings=hypothesis.settings(stateful_step_count=40))
