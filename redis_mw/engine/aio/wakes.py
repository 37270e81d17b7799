"""Wake-ups for the async driver: who waits for a channel, and the one subscribed connection that hears them.

A flow has an ``Ear`` from its first batch that may be followed by a ``Wait`` until it ends; what is heard in between
is kept. A ``Hearer`` is called until the end. Wake-ups may be lost while the connection is: everybody is woken when it
is back, with an empty message, and looks for himself.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from contextvars import Context
from typing import Any

from redis_mw.engine.aio.station import Station
from redis_mw.engine.aio.wire import Exchange
from redis_mw.engine.resp import packed
from redis_mw.events import log

PING_S = 5.0
"""Seconds between two questions whether a connection on which somebody is to hear for ever has fallen silent."""


class Ear:
    """What one flow has been woken for and has not waited for yet."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._woken: dict[str, bytes] = {}
        self._waits_for: Collection[str] = ()
        self._heard: asyncio.Future[tuple[str, bytes] | None] | None = None
        self._joined: list[tuple[WakeUps, str]] = []

    async def join(self, wake_ups: "WakeUps", channels: Collection[str], within: float) -> bool:
        """Hear these channels from now on; False if the server has not confirmed that in time."""
        known = {channel for _, channel in self._joined}
        self._joined += [(wake_ups, channel) for channel in channels if channel not in known]
        return await wake_ups.join(self, channels, within)

    def knows(self, channels: Collection[str]) -> bool:
        """Whether it has been asked to hear all of these."""
        return set(channels) <= {channel for _, channel in self._joined}

    def wake(self, channel: str, message: bytes) -> None:
        """Somebody woke the channel."""
        if self._heard is not None and not self._heard.done() and channel in self._waits_for:
            self._heard.set_result((channel, message))
        else:
            self._woken[channel] = message

    async def wait(self, channels: Collection[str], within: float) -> tuple[str, bytes] | None:
        """The channel that was woken, perhaps before this was called, and its last message; None: the time is over."""
        for channel in channels:
            if channel in self._woken:
                return channel, self._woken.pop(channel)
        self._waits_for = channels
        heard: asyncio.Future[tuple[str, bytes] | None] = self._loop.create_future()
        self._heard = heard
        timer = self._loop.call_later(within, lambda: None if heard.done() else heard.set_result(None))
        try:
            return await heard
        finally:
            timer.cancel()
            self._heard = None

    def close(self) -> None:
        """The flow has ended: nobody waits here any more."""
        for wake_ups, channel in self._joined:
            wake_ups.leave(self, channel)
        self._joined.clear()


class Hearer:
    """Somebody who is called for each wake-up."""

    def __init__(self, heard: Callable[[], None]) -> None:
        self._heard = heard

    def wake(self, channel: str, _message: bytes) -> None:
        try:
            self._heard()
        except Exception:
            log.exception("what was to be called for channel %s failed", channel)


class WakeUps:
    """The ears that listen to one server, over one connection that is subscribed to their channels."""

    def __init__(self, station: Station, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lane = station.wake_lane(self._pushed, self._lost, self._resubscribe)
        self._ears: dict[str, set[Ear | Hearer]] = {}
        self._asked: dict[str, asyncio.Future[None]] = {}
        self._missed: set[str] = set()
        self._owed: Counter[str] = Counter()
        self._patience = station.longest_connect + 1.0
        self._next_ping: asyncio.TimerHandle | None = None

    async def join(self, ear: Ear, channels: Collection[str], within: float) -> bool:
        """Register ``ear``; True once the server has confirmed every channel."""
        for channel in channels:
            self._ears.setdefault(channel, set()).add(ear)
        fresh = [channel for channel in channels if channel not in self._asked]
        if fresh:
            self._asked.update((channel, self._loop.create_future()) for channel in fresh)
            self._subscribe(fresh)
        confirmations = {self._asked[channel] for channel in channels}
        if any(not confirmed.done() for confirmed in confirmations):
            _ = await asyncio.wait(confirmations, timeout=within)
        return all(confirmed.done() for confirmed in confirmations)

    def hear(self, channel: str, heard: Callable[[], None]) -> Hearer:
        """Call ``heard`` for each wake-up until it leaves, and whenever one may have been missed; does not wait.

        Before the server has confirmed, all may have been missed: the first call is its confirmation.
        """
        hearer = Hearer(heard)
        self._ears.setdefault(channel, set()).add(hearer)
        self._missed.add(channel)
        _ = self._asked.setdefault(channel, self._loop.create_future())
        self._subscribe([channel])  # also where others listen already, for the confirmation's sake
        if self._next_ping is None:
            self._ping_later()
        return hearer

    @property
    def heeded(self) -> bool:
        """Whether anybody listens here."""
        return bool(self._ears)

    def close(self) -> None:
        """Ask no more whether the connection lives; it is closed by its station."""
        if self._next_ping is not None:
            self._next_ping.cancel()

    def leave(self, ear: Ear | Hearer, channel: str) -> None:
        """Forget ``ear``; the last one to leave a channel ends its subscription."""
        ears = self._ears.get(channel, set())
        ears.discard(ear)
        if not ears and channel in self._ears:
            del self._ears[channel]
            del self._asked[channel]
            self._missed.discard(channel)
            self._send("UNSUBSCRIBE", [channel])

    def _subscribe(self, channels: Collection[str]) -> None:
        self._owed.update(channels)
        self._send("SUBSCRIBE", channels)

    def _send(self, word: str, channels: Collection[str]) -> None:
        """Only pushes answer (UN)SUBSCRIBE; the PING behind it makes the wire notice a server that fell silent."""
        self._lane.send(Exchange(self._loop, packed([(word, *channels), ("PING",)]), 1, self._patience))

    def _ping_later(self) -> None:
        self._next_ping = self._loop.call_later(PING_S, self._ping, context=Context())

    def _ping(self) -> None:
        """A flow's wait has an end; who hears for ever would never notice a line that is dead without a word."""
        self._next_ping = None
        if any(isinstance(ear, Hearer) for ears in self._ears.values() for ear in ears):
            self._lane.send(Exchange(self._loop, packed([("PING",)]), 1, self._patience))
            self._ping_later()

    def _pushed(self, message: list[Any]) -> None:
        kind, channel = message[0], message[1].decode() if isinstance(message[1], bytes) else ""
        if kind == b"message":
            self._wake(channel, message[2])
        elif kind == b"subscribe":
            self._owed[channel] -= 1
            asked = self._asked.get(channel)
            if asked is None or self._owed[channel] > 0:  # confirms one that we have left since; ours is still to come
                return
            del self._owed[channel]
            if not asked.done():
                asked.set_result(None)
            if channel in self._missed:
                self._missed.discard(channel)
                self._wake(channel, b"")

    def _wake(self, channel: str, message: bytes) -> None:
        for ear in tuple(self._ears.get(channel, ())):
            ear.wake(channel, message)

    def _lost(self) -> None:
        self._missed.update(self._ears)
        for channel, asked in self._asked.items():
            if asked.done():
                self._asked[channel] = self._loop.create_future()
        self._resubscribe()

    def _resubscribe(self) -> None:
        self._owed.clear()
        if self._ears:
            self._subscribe(list(self._ears))
