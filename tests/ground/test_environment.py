"""What a newcomer reads when a machine lacks something, before anything is installed."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def environment(folder: Path, python: str) -> "subprocess.CompletedProcess[str]":
    script = ROOT / ".ci" / "environment"
    return subprocess.run(
        [script, folder / "a venv", "nothing"],
        env={"PATH": "/usr/bin:/bin", "PYTHON": python},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def pretender(tmp_path: Path) -> Path:
    """A Python of version 3.13 that has no venv, as Debian ships it."""
    python = tmp_path / "a python"
    python.write_text(
        '#!/bin/sh\ncase "$*" in *version_info*) exit 0 ;; *ensurepip*) exit 1 ;; *) echo "Python 3.13.5" ;; esac\n'
    )
    python.chmod(0o755)
    return python


def test_a_python_without_venv_gets_the_one_line_that_helps(tmp_path: Path, pretender: Path) -> None:
    said = environment(tmp_path, str(pretender))
    assert said.returncode == 2
    assert said.stderr.count("\n") == 1 and "apt-get install python3-venv" in said.stderr
    assert not (tmp_path / "a venv").exists()


def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] || exit 1\necho "Python 3.9.6"\n')
    old.chmod(0o755)
    said = environment(tmp_path, str(old))
    assert said.returncode == 2
    assert "3.11 or later" in said.stderr and "found: Python 3.9.6" in said.stderr


def test_a_python_that_is_not_there_is_said(tmp_path: Path) -> None:
    said = environment(tmp_path, "/nowhere/python3")
    assert said.returncode == 2 and "no working /nowhere/python3" in said.stderr
