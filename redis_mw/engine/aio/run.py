"""One flow being performed on an event loop: what is under way for it, and how it ends when it is interrupted."""

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Generic, TypeVar, assert_never, cast

from redis_mw.engine.aio.delivery import Delivery
from redis_mw.engine.aio.post import Post
from redis_mw.engine.aio.wakes import Ear
from redis_mw.errors import RedisUnavailable
from redis_mw.events import log
from redis_mw.flows import Batch, Command, Effect, Flow, Wait, Woken

T = TypeVar("T")

UNDO_WITHIN = 5.0
"""Seconds that an interrupted flow may take to settle and undo its work."""


class Run(Generic[T]):
    """A flow from its first effect to its result, or to its undo. ``ends`` bounds it all, by the clock."""

    __slots__ = ("_delivery", "_detached", "_ear", "_ends", "_flow", "_post")

    def __init__(self, post: Post, flow: Flow[T], ends: float | None, *, detached: bool) -> None:
        self._post = post
        self._flow = flow
        self._ends = ends
        self._detached = detached
        self._ear: Ear | None = None
        self._delivery: Delivery | None = None

    async def perform(self, in_background: Callable[[Coroutine[Any, Any, None]], object]) -> T:
        """The flow's result. Cancelled, this ends at once and leaves the undo to a task of its own."""
        flow = self._flow
        try:
            effect = next(flow)
            while True:
                effect = flow.send(await self._reply(effect))
        except StopIteration as end:
            return cast(T, end.value)
        except asyncio.CancelledError:
            _ = in_background(self._undo())
            raise
        finally:
            if self._ear is not None:
                self._ear.close()

    async def _reply(self, effect: Effect) -> Any:
        self._delivery = None
        match effect:
            case Batch():
                if self._post.spread:
                    await self._post.charted(effect.commands, self._ends)
                deaf: list[int] = []
                for place, command in enumerate(effect.commands):
                    if command.wakes and not await self._listens(command):
                        deaf.append(place)
                self._delivery = Delivery(self._post, effect.commands, self._ends, self._detached, deaf)
                return await self._delivery.settled()
            case Wait():
                return await self._wait(effect)
            case _:
                assert_never(effect)

    async def _listens(self, command: Command[Any]) -> bool:
        """Subscribe before the command is sent, or a wake-up in between would be lost; False: it cannot be done now."""
        wake_ups = None if isinstance(self._post.way(command), RedisUnavailable) else self._post.wake_ups(command)
        if wake_ups is None:
            return True  # it will be answered that
        return await self._hearing().join(wake_ups, command.wakes, self._left(command.patience_us / 1_000_000))

    async def _wait(self, wait: Wait) -> Woken | None:
        ear = self._hearing()
        began = monotonic()
        until = began + self._left(wait.seconds)
        if not ear.knows(wait.channels) and self._post.refusal() is None:
            # No command has announced them: they are taken for the default server's.
            wake_ups = self._post.wake_ups_of(self._post.station("default"))
            _ = await ear.join(wake_ups, wait.channels, until - monotonic())
        woken = await ear.wait(wait.channels, until - monotonic())
        return None if woken is None else Woken(woken[0], monotonic() - began, woken[1])

    def _hearing(self) -> Ear:
        self._ear = self._ear or Ear(self._post.loop)
        return self._ear

    def _left(self, within: float) -> float:
        return within if self._ends is None else max(0.0, min(within, self._ends - monotonic()))

    async def _undo(self) -> None:
        """Let the abandoned batch settle, so that its undo cannot overtake it; then let the flow undo its work."""
        interruption = asyncio.CancelledError("the flow was interrupted")
        try:
            async with asyncio.timeout(UNDO_WITHIN):
                if self._delivery is not None:
                    self._delivery.drop_unsent()
                    _ = await self._delivery.settled()
                effect = self._flow.throw(interruption)
                while True:
                    effect = self._flow.send(await self._undoing(effect))
        except StopIteration:
            pass
        except asyncio.CancelledError as error:
            if error is not interruption:
                raise
        except Exception:
            log.exception("an interrupted flow could not undo its work")

    async def _undoing(self, effect: Effect) -> Any:
        match effect:
            case Batch():
                if self._post.spread:
                    await self._post.charted(effect.commands, None)
                return await Delivery(self._post, effect.commands, None, True).settled()
            case Wait():  # undoing waits for nobody
                return None
            case _:
                assert_never(effect)
