"""What README.md shows is run as it stands there."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from redis_mw import Settings
from redis_mw.sessions.ids import SALT, Signer, name_of
from sample_apps.demo.child import Child

README = Path(__file__).resolve().parents[1] / "README.md"
LONGEST = 15
UVICORN = ("uvicorn", "--fd=0", "hello:app")
GUNICORN = ("gunicorn", "--bind=fd://0", "--threads=2", "--no-control-socket")


def environment() -> dict[str, str]:
    """Ours, without what tests have put there; what is started imports from where we do."""
    foreign = ("PYTEST_", "DJANGO_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**inherited, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}


def shown(heading: str) -> str:
    """The first block of Python under a heading."""
    found = re.search(rf"^##+ {re.escape(heading)}\n.*?^```python\n(.*?)^```", README.read_text(), re.M | re.S)
    assert found is not None, f"README.md shows no Python under {heading!r}"
    return found[1]


@contextmanager
def served(folder: Path, *command: str, **variables: str) -> Iterator[str]:
    """The url of a server started in a folder, which imports what stands there."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        child = Child(command, variables, listening, folder / "log", folder)
    with child:
        yield url


def begin_project(folder: Path, settings: str) -> None:
    """A new Django project called hello, with these settings after its own."""
    begin = [sys.executable, "-m", "django", "startproject", "hello", str(folder)]
    _ = subprocess.run(begin, env=environment(), check=True)
    with (folder / "hello/settings.py").open("a") as written:
        _ = written.write(settings)


def counts_visits(url: str) -> None:
    """Three visits of one visitor are counted in a session, and another visitor has another one."""
    with httpx2.Client(timeout=30) as ours, httpx2.Client(timeout=30) as theirs:
        assert [ours.get(url).json() for _ in range(3)] == [{"visits": 1}, {"visits": 2}, {"visits": 3}]
        assert theirs.get(url).json() == {"visits": 1}


@pytest.mark.parametrize("heading", ["Starlette and FastAPI", "Django", "Flask"])
def test_a_quick_start_is_short(heading: str) -> None:
    assert len(shown(heading).splitlines()) <= LONGEST


def test_the_first_screen_has_the_two_commands() -> None:
    first = README.read_text().splitlines()[:24]
    assert any("make demo" in line for line in first)
    assert any("make test" in line for line in first)


def test_the_quick_start_for_fastapi_counts_visits(tmp_path: Path) -> None:
    _ = (tmp_path / "hello.py").write_text(shown("Starlette and FastAPI"))
    with served(tmp_path, *UVICORN) as url:
        counts_visits(url)


def test_the_quick_start_for_flask_counts_visits(tmp_path: Path) -> None:
    _ = (tmp_path / "hello.py").write_text(shown("Flask"))
    with served(tmp_path, *GUNICORN, "hello:app") as url:
        counts_visits(url)


def test_the_quick_start_for_django_counts_visits_in_a_new_project(tmp_path: Path) -> None:
    settings, urls = shown("Django").split("# urls.py")
    begin_project(tmp_path, settings)
    _ = (tmp_path / "hello/urls.py").write_text(f"#{urls}")
    with served(tmp_path, *GUNICORN, "hello.wsgi", DJANGO_SETTINGS_MODULE="hello.settings") as url:
        counts_visits(url)


def test_the_cache_of_a_new_django_project_passes_its_checks_and_keeps_what_it_is_given(tmp_path: Path) -> None:
    # What a busy machine does is no outage to this.
    patient = "\nREDIS_MW |= {'patience': 20, 'connect_within': 5}\n"
    begin_project(tmp_path, shown("Django").split("# urls.py")[0] + shown("Django's cache") + patient)
    keeps = "from django.core.cache import caches; c = caches['default']; c.set('a', {1}); print(c.get('a'), c)"
    for told, *command in (
        ("no issues", "check", "--fail-level=DEBUG"),
        ("{1} <redis_mw_django.", "shell", "-c", keeps),
    ):
        run = subprocess.run(
            [sys.executable, str(tmp_path / "manage.py"), *command],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0 and told in run.stdout, run.stdout + run.stderr


def test_the_test_of_an_application_passes(tmp_path: Path) -> None:
    _ = (tmp_path / "test_visits.py").write_text(shown("Testing your application"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:valkey", "-p", "no:cacheprovider", "test_visits.py"]
    run = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_test_vector_holds() -> None:
    found = re.search(r"secret +(\S+)\nsalt +(\S+)\nid +(\S+)\ncookie +(\S+)\nkey +(\S+?)\.\.\.\n", README.read_text())
    assert found is not None
    secret, salt, id, cookie, key = found.groups()
    name = name_of(id)
    assert (salt, Signer([secret]).sign(id)) == (SALT, cookie)
    assert f"{Settings().prefix}:s1:{{{name[:8]}}}:{name[8:]}".startswith(key)
