"""Django's own tests of its session engines hold for ours. They come from the source distribution of its version."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import django
import pytest

from redis_mw.settings import Settings

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent
FEWEST = 75
"""How many tests there are at least: a suite that was not found must not pass."""


@pytest.fixture(scope="module")
def djangos_tests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with ``sessions_tests``, kept between runs; fetched once by pip for each version of Django."""
    version = django.get_version()
    kept = CHECKOUT / "build" / f"django-{version}-tests"
    if (kept / "sessions_tests" / "tests.py").is_file():
        return kept
    fetched = tmp_path_factory.mktemp("django-source")
    download = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-binary",
            "django",
            f"django=={version}",
            "--dest",
            str(fetched),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    archives = list(fetched.glob("*.tar.gz"))
    if download.returncode or not archives:
        pytest.fail(
            f"Django's own tests are neither in {kept} nor could pip fetch its source distribution {version}:\n"
            + download.stderr
        )
    with tarfile.open(archives[0]) as archive:
        wanted = [member for member in archive.getmembers() if "/tests/sessions_tests/" in member.name]
        archive.extractall(fetched, members=wanted, filter="data")
    found = next(fetched.glob("*/tests"))
    kept.parent.mkdir(exist_ok=True)
    try:
        _ = found.rename(kept)
    except OSError:  # another worker was faster, or the folders are on two file systems
        return kept if kept.exists() else found
    return kept


@pytest.mark.parametrize("zone", ["naive", "tz"])
def test_the_engine_passes_djangos_own_session_tests(
    djangos_tests: Path, zone: str, redis_mw_settings: Settings
) -> None:
    assert isinstance(redis_mw_settings.url, str)
    run = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            str(HERE / "run_djangos_own_suite.py"),
            str(djangos_tests),
            redis_mw_settings.url,
            redis_mw_settings.prefix,
            zone,
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    report = run.stdout + run.stderr
    assert run.returncode == 0, report
    assert int(run.stdout.rpartition("ran ")[2].partition(",")[0]) >= FEWEST, report
    assert "skipped 0" in run.stdout, report
