"""The asyncio driver: performs flows on one event loop, many at once, over a few shared connections.

What belongs to the loop (connections, background tasks) is made on first use and ends with ``aclose`` or, if nobody
calls that, with the loop itself (``asyncio.run`` shuts its asynchronous generators down; one of ours closes
everything then). asyncio and uvloop only. A driver belongs to the loop it was first used on until that loop is closed:
code that makes a loop per call (``async_to_sync``) runs the sync driver in a thread instead of making a connection
each time.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Hashable
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

from redis_mw.engine.aio.post import Post
from redis_mw.engine.aio.run import Run
from redis_mw.engine.aio.tended import Tended
from redis_mw.engine.batches import CLOSED
from redis_mw.engine.tracking import Watcher
from redis_mw.errors import RedisUnavailable
from redis_mw.events import Events, log
from redis_mw.flows import Flow, Role
from redis_mw.settings import Settings

T = TypeVar("T")

CLOSE_WITHIN = 5.0
LAST_WORDS = 1.0
"""Seconds that undo commands have left once their driver is closing."""
MOST_TASKS = 1024
"""Detached flows under way at the same time."""


class AsyncDriver:
    """Runs flows, many at once over a few connections; safe to share between all tasks of one loop.

    ``refuse_all`` answers every batch with RedisUnavailable and sends nothing, for tests of what an outage does.
    """

    def __init__(self, settings: Settings, events: Events) -> None:
        self._settings = settings
        self._events = events
        self._home: _Home | None = None
        self._refuse_all = False

    @property
    def refuse_all(self) -> bool:
        return self._refuse_all

    @refuse_all.setter
    def refuse_all(self, refuse: bool) -> None:
        self._refuse_all = refuse
        if self._home is not None:
            self._home.post.refuse(refuse)

    async def run(self, flow: Flow[T], deadline: float | None = None) -> T:
        """Perform a flow and return what it returns; ``deadline`` in seconds bounds all its batches and waits together.

        Raises what the flow raises. Cancelled, this raises CancelledError at once; in the background the batch under
        way settles, then the cancellation is thrown into the flow, and what it yields to undo its work is performed.
        """
        home = self._at_home()
        ends = None if deadline is None else monotonic() + deadline
        return await Run(home.post, flow, ends, detached=False).perform(home.track)

    def detach(self, flow: Flow[Any], within: float) -> None:
        """Perform a flow in the background, within so many seconds; ``aclose`` waits for it. Its error is logged."""
        self._at_home().detach(flow, within)

    async def share(self, key: Hashable, flow: Flow[T]) -> T:
        """Perform a flow once for all who ask with the same key meanwhile; any of them may be cancelled, it goes on."""
        return await self._at_home().share(key, flow)

    def tend(self, key: Hashable, flow: Callable[[], Flow[None]]) -> None:
        """Have such a flow performed in the background, if none under this key is, until it returns; no deadline.

        Put down what there is to do, then call this: the run under way sees it when it is resumed, or it is over and
        another one begins. So a flow may return as soon as it finds nothing to do.

        Its error is logged and ends it. ``aclose`` does not wait for it: it is closed where it stands (GeneratorExit)
        and can undo nothing then. A closed driver makes no run; a new loop, or the child of a fork, has none.
        """
        self._at_home().tended.tend(key, flow)

    def hear(self, role: Role, channel: str, heard: Callable[[], None]) -> None:
        """Call ``heard`` whenever somebody publishes on the channel of the role's server, until the driver is closed.

        Returns at once. Also called whenever something may have been missed: when the server has confirmed that we
        listen, the first time (until then all may have been) and each time after the connection was lost. While the
        server is away attempts go on. ``heard`` is called on the loop, so it must be quick; its error is logged. A
        second call with this role and channel does nothing; on a new loop, and in the child of a fork, call it anew.
        """
        self._at_home().post.hear(role, channel, heard)

    def watch(self, role: Role, prefixes: tuple[str, ...], watcher: Watcher) -> None:
        """Tell ``watcher`` of every key under one of the prefixes that is changed on the role's server.

        Returns at once. It is told to begin once the server has confirmed that it will say so, on a connection that
        serves nothing else. It is told to end the moment that connection is lost, or the server has left a question
        unanswered for about a second, which is asked every second; then attempts go on, and it begins anew. Ended
        too when the driver is closed, and while it refuses everything. All this on the loop.

        A second call with this role, these prefixes and this watcher does nothing; on a new loop call it anew, and in
        the child of a fork too, with a watcher of its own, since a copy of its parent's is not told that nobody tells
        it any more. Prefixes may not contain one another; none are all keys. The watcher is kept alive until the end,
        with all it holds.
        """
        self._at_home().post.watch(role, prefixes, watcher)

    async def ping(self) -> None:
        """Return once every server has answered on a fresh connection, within ``warm_up``; else RedisUnavailable.

        Of a cluster all primaries are asked.
        """
        home = self._at_home()
        refusal = home.post.refusal()
        if refusal is not None:
            raise refusal
        await home.post.ping()

    async def aclose(self, within: float = CLOSE_WITHIN) -> None:
        """Wait so many seconds for detached flows, then end what is left and close all connections. Idempotent.

        What is tended is ended first. What is asked of this driver later on the same loop is answered as if Redis were
        away.
        """
        try:
            home = self._home or self._at_home()
        except RuntimeError:  # never used, and under trio: nothing to close
            return
        if home.here():
            await home.close(within)

    async def __aenter__(self) -> "AsyncDriver":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _at_home(self) -> "_Home":
        home = self._home
        if home is not None and home.here():
            return home
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "redis-mw needs a running asyncio or uvloop event loop here (trio is not supported); "
                "elsewhere use the sync face, in a thread if need be"
            ) from None
        if home is not None and home.pid != os.getpid():
            _INHERITED.append(home)
        elif home is not None and not home.loop.is_closed():
            raise RuntimeError(
                "this driver belongs to another event loop, which is still open: make one per loop that lives long, "
                "and in a loop that lives for one call run the sync face in a thread"
            )
        elif home is not None:
            home.post.deafen()  # its loop may have been closed without a word
        self._home = home = _Home(Post(self._settings, self._events, loop), loop)
        home.post.refuse_all = self._refuse_all
        return home


_INHERITED: "list[_Home]" = []
"""What a forked child found: never closed there, for its sockets and its selector are the parent's."""


