"""The demo as a newcomer runs it: its exit code says whether all went well, and it leaves nothing behind."""

import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest

END_WITHIN = 60.0


class Process(NamedTuple):
    pid: int
    parent: int
    group: int
    command: str


def processes() -> list[Process]:
    """What runs on this machine; a zombie does not run."""
    listed = subprocess.run(["ps", "-axwwo", "pid=,ppid=,pgid=,stat=,command="], capture_output=True, check=True)
    rows = [line.split(None, 4) for line in listed.stdout.decode(errors="replace").splitlines()]
    alive = [row for row in rows if len(row) == 5 and "Z" not in row[3]]
    return [Process(int(pid), int(parent), int(group), command) for pid, parent, group, _, command in alive]


def family(pid: int) -> list[Process]:
    """The process and all that descend from it."""
    everybody = processes()
    found = [each for each in everybody if each.pid == pid]
    for parent in found:
        found += [each for each in everybody if each.parent == parent.pid]
    return found


class Demo:
    """``python -m sample_apps.demo`` with a temporary directory of its own."""

    def __init__(self, *arguments: str, terminal: int | None = None) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="demo-"))
        self.known: set[Process] = set()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sample_apps.demo", *arguments],
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=subprocess.PIPE if terminal is None else terminal,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(self.home), "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            start_new_session=True,
        )

    @property
    def out(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def await_row(self) -> None:
        """Return when the tour has begun, knowing all processes of the demo."""
        for line in self.out:
            if line.startswith((b"ok", b"DIFFERS")):
                break
        self.note_family()

    def note_family(self) -> None:
        self.known = set(family(self.process.pid))
        assert len(self.known) > 8, "four shops, a Valkey, and those who watch them"

    def left(self) -> list[Process]:
        """What still runs of it once it has ended; those that watch may take a moment."""
        pids, groups = {each.pid for each in self.known}, {each.group for each in self.known}
        until = time.monotonic() + END_WITHIN
        while (left := [each for each in processes() if each.pid in pids or each.group in groups]) or self.rubbish():
            if time.monotonic() > until:
                break
            time.sleep(0.1)
        return left

    def rubbish(self) -> list[str]:
        return os.listdir(self.home)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        _ = self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Children can be interrupted, also where the tests run in the background of a shell, which ignores that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    _ = signal.signal(signal.SIGINT, before)


@pytest.fixture
def demos() -> Iterator[list[Demo]]:
    """Demos to be closed, however the test ends."""
    started: list[Demo] = []
    yield started
    for demo in started:
        demo.close()


def start(demos: list[Demo], *arguments: str, terminal: int | None = None) -> Demo:
    demos.append(Demo(*arguments, terminal=terminal))
    return demos[-1]


def test_the_whole_tour_comes_out_as_expected_and_leaves_nothing_behind(demos: list[Demo]) -> None:
    demo = start(demos, "--once")
    demo.await_row()
    rest = demo.out.read().decode()
    # First, so that a failure says which; the whole table may be cut.
    assert [line for line in rest.splitlines() if line.startswith("DIFFERS")] == []
    assert demo.process.wait(END_WITHIN) == 0, rest
    assert rest.rstrip().endswith(" rows, 0 differing.")
    assert (demo.left(), demo.rubbish()) == ([], [])


def test_a_shop_that_dies_on_the_way_makes_the_tour_fail(demos: list[Demo]) -> None:
    demo = start(demos, "--steps", "looking_around", "one_cart", "parallel_writers", "watching")
    demo.await_row()
    for each in demo.known:
        if "flask_shop" in each.command:
            os.kill(each.pid, signal.SIGKILL)
    rest = demo.out.read().decode()
    assert demo.process.wait(END_WITHIN) == 1, rest
    assert "DIFFERS" in rest
    assert (demo.left(), demo.rubbish()) == ([], [])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_demo_that_is_ended_from_outside_leaves_nothing_behind(demos: list[Demo], number: int, code: int) -> None:
    demo, beside = start(demos, "--once"), start(demos, "--once", "--steps", "looking_around")
    demo.await_row()
    demo.process.send_signal(number)
    assert demo.process.wait(END_WITHIN) == code
    assert (demo.left(), demo.rubbish()) == ([], [])
    said = beside.out.read().decode()
    assert beside.process.wait(END_WITHIN) == 0, said


def test_on_a_terminal_the_shops_stay_open_until_ctrl_c(demos: list[Demo]) -> None:
    ours, theirs = pty.openpty()
    demo = start(demos, "--steps", "looking_around", terminal=theirs)
    os.close(theirs)
    said = b""
    try:
        while b"until Ctrl-C" not in said:
            said += os.read(ours, 4096)
        demo.note_family()
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(END_WITHIN) == 0
    finally:
        os.close(ours)
    assert (demo.left(), demo.rubbish()) == ([], [])
