"""What a process holds itself: never of before a change, never too old, never too much. A plain model says what."""

import threading
from collections import deque
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from redis_mw.caching import local as local_module
from redis_mw.caching.local import OVERHEAD, OVERHEAD_OF_KEY, Local

AGE_S = 5.0
MOST = 5000
KEYS = ("a", "b", "c", "d")
REDIS_KEYS = ("page", "tag", "x", "y", "z")
FEW = 3
"""Changed keys that are remembered one by one where a test wants them to overflow."""


def charge_of(key: str, size: int, depends: tuple[str, ...]) -> int:
    return OVERHEAD + len(key) + size + sum(OVERHEAD_OF_KEY + len(name) for name in depends)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def local(clock: Clock) -> Local[str]:
    """One that is listened for."""
    made: Local[str] = Local(MOST, AGE_S, clock)
    made.begin()
    return made


def keep(local: Local[str], key: str = "a", value: str = "1", depends: tuple[str, ...] = ("page", "tag")) -> bool:
    return local.keep(local.mark(), key, value, 10, depends)


# Right.


@pytest.mark.parametrize("changed", ["page", "tag"])
def test_a_value_is_gone_when_any_key_it_depends_on_is_changed(local: Local[str], changed: str) -> None:
    assert keep(local) and keep(local, "b", "2", ("other",)) and local.get("a") == "1"
    local.changed(["unknown", changed])
    assert (local.get("a"), local.last("a"), local.get("b")) == (None, None, "2")


@pytest.mark.parametrize("changed", [["tag"], None])
def test_what_was_read_before_a_change_is_not_kept(local: Local[str], changed: list[str] | None) -> None:
    mark = local.mark()
    local.changed(changed)
    assert not local.keep(mark, "a", "old", 10, ("page", "tag"))
    assert local.get("a") is None
    assert keep(local, value="new") and local.get("a") == "new"


def test_what_was_read_before_a_change_of_something_else_is_kept(local: Local[str]) -> None:
    mark = local.mark()
    local.changed(["other"])
    assert local.keep(mark, "a", "1", 10, ("page",)) and local.get("a") == "1"


def test_a_value_that_depends_on_nothing_goes_only_with_everything(local: Local[str]) -> None:
    assert keep(local, depends=())
    local.changed(["page"])
    assert local.get("a") == "1"
    local.changed(None)
    assert local.get("a") is None


