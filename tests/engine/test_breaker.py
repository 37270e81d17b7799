"""The breaker, with a clock made of numbers."""

import pytest
from examples import scaled
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.engine.breaker import FIRST_S, JITTER, LONGEST_S, Breaker


class Watched:
    """A breaker without jitter, and what it told of."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []
        self.breaker = Breaker(lambda: 0.0, changed=lambda class_, is_open: self.told.append((class_, is_open)))

    def open(self, now: float) -> tuple[bool, bool]:
        return self.breaker.refuses(True, now) is not None, self.breaker.refuses(False, now) is not None


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_one_slow_reply_opens_nothing(watched: Watched) -> None:
    assert watched.breaker.failed(0.0, 0.1, quick=True)
    watched.breaker.probe_answered(0.11)
    assert watched.open(0.11) == (False, False)
    assert watched.told == []
    assert not watched.breaker.wants_probing()


def test_only_the_first_failure_asks_for_a_probe(watched: Watched) -> None:
    assert watched.breaker.failed(0.0, 0.1, quick=True)
    assert not watched.breaker.failed(0.05, 0.15, quick=True)
    assert not watched.breaker.failed(0.12, 0.2, quick=False)


def test_a_probe_unanswered_after_50_ms_opens_quick_and_after_a_second_firm(watched: Watched) -> None:
    _ = watched.breaker.failed(0.0, 0.1, quick=True)
    assert watched.breaker.judge_at() == pytest.approx(0.15)
    assert watched.breaker.probe_unanswered(0.1501)
    assert watched.open(0.16) == (True, False)
    assert watched.breaker.judge_at() == pytest.approx(1.1)
    assert not watched.breaker.probe_unanswered(1.1001)
    assert watched.open(1.11) == (True, True)
    assert watched.told == [("quick", True), ("firm", True)]


def test_a_server_that_answers_in_200_ms_goes_on_serving_sessions(watched: Watched) -> None:
    _ = watched.breaker.failed(0.0, 0.1, quick=True)
    _ = watched.breaker.probe_unanswered(0.16)
    watched.breaker.probe_answered(0.3)
    assert watched.open(0.31) == (True, False)
    at = watched.breaker.next_probe_at()
    assert at is not None and at > 0.3
    watched.breaker.probe_began(at)
    watched.breaker.probe_answered(at + 0.2)
    assert watched.open(at + 0.21) == (True, False)
    again = watched.breaker.next_probe_at()
    assert again is not None
    watched.breaker.probe_began(again)
    watched.breaker.probe_answered(again + 0.01)
    assert watched.open(again + 0.01) == (False, False)
    assert watched.told == [("quick", True), ("quick", False)]


def test_a_refused_probe_opens_both_at_once(watched: Watched) -> None:
    _ = watched.breaker.failed(0.0, 0.0, quick=False)
    watched.breaker.probe_lost(0.001)
    assert watched.open(0.002) == (True, True)


def test_what_was_under_way_when_a_failure_was_noticed_is_the_same_failure(watched: Watched) -> None:
    for index in range(200):
        _ = watched.breaker.failed(0.0, 1.0 + index / 1000, quick=False)
    assert watched.open(1.2) == (False, False)


def test_five_failures_in_a_row_open_both_classes(watched: Watched) -> None:
    for index in range(5):
        assert watched.open(index) == (False, False)
        _ = watched.breaker.failed(index, index + 0.1, quick=False)
    assert watched.open(4.2) == (True, True)


def test_an_answer_between_failures_starts_the_row_anew(watched: Watched) -> None:
    for index in range(9):
        _ = watched.breaker.failed(index, index + 0.1, quick=False)
        if index == 4 - 1:
            watched.breaker.answered(index + 0.2, index + 0.21)
        assert watched.open(index + 0.5) == ((False, False) if index < 8 else (True, True))


def test_timeouts_of_the_quick_class_never_open_the_firm_one_by_number(watched: Watched) -> None:
    for index in range(50):
        _ = watched.breaker.failed(index / 10, index / 10 + 0.1, quick=True)
    assert watched.open(5.1) == (True, False)


def test_half_of_twenty_turns_failing_within_ten_seconds_opens(watched: Watched) -> None:
    now = 0.0
    for _ in range(9):
        now += 0.2
        _ = watched.breaker.failed(now, now + 0.05, quick=False)
        watched.breaker.answered(now + 0.1, now + 0.1)
    assert watched.open(now) == (False, False)
    now += 0.2
    _ = watched.breaker.failed(now, now + 0.05, quick=False)
    watched.breaker.answered(now + 0.1, now + 0.1)
    _ = watched.breaker.failed(now + 0.15, now + 0.16, quick=False)
    assert watched.open(now + 0.2) == (True, True)


def test_the_same_number_of_failures_spread_over_minutes_opens_nothing(watched: Watched) -> None:
    for index in range(100):
        now = index * 3.0
        _ = watched.breaker.failed(now, now + 0.05, quick=False)
        watched.breaker.answered(now + 0.1, now + 0.1)
        watched.breaker.probe_answered(now + 0.06)
    assert watched.told == []


def test_a_good_answer_of_ordinary_traffic_lifts_the_suspicion(watched: Watched) -> None:
    _ = watched.breaker.failed(0.0, 0.1, quick=True)
    watched.breaker.answered(0.11, 0.12)
    _ = watched.breaker.probe_unanswered(1.2)
    assert watched.open(1.3) == (False, False)


def test_an_answer_to_what_was_sent_before_the_failure_lifts_nothing(watched: Watched) -> None:
    _ = watched.breaker.failed(0.0, 0.1, quick=True)
    watched.breaker.answered(0.05, 0.12)
    _ = watched.breaker.probe_unanswered(1.2)
    assert watched.open(1.3) == (True, True)


def test_probes_of_a_dead_server_come_ever_later_up_to_thirty_seconds(watched: Watched) -> None:
    now = 0.0
    _ = watched.breaker.failed(now, now, quick=False)
    watched.breaker.probe_lost(now)
    gaps: list[float] = []
    for _ in range(8):
        at = watched.breaker.next_probe_at()
        assert at is not None
        gaps.append(at - now)
        watched.breaker.probe_began(at)
        assert watched.breaker.next_probe_at() is None
        now = at
        watched.breaker.probe_lost(now)
    assert gaps == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_after_a_recovery_the_next_outage_is_probed_early_again(watched: Watched) -> None:
    _ = watched.breaker.failed(0.0, 0.0, quick=False)
    watched.breaker.probe_lost(0.0)
    for now in (1.0, 3.0):
        watched.breaker.probe_began(now)
        watched.breaker.probe_lost(now)
    watched.breaker.probe_began(7.0)
    watched.breaker.probe_answered(7.001)
    _ = watched.breaker.failed(8.0, 8.0, quick=False)
    watched.breaker.probe_lost(8.0)
    assert watched.breaker.next_probe_at() == pytest.approx(9.0)


def test_retry_after_is_the_time_until_the_next_probe(watched: Watched) -> None:
    _ = watched.breaker.failed(0.0, 0.0, quick=False)
    watched.breaker.probe_lost(0.0)
    assert watched.breaker.refuses(True, 0.25) == pytest.approx(0.75)
    assert watched.breaker.refuses(False, 0.99999) == pytest.approx(0.05)


def test_jitter_only_shortens() -> None:
    breaker = Breaker(lambda: 0.999)
    _ = breaker.failed(0.0, 0.0, quick=False)
    breaker.probe_lost(0.0)
    at = breaker.next_probe_at()
    assert at is not None and FIRST_S * (1 - JITTER) < at < FIRST_S


steps = st.lists(
    st.tuples(
        st.sampled_from(["failed", "answered", "unanswered", "pong", "lost", "wait"]), st.floats(0, 3), st.booleans()
    ),
    max_size=80,
)


@scaled(3)
@given(steps, st.floats(0, 0.999))
def test_whatever_happens_an_open_breaker_is_always_going_to_be_probed(
    script: list[tuple[str, float, bool]], luck: float
) -> None:
    told: dict[str, bool] = {"quick": False, "firm": False}

    def changed(class_: str, is_open: bool) -> None:
        assert told[class_] != is_open, "told twice"
        told[class_] = is_open

    breaker = Breaker(lambda: luck, changed=changed)
    now = 0.0
    for step, seconds, quick in script:
        began, now = now, now + seconds
        if step == "failed":
            under_way = breaker.judge_at() is not None
            asked = breaker.failed(began, now, quick=quick)
            assert not (under_way and asked), "two probes at once"
            assert not asked or breaker.judge_at() is not None
        elif step == "answered":
            breaker.answered(began, now)
        elif step == "unanswered":
            judge_at = breaker.judge_at()
            if judge_at is not None and judge_at <= now:
                before = breaker.judge_at()
                assert not breaker.probe_unanswered(now) or breaker.judge_at() != before
        elif step == "pong":
            waited = breaker.judge_at() is not None
            breaker.probe_answered(now)
            assert not waited or breaker.judge_at() is None
        elif step == "lost":
            breaker.probe_lost(now)
        elif (at := breaker.next_probe_at()) is not None and at <= now:
            breaker.probe_began(now)
        open_ = {"quick": breaker.refuses(True, now) is not None, "firm": breaker.refuses(False, now) is not None}
        assert open_ == told
        assert not any(open_.values()) or breaker.wants_probing()
        at = breaker.next_probe_at()
        assert at is None or at <= now + LONGEST_S
        assert at is None or any(open_.values()), "a closed breaker is never probed in the background"
