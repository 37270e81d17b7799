from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.settings import microseconds, seconds


@pytest.mark.parametrize(
    ("duration", "expected"),
    [(1, 1_000_000), (0.1, 100_000), (timedelta(minutes=2), 120_000_000), (0, 0), (1e-7, 0), (-2, -2_000_000)],
)
def test_seconds_and_timedeltas_become_microseconds(duration, expected):
    assert microseconds(duration) == expected


@given(st.integers(-(10**12), 10**12))
def test_a_timedelta_keeps_every_microsecond(count):
    assert microseconds(timedelta(microseconds=count)) == count
    assert seconds(timedelta(microseconds=count)) == count / 1_000_000


@pytest.mark.parametrize("duration", [float("nan"), float("inf"), float("-inf"), 1e300, 10**400, timedelta.max])
def test_what_never_ends_is_refused(duration):
    with pytest.raises((ValueError, OverflowError)):
        microseconds(duration)


@pytest.mark.parametrize("duration", [True, False, "60", None, b"1"])
def test_what_is_no_duration_is_refused(duration):
    with pytest.raises(TypeError):
        microseconds(duration)
