"""Server-assisted invalidation as both drivers know it: how to ask for it, what is heard, and whom to tell.

The server pushes the name of every key under some prefixes that is changed, whoever changed it (CLIENT TRACKING in
BCAST mode). It does so on one connection and only for as long as that lasts, so a watcher is told when it began and
when it ended. Each watcher has a connection of its own, which carries nothing else. On one that carries replies too a
flood of invalidations would delay every request, a slow reply would look like silence, and bodies, which travel beside
the small replies, would overtake invalidations all the same.
"""

import random
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from redis_mw.engine.cluster import Address
from redis_mw.errors import CommandError
from redis_mw.events import log
from redis_mw.flows import Argument

PING_S = 1.0
"""Seconds from an answer to the next question whether the server is there. Its answer comes after all that it had to
push until then: who had one has heard everything of before the question."""
SILENT_S = 1.0
"""Seconds within which it must answer."""
FIRST_S = 0.25
LONGEST_S = 5.0
JITTER = 0.25


class Watcher(Protocol):
    """Who wants to know what is changed; must be quick.

    Both drivers of a process may watch for the same one, if it is for the same keys. When one of them ends it the
    other, which has heard everything all the time, begins anew within a second or so.
    """

    @property
    def on(self) -> bool:
        """Whether it has begun since it was ended the last time."""
        ...

    def begin(self) -> None:
        """Every change is told from now on."""
        ...

    def changed(self, keys: Sequence[str] | None) -> None:
        """These keys were changed, expired, were evicted or deleted; None: all were."""
        ...

    def end(self) -> None:
        """Changes may be missed from now on, until it begins again."""
        ...


class Tracking:
    """Tells one watcher what is heard for it, from its beginning to its end. Thread-safe.

    ``refuses`` says whether the driver was told to refuse everything. What a watcher raises is logged; it may have
    missed something then, so it is ended, and begun anew when the server answers the next time.
    """

    def __init__(self, prefixes: tuple[str, ...], watcher: Watcher, refuses: Callable[[], bool]) -> None:
        names = (word for prefix in prefixes for word in ("PREFIX", prefix))
        self.words: tuple[Argument, ...] = ("CLIENT", "TRACKING", "ON", "BCAST", *names)
        self.refuses = refuses
        self._watcher = watcher
        self._hears = False
        self._denied = False
        self._pause_s = FIRST_S
        self._lock = threading.RLock()  # a signal handler that closes the driver may interrupt who closes it

    def answered(self) -> None:
        """The server tracks, and has answered just now on the connection on which it does."""
        self._pause_s = FIRST_S
        if not self._hears or not self._watcher.on:
            with self._lock:
                if not self.refuses():
                    self._hears = True
                    self._tell(self._watcher.begin)

    def pushed(self, message: list[Any]) -> None:
        """What came unasked. Before the first answer it is of no interest: nobody can have read anything by then."""
        if message[0] == b"invalidate":
            keys = None if message[1] is None else [key.decode(errors="surrogateescape") for key in message[1]]
            with self._lock:
                if self._hears:
                    self._tell(lambda: self._watcher.changed(keys))

    def end(self) -> None:
        """The connection is lost, silent or given up. May be called again."""
        with self._lock:
            if self._hears:
                self._end()

    def failed(self, server: str, error: Exception) -> None:
        """An attempt, or the connection that was made, has come to nothing."""
        if isinstance(error, CommandError) and not self._denied:
            self._denied = True
            log.warning("%s does not say what is changed, so nothing is held in memory: %s", server, error)
        else:
            log.info("the connection for invalidations of %s was lost: %s", server, error)

    def pause(self) -> float:
        """Seconds until the next attempt: longer each time until the server has answered."""
        if self.refuses():
            return FIRST_S
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_S)
        return pause_s * (1 - JITTER * random.random())

    def _tell(self, tell: Callable[[], None]) -> None:
        told = False
        try:
            tell()
            told = True
        except Exception:
            log.exception("who watches what is changed failed")
        finally:
            if not told:
                self._end()

    def _end(self) -> None:
        self._hears = False
        try:
            self._watcher.end()
        except Exception:
            log.exception("who watches what is changed failed")


class Chorus:
    """One watcher for the keys of many servers: it is on while every one of them is heard, and off otherwise.

    Each server has a *voice*, a watcher that is told what its Tracking hears. What changes the set of servers ends the
    watcher first; it begins anew once all of the new set are heard, which may be at once. Thread-safe. Nothing is told
    while another call is telling, so "all are heard" and "it has begun" are never of different moments.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._needed: frozenset[Address] = frozenset()
        self._heard: dict[Address, Voice] = {}
        self._begun = False
        self._lock = threading.RLock()  # as in Tracking; that one's is taken before this one, never after

    def voices(self, addresses: Iterable[Address]) -> None:
        """The servers that must be heard from now on; without any the watcher is off."""
        needed = frozenset(addresses)
        with self._lock:
            if needed == self._needed:
                return
            self._needed = needed
            try:
                self._end()
                self._begin()
            except Exception:
                log.exception("who watches what is changed failed")
                self._falter()

    def voice(self, address: Address) -> Watcher:
        """What the Tracking of this server tells; each has one of its own, also when the server comes back."""
        return Voice(self, address)

    def sounds(self, voice: "Voice") -> bool:
        """Whether there is nothing that this voice could begin."""
        with self._lock:
            return self._heard.get(voice.address) is voice and (not self._complete() or self._watcher.on)

    def begin(self, voice: "Voice") -> None:
        """It hears its server from now on."""
        with self._lock:
            self._heard[voice.address] = voice
            self._begin()

    def changed(self, keys: Sequence[str] | None) -> None:
        """One of the voices has heard this; also while others are not heard, what is known is told."""
        with self._lock:
            self._watcher.changed(keys)

    def end(self, voice: "Voice") -> None:
        """It hears its server no more."""
        with self._lock:
            if self._heard.get(voice.address) is voice:
                del self._heard[voice.address]
                if voice.address in self._needed:
                    self._end()

    def _complete(self) -> bool:
        return bool(self._needed) and self._needed <= self._heard.keys()

    def _begin(self) -> None:
        """Also where it was ended by somebody else: all that is heard was heard meanwhile too."""
        if self._complete():
            self._begun = True  # before it is told: it may fail halfway, and must be ended then
            self._watcher.begin()

    def _end(self) -> None:
        if self._begun:
            self._begun = False
            self._watcher.end()

    def _falter(self) -> None:
        try:
            self._end()
        except Exception:
            log.exception("who watches what is changed failed")


class Voice:
    """The watcher of one server in a ``Chorus``."""

    def __init__(self, chorus: Chorus, address: Address) -> None:
        self.address = address
        self._chorus = chorus

    @property
    def on(self) -> bool:
        return self._chorus.sounds(self)

    def begin(self) -> None:
        self._chorus.begin(self)

    def changed(self, keys: Sequence[str] | None) -> None:
        self._chorus.changed(keys)

    def end(self) -> None:
        self._chorus.end(self)
