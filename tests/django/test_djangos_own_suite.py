"""Django's own tests of its session engines and of its caches hold for ours."""

from pathlib import Path

import pytest
from djangos_tests import djangos_tests, run_alone

from redis_mw.settings import Settings

HERE = Path(__file__).parent
FEWEST_OF_SESSIONS = 75
FEWEST_OF_CACHES = 54
"""How many tests there are at least: a suite that was not found must not pass."""


@pytest.mark.parametrize("zone", ["naive", "tz"])
def test_the_engine_passes_djangos_own_session_tests(tmp_path: Path, zone: str, redis_mw_settings: Settings) -> None:
    assert isinstance(redis_mw_settings.url, str)
    folder = djangos_tests("sessions_tests", tmp_path)
    code, report = run_alone(
        HERE / "run_djangos_own_suite.py", str(folder), redis_mw_settings.url, redis_mw_settings.prefix, zone
    )
    assert code == 0, report
    assert int(report.rpartition("ran ")[2].partition(",")[0]) >= FEWEST_OF_SESSIONS, report
    assert "skipped 0" in report, report


@pytest.mark.parametrize("how", ["default", "pickle", "awaited"])
def test_the_cache_passes_djangos_own_cache_tests(tmp_path: Path, how: str, redis_mw_settings: Settings) -> None:
    assert isinstance(redis_mw_settings.url, str)
    folder = djangos_tests("cache", tmp_path)
    code, report = run_alone(
        HERE / "run_djangos_own_cache_suite.py", str(folder), redis_mw_settings.url, redis_mw_settings.prefix, how
    )
    assert code == 0, report
    assert int(report.rpartition("ran ")[2].partition(",")[0]) >= FEWEST_OF_CACHES, report
    assert "skipped 3" in report, "a cache that does not cull skips Django's three tests of that\n" + report
