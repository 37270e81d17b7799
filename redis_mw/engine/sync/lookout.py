"""Who asks a cluster for its chart, and when: one attempt at a time, on a daemon thread, and never in a hurry."""

import random
import threading
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TypeAlias

from redis_mw.engine.cluster import QUESTION, Address, Chart
from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.outlook import Outlook, problem
from redis_mw.engine.resp import packed
from redis_mw.engine.sync.connection import Connection
from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.events import log
from redis_mw.settings import Settings

Answers: TypeAlias = "SimpleQueue[Chart | str | None]"
"""What servers tell, or why they do not; None: nobody wants to know any more."""

JOIN_S = 1.0
"""How long the end waits for the thread; who still asks a server that does not answer ends when his time is over."""


class Lookout:
    """Asks servers of a cluster, in random order, until one tells the chart. Thread-safe.

    ``servers`` are those that may know it, ``found`` is given it, ``failed`` hears of attempts that came to nothing,
    both on the thread that asks; while the driver ``refuses`` everything no attempt begins. An attempt goes on though
    nobody waits for it. After it nobody is asked for ``CALM_S``, whatever has come of it. The thread is there for as
    long as there is something to ask.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        servers: Callable[[], Iterable[Endpoint]],
        found: Callable[[Chart], None],
        failed: Callable[[Sequence[str]], None],
        refuses: Callable[[], bool],
    ) -> None:
        self._servers = servers
        self._found = found
        self._failed = failed
        self._refuses = refuses
        self._outlook = Outlook(name, settings)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._asking = False
        self._attempts = 0
        self._answers: Answers = SimpleQueue()
        self._closed = False

    def look(self) -> None:
        """Something may have changed: have the cluster asked, as soon as it may be. What is being asked may be old."""
        with self._changed:
            if not self._closed:
                self._wanted = True
                _ = self._start()

    def look_if_old(self) -> None:
        """The same if the chart has been there for so long that something may have changed unheard."""
        if self._outlook.is_old(monotonic()):
            self.look()

    def wait(self, due: float) -> None:
        """Return when the attempt that is due or under way has ended, or the time is over; at once while it is calm."""
        with self._changed:
            if not self._asking:
                if self._closed or self._refuses() or self._outlook.calm(monotonic()) > 0:
                    return
                self._wanted = True
                if not self._start():
                    return
            attempts = self._attempts
            while self._attempts == attempts and not self._closed and (left := due - monotonic()) > 0:
                _ = self._changed.wait(left)

    def close(self) -> None:
        """Ask no more, and let nobody wait for it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
            self._answers.put(None)
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():
            thread.join(JOIN_S)

    def _start(self) -> bool:
        """Whether there is a thread; an interpreter that is ending starts none."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="redis-mw-lookout", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        with self._changed:
            # A signal may have cut off who started it, before he could put it down; then it does that itself.
            self._thread = self._thread or threading.current_thread()
            if self._thread is not threading.current_thread():
                return
        while self._goes_on():
            problems = self._attempt()
            with self._changed:
                self._asking = False
                self._attempts += 1
                self._outlook.ended(monotonic(), problems)
                self._changed.notify_all()

    def _goes_on(self) -> bool:
        """Rest until the next attempt may begin; False: nobody wants one."""
        with self._changed:
            while self._wanted and not self._closed:
                rest = self._outlook.calm(monotonic(), waits=self._refuses())
                if rest <= 0:
                    self._wanted, self._asking, self._answers = False, True, SimpleQueue()
                    return True
                _ = self._changed.wait(rest)
            self._thread = None
            return False

    def _attempt(self) -> list[str]:
        """Ask, and tell what has come of it; why nothing has, if so."""
        within, problems = self._outlook.begins(), list[str]()
        try:
            chart = self._ask_all(self._answers, monotonic() + within, problems)
            if self._closed:
                return []
            if chart is not None:
                self._found(chart)
                return []
            self._failed(problems)
        except Exception:  # a bug of ours must not end what everybody waits for
            log.exception("a cluster could not be asked for its servers")
        return problems

    def _ask_all(self, answers: Answers, due: float, problems: list[str]) -> Chart | None:
        """The first answer. Who has none after the time to connect is asked on, and the next one beside it."""
        servers = list(self._servers())
        random.shuffle(servers)
        asked = 0
        while servers or asked:
            if servers:
                asked += 1
                asking = (servers.pop(), answers, due)
                threading.Thread(target=_ask, args=asking, name="redis-mw-ask", daemon=True).start()
            left = due - monotonic()
            try:
                answer = answers.get(timeout=max(0.0, min(left, self._outlook.connect_s) if servers else left))
            except Empty:
                if monotonic() < due:
                    continue
                problems.append("no answer in time")
                return None
            if isinstance(answer, Chart) or answer is None:
                return answer
            asked -= 1
            problems.append(answer)
        return None


def _ask(server: Endpoint, answers: Answers, due: float) -> None:
    """Have a server tell, on a connection of its own."""
    replies: list[object] = []
    try:
        connection = Connection.open(server, due, due)
        try:
            connection.send(packed([QUESTION]), 1, due)
            connection.receive(replies, due)
        finally:
            connection.close()
        if isinstance(replies[0], Exception):
            raise replies[0]
        answers.put(Chart.read(replies[0], Address(server.host, server.port)))
    except (OSError, ValueError, CommandError, RedisUnavailable) as error:
        answers.put(problem(server.name, error))
    except Exception as error:
        log.exception("a server could not be asked for its cluster")
        answers.put(f"{server.name}: {error!r}")
