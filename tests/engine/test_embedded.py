"""A private server: how it starts, who may use it, and above all that it ends."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from redis_mw.engine import embedded
from redis_mw.engine.embedded import EmbeddedServer, find_binary, resolve, start_embedded
from redis_mw.errors import MissingExtra, RedisUnavailable, SettingsError


@pytest.fixture
def start() -> Iterator[Callable[..., EmbeddedServer]]:
    made: list[EmbeddedServer] = []

    def started(*arguments: str, port: bool | int = False) -> EmbeddedServer:
        made.append(start_embedded(*arguments, port=port))
        return made[-1]

    yield started
    for server in made:
        server.stop()


@pytest.fixture
def undecided() -> Iterator[None]:
    """Which server to start is decided anew, before and after the test."""
    find_binary.cache_clear()
    yield
    find_binary.cache_clear()


def say(url: str, command: str) -> bytes:
    parts = urlsplit(url)
    with socket.socket(socket.AF_UNIX if parts.scheme == "unix" else socket.AF_INET) as link:
        link.settimeout(5)
        link.connect(parts.path if parts.scheme == "unix" else (parts.hostname, parts.port))
        link.sendall(f"{command}\r\n".encode())
        return link.recv(1 << 16)


def child(program: str, *arguments: str) -> "subprocess.Popen[str]":
    """A Python of its own that runs ``program``, and holds no file of ours."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def ends(pid: int) -> bool:
    """Whether the process is gone, or soon will be."""
    return eventually(lambda: not exists(pid))


def eventually(happened: Callable[[], bool]) -> bool:
    for _ in range(500):
        if happened():
            return True
        time.sleep(0.01)
    return False


def exists(pid: int) -> bool:
    said = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(said.strip()) and not said.startswith("Z")


SERVE = """
import sys
from redis_mw.engine.embedded import start_embedded
server = start_embedded()
print(server.pid, server.url, flush=True)
sys.stdin.readline()
"""


def test_it_answers_on_a_socket_that_only_its_user_can_reach(start: Callable[..., EmbeddedServer]) -> None:
    server = start()
    assert say(server.url, "PING") == b"+PONG\r\n"
    home = Path(urlsplit(server.url).path).parent
    assert home.stat().st_mode & 0o777 == 0o700
    assert say(server.url, "CONFIG GET port").endswith(b"$1\r\n0\r\n")
    server.stop()
    assert not home.exists() and not exists(server.pid)
    server.stop()


def test_it_listens_on_a_loopback_port_where_asked(start: Callable[..., EmbeddedServer]) -> None:
    server = start(port=True)
    assert urlsplit(server.url).hostname == "127.0.0.1"
    port = urlsplit(server.url).port
    assert say(server.url, "PING") == b"+PONG\r\n"
    with pytest.raises(RedisUnavailable, match="did not start"):
        start(port=port)
    server.stop()
    assert start(port=port).url == server.url


