"""What the async driver performs in the background without an end of its own: one run per key, a task for each.

A run is there for as long as it finds something to do. Nobody waits for it, so the end of the driver does not either:
it cancels the task and closes the flow where it stands.
"""

import asyncio
from collections.abc import Callable, Hashable
from contextvars import Context

from redis_mw.engine.aio.post import Post
from redis_mw.engine.aio.run import Run
from redis_mw.events import log
from redis_mw.flows import Flow


class Tended:
    """The runs of one loop, at most one per key at a time; see ``AsyncDriver.tend`` for what is promised."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._runs: dict[Hashable, asyncio.Task[None]] = {}
        self._closed = False

    def tend(self, key: Hashable, flow: Callable[[], Flow[None]]) -> None:
        """Begin a run unless one is under way.

        A task is done in the very step in which its flow has returned, so nobody can ask between its last look and
        its end.
        """
        run = self._runs.get(key)
        if self._closed or (run is not None and not run.done()):
            return
        own = Context()  # the caller's would keep a request, and all it holds, alive for as long as this goes on
        self._runs[key] = run = self._post.loop.create_task(self._perform(flow), context=own)
        run.add_done_callback(lambda done: self._forget(key, done), context=own)

    async def close(self) -> None:
        """End every run; whoever asks later is not heard."""
        self._closed = True
        runs = set(self._runs.values())
        for run in runs:
            _ = run.cancel()
        if runs:
            _ = await asyncio.wait(runs)

    async def _perform(self, make: Callable[[], Flow[None]]) -> None:
        try:
            flow = make()
            try:
                await Run(self._post, flow, None, detached=True).perform(lambda undo: undo.close())
            finally:
                flow.close()
        except Exception:
            log.exception("a tended flow failed")

    def _forget(self, key: Hashable, run: "asyncio.Task[None]") -> None:
        if self._runs.get(key) is run:
            del self._runs[key]