class _Home:
    """Everything of a driver that belongs to one loop of one process."""

    def __init__(self, post: Post, loop: asyncio.AbstractEventLoop) -> None:
        self.post = post
        self.loop = loop
        self.pid = os.getpid()
        self.tended = Tended(post)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._shared: dict[Hashable, asyncio.Task[Any]] = {}
        self._closing: asyncio.Future[None] | None = None
        self._ending = self._until_loop_ends()
        try:
            _ = self._ending.__anext__().send(None)  # begun, it is known to the loop, which closes it at its end
        except StopIteration:
            pass

    def here(self) -> bool:
        """Whether this is the loop and the process that it belongs to."""
        try:
            return asyncio.get_running_loop() is self.loop and os.getpid() == self.pid
        except RuntimeError:
            return False

    def detach(self, flow: Flow[Any], within: float) -> None:
        if len(self._tasks) >= MOST_TASKS:
            log.warning("%d flows are under way in the background: one more was dropped", MOST_TASKS)
            flow.close()
            return
        running = Run(self.post, flow, monotonic() + within, detached=True).perform(self.track)
        _ = self.track(self._logged(running))

    async def _logged(self, running: Coroutine[Any, Any, Any]) -> None:
        try:
            _ = await running
        except Exception:
            log.exception("a detached flow failed")

    async def share(self, key: Hashable, flow: Flow[T]) -> T:
        task: asyncio.Task[T] | None = self._shared.get(key)
        if task is None:
            task = self._shared[key] = self.track(Run(self.post, flow, None, detached=False).perform(self.track))
            task.add_done_callback(lambda done: self._forget(key, done))
        else:
            flow.close()
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if task.cancelled() and me is not None and not me.cancelling():
                raise RedisUnavailable(CLOSED) from None
            raise

    def _forget(self, key: Hashable, task: "asyncio.Task[Any]") -> None:
        _ = self._shared.pop(key, None)
        if not task.cancelled():
            _ = task.exception()  # whoever asked has been told; nobody may be left to ask

    def track(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self, within: float) -> None:
        await self._close(within)
        await self._ending.aclose()

    async def _close(self, within: float) -> None:
        if self._closing is not None:
            if not self._closing.done():
                _ = await asyncio.wait({self._closing})
            return
        self._closing = self.loop.create_future()
        try:
            await self.tended.close()
            await self._drain(within)
            await self._drain(LAST_WORDS)  # what the first round interrupted
        finally:
            await self.post.close()
            await asyncio.sleep(0)  # transports close their sockets in the turn after they were told to
            self._closing.set_result(None)

    async def _drain(self, within: float) -> None:
        if self._tasks:
            _ = await asyncio.wait(set(self._tasks), timeout=within)
            late = {task for task in self._tasks if not task.done()}
            for task in late:
                _ = task.cancel()
            if late:
                _ = await asyncio.wait(late)

    async def _until_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self._close(LAST_WORDS)
