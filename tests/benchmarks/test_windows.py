"""How admissions are counted, where each is known only to lie between two moments."""

import pytest

from benchmarks.limiting.windows import Admission, long_run, most_certain, most_possible


def at(*moments: float, within: float = 0.0) -> list[Admission]:
    return [Admission(moment - within, moment + within) for moment in moments]


def test_nothing_admitted_is_nothing_in_any_window() -> None:
    assert most_certain([], 1.0) == most_possible([], 1.0) == 0


def test_a_window_need_not_begin_where_the_clock_has_one() -> None:
    assert most_certain(at(0.9, 0.95, 1.05, 1.1), 1.0) == 4


def test_a_window_holds_its_begin_and_not_its_end() -> None:
    assert most_certain(at(0.0, 1.0), 1.0) == most_possible(at(0.0, 1.0), 1.0) == 1


def test_certain_is_what_holds_wherever_the_server_decided_and_possible_what_may() -> None:
    admissions = at(0.0, 0.99, within=0.02)
    assert most_certain(admissions, 1.0) == 1
    assert most_possible(admissions, 1.0) == 2
    assert most_possible(at(0.0, 1.03, within=0.02), 1.0) == 2
    assert most_possible(at(0.0, 1.05, within=0.02), 1.0) == 1


def test_the_long_run_leaves_out_the_first_fill() -> None:
    assert long_run(at(*[0.0] * 10, *(0.1 * step for step in range(1, 42))), 10, 1.0) == pytest.approx(1.0)


def test_the_long_run_of_what_comes_in_bursts_is_that_of_whole_cycles() -> None:
    bursts = [cycle * 1.25 + try_ * 0.01 for cycle in range(9) for try_ in range(10)]
    assert long_run(at(*bursts), 10, 1.0) == pytest.approx(0.8)
    assert long_run(at(*bursts[:-7]), 10, 1.0) == pytest.approx(0.8)


def test_the_long_run_of_too_little_is_none() -> None:
    assert long_run(at(*[0.0] * 10), 10, 1.0) == 0.0
