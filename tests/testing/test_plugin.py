"""The pytest plugin, in pytest runs of its own: what a project that installs redis-mw sees."""

import subprocess
import sys

import pytest

from redis_mw.testing.servers import drop_keys


@pytest.fixture(autouse=True)
def as_installed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project without settings of its own, but for warnings being errors."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = -p no:cacheprovider -p no:valkey -p no:asyncio")


def passed(pytester: pytest.Pytester, *arguments: str, **counts: int) -> pytest.RunResult:
    result = pytester.runpytest_subprocess(*arguments)
    result.assert_outcomes(**counts)
    assert "rewritten" not in result.stdout.str() + result.stderr.str()
    return result


def test_each_test_has_a_prefix_of_its_own_and_its_keys_are_dropped(
    pytester: pytest.Pytester, redis_mw_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_MW_TEST_URL", redis_mw_url)
    pytester.makepyfile("""
        import pytest, redis
        seen = []

        @pytest.mark.parametrize("turn", range(3))
        def test_a_turn(turn, redis_mw_settings, redis_mw_url):
            assert redis_mw_settings.url == redis_mw_url
            assert redis_mw_settings.prefix not in seen
            seen.append(redis_mw_settings.prefix)
            with redis.Redis.from_url(redis_mw_url) as client:
                assert client.set("bystander:x", 1)
                assert client.keys(f"{seen[0]}*") == ([] if turn else client.keys(f"{redis_mw_settings.prefix}*"))
                for n in range(1500):
                    client.set(f"{redis_mw_settings.prefix}:{n}", "x")
            if turn == 1:
                pytest.fail("on purpose")

        def test_nothing_is_left(redis_mw_url):
            with redis.Redis.from_url(redis_mw_url) as client:
                assert not [key for prefix in seen for key in client.scan_iter(match=f"{prefix}*")]
                assert client.exists("bystander:x")
    """)
    passed(pytester, passed=3, failed=1)
    assert drop_keys(redis_mw_url, "bystander") == 1


def test_a_prefix_is_taken_by_its_letters(redis_mw_url: str) -> None:
    assert drop_keys(redis_mw_url, "*") == drop_keys(redis_mw_url, "t[a-z]") == 0


def test_one_server_serves_the_run_and_ends_with_it(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_MW_TEST_URL", raising=False)
    pytester.makepyfile("""
        import pathlib, pytest, urllib.parse
        seen = set()

        @pytest.mark.parametrize("turn", range(2))
        def test_a_turn(turn, redis_mw_url):
            seen.add(redis_mw_url)
            assert len(seen) == 1
            socket = pathlib.Path(urllib.parse.urlsplit(redis_mw_url).path)
            assert socket.exists()
            pathlib.Path("socket").write_text(str(socket))
            assert turn == 0, "on purpose"
    """)
    passed(pytester, passed=1, failed=1)
    assert not pytester.path.joinpath((pytester.path / "socket").read_text()).exists()


def test_parallel_workers_do_not_meet(
    pytester: pytest.Pytester, redis_mw_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_MW_TEST_URL", redis_mw_url)
    pytester.makepyfile("""
        import os, pytest

        @pytest.mark.parametrize("turn", range(4))
        def test_a_turn(turn, redis_mw_settings):
            assert f"-{os.environ['PYTEST_XDIST_WORKER']}-" in redis_mw_settings.prefix
    """)
    passed(pytester, "-n", "2", passed=4)


def test_without_a_server_to_start_only_the_tests_that_need_one_fail(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_MW_TEST_URL", raising=False)
    pytester.makeconftest("""
        from importlib import metadata
        def missing(name):
            raise metadata.PackageNotFoundError(name)
        metadata.files = missing
    """)
    pytester.makepyfile("""
        import os

        def test_that_needs_none():
            pass

        def test_that_needs_one(redis_mw_settings):
            pass
    """)
    monkeypatch.setenv("PATH", str(pytester.path))
    result = passed(pytester, passed=1, errors=1)
    result.stdout.fnmatch_lines(["*MissingExtra: embedded://*redis-mw[[]embedded[]]*"])


def test_a_project_that_asks_for_no_fixture_starts_no_server_and_sees_no_warning(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_nothing_was_started():
            assert "redis_mw.engine.embedded" not in sys.modules or not sys.modules["redis_mw.engine.embedded"]._running
    """)
    passed(pytester, passed=1, warnings=0)


def test_the_fixtures_are_listed_with_what_they_give(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--fixtures")
    result.stdout.fnmatch_lines(["redis_mw_url*", "*The url of the test server*", "redis_mw_settings*"])


def test_the_tools_need_no_pytest() -> None:
    program = "import redis_mw.testing, sys; assert 'pytest' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
