"""Cutting a coroutine at any of its await points, for the tests of what is left behind."""

import asyncio
import types
from collections.abc import Generator
from typing import Any


async def cut(work: Any, point: int, after: float) -> bool:
    """Run a coroutine and cancel it ``after`` seconds into its ``point``-th wait; whether it was ever there."""
    return await _counted(work, point, after)


@types.coroutine
def _counted(work: Any, point: int, after: float) -> Generator[Any, Any, bool]:
    task = asyncio.current_task()
    assert task is not None
    steps = work.__await__()
    reached, error, timer = 0, None, None
    try:
        while True:
            waits_for = steps.send(None) if error is None else steps.throw(error)
            if reached == point:
                timer = asyncio.get_running_loop().call_later(after, task.cancel)
            reached, error = reached + 1, None
            try:
                yield waits_for
            except BaseException as thrown:
                error = thrown
    except StopIteration:
        return reached > point
    finally:
        if timer is not None:
            timer.cancel()
