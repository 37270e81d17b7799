"""What goes on behind the visitors' backs: pages that are made to their end, or anew, whoever has left meanwhile."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.db import close_old_connections, connections
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase

from redis_mw.events import log
from redis_mw.processes import PerProcess

T = TypeVar("T")

MOST_THREADS = 8
MOST_TASKS = 64
"""Pages that are made anew at the same time, on threads and on a loop."""
WITHIN_S = 60.0
"""How long one may take to be made anew, or read to its end."""
LARGE = 65536
"""Bytes of a body from which on it takes too long to compress on the loop."""
FAILED = "a page could not be made anew; the old one is sent while it lasts"


class Behind:
    """The threads and tasks of one process."""

    def __init__(self) -> None:
        self._threads = PerProcess(set[threading.Thread])
        self._tasks = PerProcess(set[asyncio.Task[Any]])

    @property
    def has_thread(self) -> bool:
        """Whether another page may be made anew on a thread."""
        return len(self._threads.here()) < MOST_THREADS

    @property
    def has_task(self) -> bool:
        """Whether another page may be made anew on a loop."""
        return len(self._tasks.here()) < MOST_TASKS

    def on_thread(self, work: Callable[[], None], overdue: Callable[[], None]) -> None:
        """Do it on a thread of its own, with database connections of its own. A thread cannot be ended: one that takes
        too long is ``overdue``, once.
        """
        threads, context = self._threads.here(), copy_context()

        def run() -> None:
            late = threading.Timer(WITHIN_S, overdue)
            late.daemon = True
            late.start()
            try:
                close_old_connections()
                work()
            except Exception:
                log.exception(FAILED)
            finally:
                late.cancel()
                connections.close_all()  # old ones or not: nobody else is on this thread
                threads.discard(thread)

        thread = threading.Thread(target=context.run, args=(run,), name="redis-mw-refresh", daemon=True)
        threads.add(thread)
        thread.start()

    def in_task(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Do it in a task that nobody's cancellation reaches.

        Under a server Django gives each request a thread for its sync code, and waits for that thread, on the loop,
        once the request is over. So the task gets one of its own, if it is to outlive the request.
        """
        apart = SyncToAsync.thread_sensitive_context.get(None) is not None
        context = _without_its_thread() if apart else copy_context()
        tasks = self._tasks.here()
        task = asyncio.get_running_loop().create_task(_on_own_thread(work) if apart else work, context=context)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(_heard)
        return task


def read(response: HttpResponseBase) -> None:
    """Read the body of a response that goes nowhere."""
    if isinstance(response, StreamingHttpResponse):
        for _ in response:
            pass


async def read_to_end(response: HttpResponseBase) -> None:
    """Read the body of a response that goes nowhere (any more), and close it where Django would."""
    try:
        if isinstance(response, StreamingHttpResponse):
            async for _ in response:
                pass
    finally:
        await sync_to_async(response.close)()


async def _on_own_thread(work: Coroutine[Any, Any, T]) -> T:
    async with ThreadSensitiveContext():
        try:
            return await work
        finally:
            await sync_to_async(connections.close_all)()


def _without_its_thread() -> Context:
    context = Context()
    for variable, value in copy_context().items():
        if variable is not SyncToAsync.thread_sensitive_context:
            _ = context.run(variable.set, value)
    return context


def _heard(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        _ = task.exception()  # whoever waited has been told; nobody may be left
