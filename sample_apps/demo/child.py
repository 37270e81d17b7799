"""A server process that ends when we do, however we end."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

STOP_WITHIN = 5.0

# $1: a pipe whose other end only we hold, $2: what to remove at the end, from $3: the server. The shell becomes the
# server, the leader of a process group; a part of it stays behind and reads the pipe. When that closes, by will or
# because we are dead, it ends the whole group (a gunicorn has workers), itself last. It must not keep the server's
# listening socket, which is descriptor 0: visitors of a dead server would wait instead of being turned away.
_WATCHED = """
exec 3</dev/fd/$1
rubbish=$2
shift 2
{
    trap '' TERM
    read -r _ <&3
    kill -TERM -$$
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
        kill -0 $$ || break
        sleep 0.1
    done
    rm -rf "$rubbish"
    kill -KILL -$$
} </dev/null >/dev/null 2>&1 &
exec 3<&-
exec "$@"
"""


class Child:
    """``python -m <command>`` with some more environment; what it says goes to ``log``.

    It finds the ``listening`` socket as its descriptor 0. ``rubbish`` is a directory that nobody needs once this
    process and its own children are gone.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        listening: socket.socket,
        log: Path,
        rubbish: Path,
    ) -> None:
        self._log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        theirs, self._lifeline = os.pipe()
        try:
            with open(log, "ab") as written:
                self._process = subprocess.Popen(
                    ["/bin/sh", "-c", _WATCHED, "shop", str(theirs), str(rubbish), sys.executable, "-m", *command],
                    stdin=listening.fileno(),
                    stdout=written,
                    stderr=subprocess.STDOUT,
                    cwd=rubbish,
                    # It imports from where we do: the source tree, or what is installed.
                    env={**inherited, **environment, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
                    pass_fds=[theirs],
                    # A Ctrl-C at the terminal is for the demo, which ends its children in good order.
                    start_new_session=True,
                )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(theirs)
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])

    def ask_to_stop(self) -> None:
        """Let go of the pipe; ``stop`` then waits."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def stop(self) -> None:
        """Ask it to stop and wait until it has."""
        self.ask_to_stop()
        try:
            _ = self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            _ = self._process.wait()

    def kill(self) -> None:
        """End it and its own children on the spot, in the middle of whatever they do."""
        os.killpg(self.pid, signal.SIGKILL)
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
