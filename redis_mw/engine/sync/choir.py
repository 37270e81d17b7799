"""Hears for one watcher what is changed on many servers: a tracker for each that may answer us, none for the others."""

from collections.abc import Callable

from redis_mw.engine.cluster import Address
from redis_mw.engine.sync.fleet import Fleet
from redis_mw.engine.sync.tracker import Tracker
from redis_mw.engine.tracking import Chorus, Tracking, Watcher
from redis_mw.settings import Settings


class Choir:
    """Keeps the trackers of one watcher over a fleet, until ``close``; ``forget`` is for the child of a fork.

    The watcher is on only while all of them track: see ``Chorus``. What it is told it is told by their threads, but
    for its end when the servers change, which is told by who has heard of that.
    """

    def __init__(
        self,
        fleet: Fleet,
        settings: Settings,
        prefixes: tuple[str, ...],
        watcher: Watcher,
        refuses: Callable[[], bool],
    ) -> None:
        self._fleet = fleet
        self._settings = settings
        self._prefixes = prefixes
        self._refuses = refuses
        self._chorus = Chorus(watcher)
        self._trackers: dict[Address, Tracker] = {}
        self._closed = False
        self.started = False

    def start(self) -> None:
        """Begin, unless it has begun."""
        self._fleet.follows(self._follow)
        self.started = True  # not before: whoever is cut off here has it done by the next one

    def end(self) -> None:
        """End the watcher; it begins anew when all servers have answered again."""
        for tracker in tuple(self._trackers.values()):
            tracker.end()

    def close(self) -> None:
        """End the trackers, and so the watcher. May be called on any thread, and again."""
        self._closed = True
        trackers = tuple(self._trackers.values())
        for tracker in trackers:
            tracker.stop()
        for tracker in trackers:
            tracker.close()

    def forget(self) -> None:
        """In the child of a fork: the threads are not here; close our copies of their connections."""
        for tracker in tuple(self._trackers.values()):
            tracker.forget()

    def _follow(self) -> None:
        """Called by the fleet, one call at a time."""
        if self._closed:
            return
        addresses = self._fleet.answering
        self._chorus.voices(addresses)  # first: from now on nothing counts that a new one has not confirmed
        for address in self._trackers.keys() - set(addresses):
            self._trackers.pop(address).stop()
        for address in addresses:
            if address not in self._trackers:
                self._trackers[address] = self._tracker(address)
                self._trackers[address].start()
        if self._closed:  # meanwhile
            self.close()

    def _tracker(self, address: Address) -> Tracker:
        link = self._fleet.server(address)
        tracking = Tracking(self._prefixes, self._chorus.voice(address), self._refuses)
        return Tracker(link.endpoint, self._settings, tracking, link.on_failed)
