"""Hears for one watcher what is changed on many servers: a tracker for each that may answer us, none for the others."""

import asyncio
from collections.abc import Callable
from contextvars import Context

from redis_mw.engine.aio.fleet import Fleet
from redis_mw.engine.aio.tracker import Tracker
from redis_mw.engine.cluster import Address
from redis_mw.engine.tracking import Chorus, Tracking, Watcher


class Choir:
    """Keeps the trackers of one watcher over a fleet, from now on until ``close``.

    The watcher is on only while all of them track: see ``Chorus``.
    """

    def __init__(
        self,
        fleet: Fleet,
        prefixes: tuple[str, ...],
        watcher: Watcher,
        refuses: Callable[[], bool],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._fleet = fleet
        self._prefixes = prefixes
        self._refuses = refuses
        self._loop = loop
        self._chorus = Chorus(watcher)
        self._trackers: dict[Address, Tracker] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False
        fleet.follows(self._follow)

    def end(self) -> None:
        """End the watcher; it begins anew when all servers have answered again."""
        for tracker in self._trackers.values():
            tracker.end()

    async def close(self) -> None:
        """End the watcher, then every tracker."""
        self._closed = True
        self._chorus.voices(())
        for tracker in tuple(self._trackers.values()):
            await tracker.close()
        for leaving in tuple(self._leaving):
            _ = await asyncio.wait({leaving})

    def _follow(self) -> None:
        if self._closed:
            return
        addresses = self._fleet.answering
        self._chorus.voices(addresses)  # first: from now on nothing counts that a new one has not confirmed
        for address in self._trackers.keys() - set(addresses):
            leaving = self._loop.create_task(self._trackers.pop(address).close(), context=Context())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
        for address in addresses:
            if address not in self._trackers:
                tracking = Tracking(self._prefixes, self._chorus.voice(address), self._refuses)
                self._trackers[address] = Tracker(
                    self._fleet.server(address), tracking, self._loop, on_failed=self._fleet.look
                )
