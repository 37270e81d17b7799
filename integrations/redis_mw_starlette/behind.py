"""What goes on behind the visitors' backs: pages that are made to their end, or anew, whoever has left meanwhile."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.types import Message, Receive

MOST = 64
"""Pages that are made anew at the same time."""
WITHIN_S = 60.0
"""How long one may take to be made anew."""


class Behind:
    """The tasks of one middleware; their loop is whichever runs."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def is_full(self) -> bool:
        """Whether no more should be begun of what can be left undone."""
        return len(self._tasks) >= MOST

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run it in a task that nobody's cancellation reaches."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            _ = task.exception()  # whoever waited has been told; nobody may be left

    async def aclose(self, within: float) -> None:
        """Wait for what is under way, and end what takes longer."""
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=within)
            for task in late:
                _ = task.cancel()
            if late:
                _ = await asyncio.wait(late)


def deaf(receive: Receive) -> Receive:
    """The same, but for the news that the client has gone."""

    async def hears() -> Message:
        message = await receive()
        if message["type"] == "http.disconnect":
            _ = await asyncio.Event().wait()
        return message

    return hears


def silent() -> Receive:
    """What a request without a body sends, whose client never leaves."""
    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def hears() -> Message:
        if not messages:
            _ = await asyncio.Event().wait()
        return messages.pop()

    return hears


async def nowhere(message: Message) -> None:
    """Where a response goes that nobody waits for."""
