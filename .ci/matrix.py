"""The runs that `make test` leaves out: the other Pythons, the built wheel, the long property tests.

Interpreters are looked for in pyenv's versions first, then on PATH, and each is tried by running it: pyenv puts a
launcher on PATH for every version it has, but those of versions that are not selected only fail.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / ".matrix"
MINORS = (11, 12, 13)
PYTEST = ["-m", "pytest", "-q", "-n", "2", "--dist", "worksteal"]
# What a test may read beside the product; the product itself must come out of the wheel.
BESIDE = ("tests", "sample_apps", "benchmarks", ".ci", "Makefile", "README.md", "pyproject.toml")


def candidates() -> list[str]:
    found: list[Path] = []
    if shutil.which("pyenv"):
        asked = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            found += sorted(Path(asked.stdout.strip()).glob("versions/*/bin/python3.[0-9]*"), reverse=True)
    found = [path for path in found if path.name.removeprefix("python3.").isdigit()]  # not python3.12-config
    on_path = [shutil.which(f"python3.{minor}") for minor in MINORS]
    return [*map(str, found), *(path for path in on_path if path)]


def version_of(python: str) -> tuple[int, int, int] | None:
    """Its version, or None if it does not run."""
    try:
        said = subprocess.run(
            [python, "-c", "import sys, venv, ensurepip; print(*sys.version_info[:3])"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if said.returncode:
        return None
    major, minor, micro = map(int, said.stdout.split())
    return major, minor, micro


def interpreters() -> dict[int, str]:
    """One working interpreter for each minor version."""
    chosen: dict[int, str] = {}
    print("Pythons found:")
    for python in candidates():
        version = version_of(python)
        if version is None:
            print(f"  {python}: does not run, or has no venv")
        elif version[0] == 3 and version[1] in MINORS and version[1] not in chosen:
            chosen[version[1]] = python
            print(f"  {python}: {'.'.join(map(str, version))}")
    for minor in MINORS:
        if minor not in chosen and minor != sys.version_info.minor:
            print(f"  Python 3.{minor}: MISSING, not tested")
    return chosen


def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> None:
    subprocess.run(list(map(str, command)), cwd=cwd, env={**os.environ, **variables}, check=True)


def environment(name: str, python: str, *install: str) -> Path:
    """A virtual environment with these things installed; its interpreter."""
    directory = PLACE / name
    run(ROOT / ".ci" / "environment", directory, *install, PYTHON=python)
    return directory / "bin" / "python"


def on_python(name: str, python: str) -> None:
    run(environment(name, python, "--editable", ".[all]", "--group", "test"), *PYTEST)


def on_wheel() -> None:
    dist = PLACE / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    # By way of the sdist, so that what is missing there shows as well.
    run(sys.executable, "-m", "build", "--outdir", dist, ROOT)
    (wheel,) = dist.glob("*.whl")
    # A wheel of the same version may be there from the last time, and pip would leave it.
    shutil.rmtree(PLACE / "wheel", ignore_errors=True)
    python = environment("wheel", sys.executable, f"{wheel}[all]", "--group", "test")
    with tempfile.TemporaryDirectory() as folder:
        for name in BESIDE:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, folder)
        names = "redis_mw, redis_mw_starlette, redis_mw_django, redis_mw_flask"
        modules = f"import {names}; print(*(module.__file__ for module in ({names})), sep='\\n')"
        asked = subprocess.run([python, "-c", modules], cwd=folder, capture_output=True, text=True, check=True)
        if any(not Path(line).is_relative_to(PLACE / "wheel") for line in asked.stdout.split("\n") if line):
            raise SystemExit(f"this is not the wheel:\n{asked.stdout}")
        run(python, *PYTEST, cwd=Path(folder))


def long() -> None:
    run(sys.executable, *PYTEST, "-m", "hypothesis", HYPOTHESIS_PROFILE="long")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help='run only this one: "3.12", "wheel", "long"; may be repeated')
    only = parser.parse_args().only

    runs: dict[str, Callable[[], None]] = {}
    for minor, python in sorted(interpreters().items()):
        if minor != sys.version_info.minor:
            runs[f"3.{minor}"] = lambda minor=minor, python=python: on_python(f"3.{minor}", python)
    if not runs:
        print("No other Python of 3.11 to 3.13 was found here: this run says nothing about them.")
    runs |= {"wheel": on_wheel, "long": long}
    unknown = set(only or ()) - set(runs)
    if unknown:
        parser.error(f"there is no run {', '.join(sorted(unknown))}; there are {', '.join(runs)}")

    results: list[str] = []
    failed = False
    for name, work in runs.items():
        if only and name not in only:
            continue
        print(f"\n=== {name} ===", flush=True)
        begin = time.monotonic()
        try:
            work()
        except subprocess.CalledProcessError as error:
            failed = True
            results.append(f"{name}: FAILED ({error}), {time.monotonic() - begin:.0f} s")
        else:
            results.append(f"{name}: passed, {time.monotonic() - begin:.0f} s")
    print("\nMatrix:", *results, sep="\n  ")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
