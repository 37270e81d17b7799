"""Watchers that sound as one: on while all of them are, and never a moment longer."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from redis_mw.engine.cluster import Address
from redis_mw.engine.tracking import Chorus, Tracking, Watcher

A, B, C = (Address("host", port) for port in (1, 2, 3))


class Watching:
    """Puts down what it is told; raises once at what is in ``fails``."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.fails: set[str] = set()
        self.on = False

    def begin(self) -> None:
        self.told.append("begin")
        self.on = True
        self._fail("begin")

    def changed(self, keys: Sequence[str] | None) -> None:
        self.told.append(keys)
        self._fail("changed")

    def end(self) -> None:
        self.told.append("end")
        self.on = False
        self._fail("end")

    def news(self) -> list[Any]:
        """What it was told since it was asked the last time."""
        told, self.told = self.told, []
        return told

    def _fail(self, what: str) -> None:
        if what in self.fails:
            self.fails.discard(what)
            raise LookupError(what)


def of(*addresses: Address) -> tuple[Watching, Chorus, list[Watcher]]:
    watcher = Watching()
    chorus = Chorus(watcher)
    chorus.voices(addresses)
    return watcher, chorus, [chorus.voice(address) for address in addresses]


def test_it_begins_when_the_last_voice_does_and_ends_with_the_first_that_does() -> None:
    watcher, _, (a, b) = of(A, B)
    a.begin()
    assert (watcher.news(), a.on, b.on) == ([], True, False)
    b.begin()
    assert watcher.news() == ["begin"]
    a.end()
    assert (watcher.news(), a.on, b.on) == (["end"], False, True)
    b.end()
    assert watcher.news() == []


def test_what_any_voice_hears_is_told() -> None:
    watcher, _, (a, b) = of(A, B)
    a.begin()
    b.begin()
    a.changed(["x"])
    b.changed(None)
    assert watcher.news() == ["begin", ["x"], None]


def test_a_server_that_joins_ends_it_until_it_is_heard_too() -> None:
    watcher, chorus, (a,) = of(A)
    a.begin()
    chorus.voices((A, B))
    assert watcher.news() == ["begin", "end"]
    chorus.voice(B).begin()
    assert watcher.news() == ["begin"]


def test_a_server_that_leaves_ends_it_and_the_others_begin_it_anew() -> None:
    watcher, chorus, (a, b) = of(A, B)
    a.begin()
    b.begin()
    chorus.voices((A,))
    assert watcher.news() == ["begin", "end", "begin"]
    b.end()
    assert watcher.news() == []


def test_a_server_that_was_never_heard_may_leave_and_the_others_begin() -> None:
    watcher, chorus, (a, _) = of(A, B)
    a.begin()
    chorus.voices((A,))
    assert watcher.news() == ["begin"]


def test_the_same_servers_once_more_change_nothing() -> None:
    watcher, chorus, (a, b) = of(A, B)
    a.begin()
    b.begin()
    chorus.voices((B, A))
    assert watcher.news() == ["begin"]


def test_without_servers_it_is_off() -> None:
    watcher, chorus, (a,) = of(A)
    a.begin()
    chorus.voices(())
    assert (watcher.news(), watcher.on) == (["begin", "end"], False)


def test_the_end_of_an_earlier_voice_of_a_server_does_not_end_the_later_one() -> None:
    watcher, chorus, (earlier,) = of(A)
    earlier.begin()
    later = chorus.voice(A)
    later.begin()
    _ = watcher.news()
    earlier.end()
    assert (watcher.news(), later.on, watcher.on) == ([], True, True)


def test_one_that_somebody_else_has_ended_is_begun_anew_by_the_next_answer() -> None:
    watcher, _, (a, b) = of(A, B)
    a.begin()
    b.begin()
    watcher.end()
    _ = watcher.news()
    assert not a.on
    a.begin()
    assert (watcher.news(), a.on, b.on) == (["begin"], True, True)


