"""What the sync driver holds in one process: links, listeners, trackers, detached, shared and tended runs.

A fork leaves all of it behind.
"""

import threading
from collections.abc import Callable

from redis_mw.engine.batches import CLOSED, REFUSED, ROLES
from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.sync.background import Background
from redis_mw.engine.sync.choir import Choir
from redis_mw.engine.sync.fleet import Fleet
from redis_mw.engine.sync.hearing import Hearing
from redis_mw.engine.sync.link import Link
from redis_mw.engine.sync.listener import Listener
from redis_mw.engine.sync.shares import Shares
from redis_mw.engine.sync.tended import Tended
from redis_mw.engine.sync.tracker import Tracker
from redis_mw.engine.tracking import Tracking, Watcher
from redis_mw.errors import RedisUnavailable
from redis_mw.events import Events
from redis_mw.flows import Role
from redis_mw.settings import Settings, seconds

DRAIN_S = 5.0
"""How long the end waits for what is detached."""


class Process:
    """Made on first use, empty until something is asked of it; equal urls share one link.

    A role that is ``spread`` lives on a cluster; only the cache may.
    """

    def __init__(self, settings: Settings, events: Events) -> None:
        self.background = Background()
        self.shares = Shares()
        self.tended = Tended()
        self.closed = False
        self.refuse_all = False
        self.spread: frozenset[Role] = frozenset({"cache"}) if settings.spreads_cache else frozenset()
        self._settings = settings
        self._events = events
        self._lock = threading.Lock()
        self._by_role: dict[Role, Link] = {}
        self._by_url: dict[str, Link] = {}
        self._fleet: Fleet | None = None
        self._listeners: dict[Link, Listener] = {}
        self._heard: set[tuple[Role, str]] = set()
        self._trackers: dict[tuple[Role, tuple[str, ...], int], Tracker | Choir] = {}

    def link(self, role: Role) -> Link:
        """The server on which this role lives, if it is not spread."""
        link = self._by_role.get(role)
        return link if link is not None else self._linked(role)

    def fleet(self) -> Fleet:
        """The servers of the roles that are spread."""
        return self._fleet or self._charting()

    def ping(self) -> None:
        """Raise RedisUnavailable unless every server of the settings answers on a connection of its own."""
        within = seconds(self._settings.warm_up)
        for link in {self.link(role) for role in ROLES if role not in self.spread}:
            link.ping(within)
        if self.spread:
            self.fleet().ping(within)

    def listener(self, link: Link) -> Listener:
        """Who hears the wake-ups of this server."""
        with self._lock:
            if link not in self._listeners:
                self._listeners[link] = Listener(
                    link.endpoint,
                    connect_within=seconds(self._settings.connect_within),
                    warm_up=seconds(self._settings.warm_up),
                    on_failed=link.on_failed,
                )
                if self.closed:
                    self._listeners[link].close()
            return self._listeners[link]

    def hear(self, role: Role, channel: str, heard: Callable[[], None]) -> None:
        """Call ``heard`` for wake-ups of this channel until the end, if nobody is called for it yet."""
        if self.closed or (role, channel) in self._heard:  # as nearly always: asked on every use, so without the lock
            return
        fleet = self.fleet() if role in self.spread else None
        listener = self.listener(self.link(role)) if fleet is None else None
        with self._lock:
            fresh = (role, channel) not in self._heard
            self._heard.add((role, channel))
        if fresh and fleet is not None:
            _ = Hearing(fleet, self.listener, channel, heard)
        elif fresh and listener is not None:
            _ = listener.hear(channel, heard)

    def watch(self, role: Role, prefixes: tuple[str, ...], watcher: Watcher) -> None:
        """Tell the watcher what is changed under these prefixes until the end, if it is not told yet."""
        tracker = self._trackers.get((role, prefixes, id(watcher)))  # its id: it is kept alive, so no other has that
        if self.closed or (tracker is not None and tracker.started):  # as nearly always
            return
        if tracker is None:
            tracker = self._tracker(role, prefixes, watcher)
        tracker.start()
        if self.closed:  # meanwhile
            tracker.close()

    def refusal(self) -> RedisUnavailable | None:
        """What everything is answered now, if nothing is to be sent at all."""
        if self.closed:
            return RedisUnavailable(CLOSED)
        return RedisUnavailable(REFUSED) if self.refuse_all else None

    def refuse(self, refuse: bool) -> None:
        """Whether everything is to be refused from now on; who watches is ended then."""
        self.refuse_all = refuse
        if refuse:
            for tracker in tuple(self._trackers.values()):
                tracker.end()

    def close(self) -> None:
        """End what is tended, wait for what is detached, then end listeners, trackers and connections."""
        self.tended.close()
        self.background.close(DRAIN_S)
        self.closed = True  # before the rest: whoever makes one more listener or link from now on closes it himself
        for listener in tuple(self._listeners.values()):
            listener.close()
        for tracker in tuple(self._trackers.values()):
            tracker.close()
        if self._fleet is not None:
            self._fleet.close()
        for link in tuple(self._by_url.values()):
            link.close()

    def forget(self) -> None:
        """In the child of a fork: let go of the parent's connections, with no word to the server and no lock."""
        for listener in tuple(self._listeners.values()):
            listener.forget()
        for tracker in tuple(self._trackers.values()):
            tracker.forget()
        if self._fleet is not None:
            self._fleet.forget()
        for link in tuple(self._by_url.values()):
            link.forget()

    def _tracker(self, role: Role, prefixes: tuple[str, ...], watcher: Watcher) -> Tracker | Choir:
        tracker: Tracker | Choir
        if role in self.spread:
            tracker = Choir(self.fleet(), self._settings, prefixes, watcher, lambda: self.refuse_all)
        else:
            tracking = Tracking(prefixes, watcher, lambda: self.refuse_all)
            tracker = Tracker(self.link(role).endpoint, self._settings, tracking)
        with self._lock:
            return self._trackers.setdefault((role, prefixes, id(watcher)), tracker)

    def _charting(self) -> Fleet:
        with self._lock:
            if self._fleet is None:
                self._fleet = Fleet(
                    self._settings.url_of("cache"),
                    self._settings,
                    self._events,
                    refuses=lambda: self.refuse_all,
                    lets_go=self._retire,
                )
                if self.closed:
                    self._fleet.close()
            return self._fleet

    def _retire(self, link: Link) -> bool:
        """Whether nobody listens at a server, from now on: it is closed then."""
        with self._lock:
            listener = self._listeners.get(link)
            if listener is not None:
                if not listener.retire():
                    return False
                del self._listeners[link]
            return True

    def _linked(self, role: Role) -> Link:
        with self._lock:
            url = self._settings.url_of(role)
            if url not in self._by_url:
                self._by_url[url] = Link(Endpoint.from_url(url), self._settings, self._events)
                if self.closed:
                    self._by_url[url].close()
            self._by_role[role] = self._by_url[url]
            return self._by_role[role]
