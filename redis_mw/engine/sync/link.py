"""One server as the sync driver sees it: its pool, its breaker, the thread that probes it.

A ``Turn`` is a part of a batch on its way to this server. It always ends with one reply or failure per command, and
its connection goes back to the pool only when nothing is outstanding on it.
"""

import random
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from redis_mw.engine.breaker import Breaker, Class
from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.news import tell
from redis_mw.engine.resp import packed
from redis_mw.engine.sync.connection import Connection
from redis_mw.engine.sync.pool import Exhausted, GivenUp, Pool
from redis_mw.errors import RedisMWError, RedisUnavailable
from redis_mw.events import Events
from redis_mw.flows import Argument
from redis_mw.settings import Settings, seconds

T = TypeVar("T")


class Link:
    """Everything about one endpoint in one process. Thread-safe; ``forget`` is for the child of a fork.

    One of many servers that are as one to those who count trips has their common name, ``counted_as``. ``on_failed`` is
    called whenever the server has failed, or somebody else has found that it does not answer; must be quick.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings,
        events: Events,
        *,
        counted_as: str = "",
        on_failed: Callable[[], None] = lambda: None,
    ) -> None:
        self.endpoint = endpoint
        self.counted_as = counted_as or endpoint.name
        self.on_failed = on_failed
        self._events = events
        self._lock = threading.Lock()
        self._changes: list[tuple[Class, bool]] = []
        self._breaker = Breaker.of(settings, random.random, self._note)
        self._watched = False
        self._closed = threading.Event()
        self._pool = Pool(
            endpoint,
            size=settings.pool,
            warm_up=seconds(settings.warm_up),
            connect_within=seconds(settings.connect_within),
            failed=lambda began: self.failed(began, quick=False),
        )

    def refusal(self, quick: bool) -> RedisUnavailable | None:
        """The answer to give without asking the server, while the breaker is open for this class."""
        with self._lock:
            retry_after = self._breaker.refuses(quick, monotonic())
        if retry_after is None:
            return None
        return RedisUnavailable(f"{self.endpoint.name} is away", retry_after)

    def ping(self, within: float) -> None:
        """Raise RedisUnavailable unless the server answers on a connection of its own."""
        due = monotonic() + within
        replies: list[Any] = []
        try:
            connection = Connection.open(self.endpoint, due, due)
            try:
                connection.send(packed([("PING",)]), 1, due)
                connection.receive(replies, due)
            finally:
                connection.close()
        except (OSError, ValueError) as error:
            raise RedisUnavailable(f"{self.endpoint.name} cannot be reached: {error}") from error
        if isinstance(replies[0], Exception):
            raise RedisUnavailable(f"{self.endpoint.name} does not answer: {replies[0]}")

    def turn(self, commands: Sequence[tuple[Argument, ...]], due: float, quick: bool) -> "Turn":
        """Begin a turn: the commands leave now, or the turn has failed already."""
        return Turn(self, self._pool, commands, due, quick)

    def answered(self, began: float) -> None:
        """A turn that began then was answered now."""
        with self._lock:
            self._breaker.answered(began, monotonic())

    def failed(self, began: float, *, quick: bool) -> None:
        """A turn that began then had no reply (``quick``: in the patience of that class), or a connection was lost."""
        _ = self._judge(lambda breaker, now: breaker.failed(began, now, quick=quick))
        with self._lock:
            watch = not self._watched and not self._closed.is_set() and self._breaker.wants_probing()
            self._watched = self._watched or watch
        if watch:
            threading.Thread(target=self._watch, name="redis-mw-probe", daemon=True).start()
        self.on_failed()

    def overdue(self, began: float) -> None:
        """A turn that began then was given up now, for want of a reply or of a connection."""
        class_ = self._breaker.tried(monotonic() - began)
        if class_ is not None:
            self.failed(began, quick=class_ == "quick")

    def close(self) -> None:
        """Stop probing and close the connections; turns under way end first."""
        self._closed.set()
        self._pool.close()

    def forget(self) -> None:
        """In the child of a fork: see ``Pool.forget``."""
        self._pool.forget()

    def _watch(self) -> None:
        """The probing thread: lives while the server is suspect or given up, one probe after the other."""
        while not self._closed.is_set():
            with self._lock:
                if not self._breaker.wants_probing():
                    self._watched = False
                    return
                at = self._breaker.next_probe_at()
            if at is None:
                self._probe()
            elif not self._closed.wait(at - monotonic()):
                _ = self._judge(Breaker.probe_began)

    def _probe(self) -> None:
        """See one probe through: judged while its answer is awaited, since PING has a thread of its own."""
        outcome: SimpleQueue[bool] = SimpleQueue()
        threading.Thread(target=self._ping, args=(outcome,), name="redis-mw-ping", daemon=True).start()
        under_way = True
        while under_way:
            with self._lock:
                judge_at = self._breaker.judge_at() or 0.0
            try:
                answered = outcome.get(timeout=max(0.0, judge_at - monotonic()))
            except Empty:
                under_way = self._judge(Breaker.probe_unanswered)
            else:
                under_way = False
                _ = self._judge(Breaker.probe_answered if answered else Breaker.probe_lost)

    def _ping(self, outcome: "SimpleQueue[bool]") -> None:
        try:
            self.ping(self._breaker.firm_s)
        except RedisMWError:
            outcome.put(False)
        else:
            outcome.put(True)

    def _judge(self, step: Callable[[Breaker, float], T]) -> T:
        """Ask the breaker under the lock, then tell of what has changed outside it: listeners may take their time."""
        with self._lock:
            result = step(self._breaker, monotonic())
            changes, self._changes = self._changes, []
        for class_, is_open in changes:
            if is_open:
                self._pool.abort(quick_only=class_ == "quick")
            tell(self._events, self.endpoint, class_, is_open)
        return result

    def _note(self, class_: Class, is_open: bool) -> None:
        self._changes.append((class_, is_open))


class Turn:
    """One part of a batch on its way; ``finish`` may be called again after an interruption."""

    def __init__(
        self, link: Link, pool: Pool, commands: Sequence[tuple[Argument, ...]], due: float, quick: bool
    ) -> None:
        self._link = link
        self._pool = pool
        self._count = len(commands)
        self._due = due
        self._began = monotonic()
        self._replies: list[Any] = []
        self._error: RedisUnavailable | None = None
        self._connection: Connection | None = None
        try:
            self._connection = pool.take(due, quick)
            self._connection.send(packed(commands), self._count, due)
        except OSError as error:
            self._fail(error)
        except BaseException:
            self._return()
            raise

    def finish(self) -> list[Any]:
        """The replies, in order; ``RedisUnavailable`` in the place of each that did not come in time."""
        if self._connection is not None:
            try:
                self._connection.receive(self._replies, self._due)
            except OSError as error:
                self._fail(error)
            else:
                self._return()
                self._link.answered(self._began)
        missing = self._count - len(self._replies)
        return self._replies + [self._error or RedisUnavailable("interrupted")] * missing

    def settle(self) -> None:
        """After an interruption: let the replies come, so that the commands have run; interrupted again, give up."""
        try:
            _ = self.finish()
        except BaseException:
            self._return()

    def _fail(self, error: OSError) -> None:
        given_up = self._connection is not None and self._connection.aborted
        self._return()
        self._error = RedisUnavailable(f"{self._link.endpoint.name}: {error}")
        if given_up or isinstance(error, (Exhausted, GivenUp)):
            return
        if isinstance(error, TimeoutError):
            self._link.overdue(self._began)
        else:
            self._link.failed(self._began, quick=False)

    def _return(self) -> None:
        """Give the connection back, once; one that owes replies is closed there."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give(connection)