def test_one_that_fails_when_it_begins_is_ended_and_begun_anew() -> None:
    watcher, chorus, (a, b) = of(A, B)
    first, second = (Tracking((), voice, lambda: False) for voice in (a, b))
    watcher.fails.add("begin")
    first.answered()
    second.answered()
    assert (watcher.news(), watcher.on) == (["begin", "end"], False)
    first.answered()
    assert watcher.news() == []
    second.answered()
    assert (watcher.news(), watcher.on) == (["begin"], True)
    watcher.fails.add("begin")
    chorus.voices((A,))
    assert (watcher.news(), watcher.on) == (["end", "begin", "end"], False)
    first.answered()
    assert (watcher.news(), watcher.on) == (["begin"], True)


def test_one_that_fails_at_a_change_has_missed_it_and_is_ended() -> None:
    watcher, _, (a, b) = of(A, B)
    trackings = [Tracking((), voice, lambda: False) for voice in (a, b)]
    for tracking in trackings:
        tracking.answered()
    watcher.fails.add("changed")
    trackings[0].pushed([b"invalidate", [b"x"]])
    assert (watcher.news(), watcher.on) == (["begin", ["x"], "end"], False)
    trackings[0].answered()
    assert (watcher.news(), watcher.on) == (["begin"], True)


def test_one_that_fails_when_it_ends_may_begin_again() -> None:
    watcher, chorus, (a, b) = of(A, B)
    a.begin()
    b.begin()
    watcher.fails.add("end")
    chorus.voices((A,))
    assert watcher.news() == ["begin", "end"]
    assert not a.on
    a.begin()
    assert (watcher.news(), watcher.on) == (["begin"], True)


ADDRESSES = st.sampled_from([A, B, C])


class Choirs(RuleBasedStateMachine):
    """Servers come and go, are heard and lost, and another driver ends the watcher when it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.watcher = Watching()
        self.chorus = Chorus(self.watcher)
        self.needed: set[Address] = set()
        self.voices: dict[Address, Watcher] = {}
        self.heard: set[Address] = set()
        self.ended_elsewhere = False

    @rule(addresses=st.sets(ADDRESSES))
    def servers_are(self, addresses: set[Address]) -> None:
        changed = addresses != self.needed
        self.needed = set(addresses)
        self.chorus.voices(addresses)
        if changed:
            self.ended_elsewhere = False
            if self.watcher.news()[-1:] == ["begin"]:
                assert addresses <= self.heard

    @rule(address=ADDRESSES)
    def is_met(self, address: Address) -> None:
        """By a new tracker; the earlier one is closed, now or later."""
        earlier = self.voices.get(address)
        self.voices[address] = self.chorus.voice(address)
        if earlier is not None and address in self.heard:
            self.heard.discard(address)
            earlier.end()

    @rule(address=ADDRESSES)
    def answers(self, address: Address) -> None:
        voice = self.voices.get(address)
        if voice is not None and not voice.on:
            self.heard.add(address)
            self.ended_elsewhere = self.ended_elsewhere and not self.complete()
            voice.begin()
            assert voice.on

    @rule(address=ADDRESSES)
    def is_lost(self, address: Address) -> None:
        if address in self.heard:
            self.heard.discard(address)
            self.voices[address].end()

    @precondition(lambda self: self.watcher.on)
    @rule()
    def another_ends_it(self) -> None:
        self.watcher.end()
        self.ended_elsewhere = True

    @rule(address=ADDRESSES)
    def something_changes(self, address: Address) -> None:
        if address in self.heard:
            _ = self.watcher.news()
            self.voices[address].changed(["k"])
            assert self.watcher.news() == [["k"]]

    @invariant()
    def it_is_on_only_while_all_are_heard(self) -> None:
        assert not self.watcher.on or self.complete()

    @invariant()
    def it_is_on_when_all_are_heard_unless_another_has_ended_it(self) -> None:
        assert self.watcher.on or self.ended_elsewhere or not self.complete()

    @invariant()
    def whoever_could_begin_it_says_so(self) -> None:
        for address, voice in self.voices.items():
            assert voice.on == (address in self.heard and (self.watcher.on or not self.complete()))

    def complete(self) -> bool:
        return bool(self.needed) and self.needed <= self.heard


TestChoirs = Choirs.TestCase