def test_a_read_that_began_before_more_changes_than_are_remembered_is_not_kept(
    local: Local[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_module, "REMEMBERED", FEW)
    mark = local.mark()
    local.changed([str(number) for number in range(FEW)])
    assert local.keep(mark, "a", "1", 10, ("page",))
    local.changed(["one more"])
    assert not local.keep(mark, "a", "1", 10, ("page",))
    assert keep(local)


# Whether anybody listens.


def test_nothing_is_kept_or_read_before_somebody_listens(clock: Clock) -> None:
    local: Local[str] = Local(MOST, AGE_S, clock)
    assert not local.on and not keep(local) and local.get("a") is None


def test_when_nobody_listens_any_more_it_is_for_outages_only_and_emptied_when_somebody_does(local: Local[str]) -> None:
    assert keep(local) and keep(local, "b", "2")
    local.end()
    assert not local.on and local.get("a") is None and not keep(local, value="new")
    assert local.last("a") == "1"
    local.forget("a")
    assert (local.last("a"), local.last("b")) == (None, "2")
    local.begin()
    assert local.on and local.last("b") is None


@pytest.mark.parametrize("while_off", [True, False])
def test_a_read_from_before_somebody_listened_again_is_not_kept(local: Local[str], while_off: bool) -> None:
    early = local.mark()
    local.end()
    mark = local.mark() if while_off else early
    local.begin()
    assert not local.keep(mark, "a", "old", 10, ())


def test_with_no_room_it_is_never_on() -> None:
    local: Local[str] = Local(0, AGE_S)
    local.begin()
    assert not local.on and not keep(local) and local.get("a") is None


# Old, and full.


def test_a_value_is_not_read_when_it_is_old_but_is_there_in_an_outage(local: Local[str], clock: Clock) -> None:
    assert keep(local)
    clock.now += AGE_S - 0.01
    assert local.get("a") == "1"
    clock.now += 0.01
    assert (local.get("a"), local.last("a")) == (None, "1")
    assert keep(local, value="2") and local.get("a") == "2"


def test_what_was_least_recently_used_gives_way(local: Local[str]) -> None:
    size = MOST // 3 - charge_of("a", 0, ())
    for key in "abc":
        assert local.keep(local.mark(), key, key, size, ())
    assert local.get("a") == "a"
    assert local.keep(local.mark(), "d", "d", size, ())
    assert [local.get(key) for key in "abcd"] == ["a", None, "c", "d"]


def test_a_value_larger_than_all_the_room_is_not_kept_and_nothing_gives_way_to_it(local: Local[str]) -> None:
    assert keep(local)
    assert not local.keep(local.mark(), "b", "large", MOST, ())
    assert (local.get("a"), local.get("b")) == ("1", None)


def test_many_small_values_are_bounded_too(clock: Clock) -> None:
    """What holding them costs counts."""
    local: Local[str] = Local(100_000, AGE_S, clock)
    local.begin()
    for number in range(1000):
        assert local.keep(local.mark(), str(number), "", 0, (f"page:{number}",))
    assert sum(local.last(str(number)) is not None for number in range(1000)) < 200


# Everything at once.


class Model(RuleBasedStateMachine):
    """Every change is remembered here for ever, and every value with what it depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.local: Local[int] = Local(MOST, AGE_S, self.clock)
        self.on = False
        self.held: dict[str, tuple[int, tuple[str, ...], float, int]] = {}
        self.history: list[frozenset[str] | None] = []
        """What was changed at each step; None: everything, or somebody began to listen."""
        self.marks: deque[tuple[int, int]] = deque(maxlen=6)
        """Reads begin all the time."""
        self.values = 0

    @invariant()
    def mark(self) -> None:
        self.marks.append((self.local.mark(), len(self.history)))

    @rule(
        which=st.integers(0, 5),
        key=st.sampled_from(KEYS),
        size=st.sampled_from((1, 900, 1800, MOST)),
        depends=st.lists(st.sampled_from(REDIS_KEYS), max_size=3, unique=True).map(tuple),
    )
    def keep(self, which: int, key: str, size: int, depends: tuple[str, ...]) -> None:
        mark, since = self.marks[-1 - which % len(self.marks)]
        later = self.history[since:]
        changed = frozenset[str]().union(*(names or frozenset() for names in later))
        charge = charge_of(key, size, depends)
        may = self.on and None not in later and changed.isdisjoint(depends) and charge <= MOST
        self.values += 1
        kept = self.local.keep(mark, key, self.values, size, depends)
        assert kept == may or (may and len(changed) > FEW)
        if kept:
            _ = self.held.pop(key, None)
            self.held[key] = (self.values, depends, self.clock.now + AGE_S, charge)
            while sum(each[3] for each in self.held.values()) > MOST:
                del self.held[next(iter(self.held))]

    @rule(key=st.sampled_from(KEYS))
    def get(self, key: str) -> None:
        expected = None
        if self.on and key in self.held and self.clock.now < self.held[key][2]:
            self.held[key] = self.held.pop(key)
            expected = self.held[key][0]
        assert self.local.get(key) == expected

    @rule(key=st.sampled_from(KEYS))
    def forget(self, key: str) -> None:
        self.local.forget(key)
        _ = self.held.pop(key, None)

    @rule(names=st.lists(st.sampled_from(REDIS_KEYS), min_size=1, max_size=2))
    def changed(self, names: list[str]) -> None:
        self.local.changed(names)
        self.history.append(frozenset(names))
        self.held = {key: each for key, each in self.held.items() if set(names).isdisjoint(each[1])}

    @precondition(lambda self: len(self.history) % 3 == 0)  # seldom, or little else would be seen
    @rule()
    def all_changed(self) -> None:
        self.local.changed(None)
        self.history.append(None)
        self.held.clear()

    @precondition(lambda self: not self.on or len(self.history) % 3 == 0)
    @rule()
    def begin(self) -> None:
        self.local.begin()
        self.history.append(None)
        self.held.clear()
        self.on = True

    @precondition(lambda self: self.on and len(self.history) % 3 == 0)
    @rule()
    def end(self) -> None:
        self.local.end()
        self.on = False

    @rule(seconds=st.sampled_from((1.0, AGE_S)))
    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def what_is_held_is_what_the_model_holds(self) -> None:
        assert self.local.on == self.on
        assert {key: self.local.last(key) for key in KEYS} == {key: self.held.get(key, (None,))[0] for key in KEYS}

    @invariant()
    def nothing_is_left_of_what_is_not_held(self) -> None:
        inside: Any = self.local
        assert inside._bytes == sum(each[3] for each in self.held.values()) <= MOST
        assert set(inside._dependents) == {name for each in self.held.values() for name in each[1]}
        assert len(inside._changed) <= FEW


def test_whatever_happens_it_holds_what_the_model_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_module, "REMEMBERED", FEW)
    machine: Any = Model.TestCase()
    machine.runTest()


def test_threads_that_keep_and_read_while_keys_change_never_see_what_is_of_before(local: Local[int]) -> None:
    """A number in a "Redis" of one key: what is read from here is never less than what it was told of last."""
    server, told, wrong = [0], [0], []
    stop = threading.Event()

    def reading() -> None:
        while not stop.is_set():
            least = told[0]
            value = local.get("n")
            if value is None:
                mark = local.mark()
                value = server[0]
                _ = local.keep(mark, "n", value, 1, ("n",))
            if value < least:
                wrong.append((value, least))

    readers = [threading.Thread(target=reading) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(1, 20_000):
        server[0] = number
        local.changed(["n"])
        told[0] = number
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