def test_one_process_has_one_server_for_each_url(tmp_path: Path) -> None:
    urls: list[str] = []
    threads = [threading.Thread(target=lambda: urls.append(resolve("embedded://"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(urls) == 8 and len(set(urls)) == 1
    assert resolve(f"embedded://{tmp_path}") not in urls
    assert resolve("redis://example.com/3") == "redis://example.com/3"
    shared = [embedded._shared.pop(path) for path in ("", str(tmp_path))]
    for server in shared:
        server.stop()


def test_a_server_that_died_is_replaced_when_it_is_asked_for() -> None:
    first = resolve("embedded://")
    os.kill(embedded._shared[""].pid, signal.SIGKILL)
    assert eventually(lambda: not embedded._shared[""].alive)
    second = resolve("embedded://")
    assert second != first and say(second, "PING") == b"+PONG\r\n"
    embedded._shared.pop("").stop()


def test_a_directory_keeps_its_data_and_the_nameless_one_nothing(
    start: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    home = tmp_path / "a b" / "data"
    first = start(str(home))
    assert say(first.url, "SET a 1") == b"+OK\r\n"
    first.stop()
    assert say(start(str(home)).url, "GET a") == b"$1\r\n1\r\n"
    assert say(start().url, "GET a") == b"$-1\r\n"


def test_two_servers_never_share_a_directory(start: Callable[..., EmbeddedServer], tmp_path: Path) -> None:
    _ = start(str(tmp_path))
    with pytest.raises(SettingsError, match="another process runs an embedded server on"):
        start(str(tmp_path))


@pytest.mark.parametrize("url", ["embedded:", "embedded:/x", "embedded://host/x", "embedded:///x?db=1"])
def test_a_url_that_is_not_quite_one_is_refused_with_the_right_form(url: str) -> None:
    with pytest.raises(SettingsError, match="embedded:///path") as caught:
        resolve(url)
    assert caught.value.problems[0].path == "url"


def test_it_ends_when_its_parent_is_killed() -> None:
    with child(SERVE) as parent:
        assert parent.stdout is not None
        pid, url = parent.stdout.readline().split()
        assert exists(int(pid))
        parent.kill()
    assert ends(int(pid))
    assert eventually(lambda: not Path(urlsplit(url).path).parent.exists())


def test_it_ends_when_its_parent_is_killed_though_it_is_frozen_itself() -> None:
    with child(SERVE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().split()[0])
        os.kill(pid, signal.SIGSTOP)
        parent.kill()
    assert ends(pid)


@pytest.mark.parametrize("last_words", ["", "raise SystemExit(3)", "raise RuntimeError", "import os; os._exit(0)"])
def test_it_ends_however_its_parent_does(last_words: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVE + last_words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        said, complaints = parent.communicate(timeout=30)
    assert ends(int(said.split()[0]))
    assert "ResourceWarning" not in complaints


FORK = """
import os, signal, sys
from redis_mw.engine.embedded import resolve, start_embedded
server = start_embedded()
url = resolve("embedded://")
pid = os.fork()
if pid == 0:
    server.stop()
    assert server.alive and resolve("embedded://") == url
    if sys.argv[1] == "ends":
        sys.exit()
    signal.pause()
if sys.argv[1] == "ends":
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
print(server.pid, server.url, url, pid, flush=True)
sys.stdin.readline()
"""


def test_a_forked_process_uses_the_server_and_cannot_stop_it() -> None:
    with child(FORK, "ends") as parent:
        assert parent.stdout is not None and parent.stdin is not None
        pid, *urls, _ = parent.stdout.readline().split()
        assert [say(url, "PING") for url in urls] == [b"+PONG\r\n"] * 2
        parent.stdin.close()
        assert parent.wait(30) == 0
    assert ends(int(pid))


def test_a_forked_process_does_not_keep_it_alive() -> None:
    with child(FORK, "stays") as parent:
        assert parent.stdout is not None
        server, _, _, forked = parent.stdout.readline().split()
        parent.kill()
        assert ends(int(server))
        os.kill(int(forked), signal.SIGKILL)


def test_a_ctrl_c_at_the_terminal_does_not_reach_it(start: Callable[..., EmbeddedServer]) -> None:
    server = start()
    assert os.getpgid(server.pid) != os.getpgid(0)


def test_a_server_that_does_not_start_says_why(start: Callable[..., EmbeddedServer], tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("in the way")
    with pytest.raises(RedisUnavailable, match=r"did not start: .+"):
        start(str(tmp_path))


def test_a_very_long_temporary_directory_is_no_obstacle(
    start: Callable[..., EmbeddedServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    assert say(start().url, "PING") == b"+PONG\r\n"
    assert not list(deep.iterdir())


def no_wheel(name: str) -> None:
    raise metadata.PackageNotFoundError(name)


@pytest.mark.usefixtures("undecided")
def test_without_the_wheel_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(metadata, "files", no_wheel)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra, match=r"redis-mw\[embedded\]") as caught:
        find_binary()
    assert caught.value.extra == "embedded"


@pytest.mark.usefixtures("undecided")
@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_without_the_wheel_a_server_on_the_path_will_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start: Callable[..., EmbeddedServer], name: str
) -> None:
    (tmp_path / name).symlink_to(find_binary())
    find_binary.cache_clear()
    monkeypatch.setattr(metadata, "files", no_wheel)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert find_binary() == str(tmp_path / name)
    assert say(start().url, "PING") == b"+PONG\r\n"


@pytest.mark.usefixtures("undecided")
def test_a_binary_that_does_not_run_here_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "valkey-server"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)

    class File:
        name = "valkey-server"

        def locate(self) -> Path:
            return broken

    monkeypatch.setattr(metadata, "files", lambda name: [File()])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="install valkey-server or redis-server"):
        find_binary()
