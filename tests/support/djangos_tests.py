"""Django's own tests, from the source distribution of its version: fetched once by pip and kept in ``build``."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import django
import pytest

CHECKOUT = Path(__file__).parent.parent.parent


def djangos_tests(name: str, scratch: Path) -> Path:
    """The folder that holds the package ``name`` of Django's tests."""
    version = django.get_version()
    kept = CHECKOUT / "build" / f"django-{version}-tests"
    if (kept / name / "tests.py").is_file():
        return kept
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    download = subprocess.run(
        [*pip, "--no-binary", "django", f"django=={version}", "--dest", str(scratch)],
        capture_output=True,
        text=True,
        check=False,
    )
    archives = list(scratch.glob("*.tar.gz"))
    if download.returncode or not archives:
        pytest.fail(
            f"Django's own tests are neither in {kept} nor could pip fetch its source distribution {version}:\n"
            + download.stderr
        )
    with tarfile.open(archives[0]) as archive:
        wanted = [member for member in archive.getmembers() if f"/tests/{name}/" in member.name]
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # 3.11 has none before 3.11.4
        archive.extractall(scratch, members=wanted)
    found = next(scratch.glob("*/tests"))
    kept.mkdir(parents=True, exist_ok=True)
    try:
        _ = (found / name).rename(kept / name)
    except OSError:  # another worker was faster, or the folders are on two file systems
        return kept if (kept / name / "tests.py").is_file() else found
    return kept


def run_alone(script: Path, *arguments: str) -> tuple[int, str]:
    """Run a script in a process of its own that can import what this one can: its exit code, and what it said."""
    run = subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    return run.returncode, run.stderr + run.stdout
