"""A lock where it stands: which requests it is for, and how its name is made of one."""

from collections.abc import Callable, Container, Sequence
from typing import Any

from redis_mw.errors import PolicyError
from redis_mw.locks.ask import Wanted
from redis_mw.locks.room import Room
from redis_mw.policy.templates import Fill, Template, compiled
from redis_mw.settings import Lock, microseconds, resolve


class Entry:
    """One lock at one ``place``. What users wrote is called with the framework's own request."""

    def __init__(self, policy: Lock, place: str) -> None:
        self.policy = policy
        self.place = place
        self._methods = None if policy.methods is None else frozenset(policy.methods)
        self.template: Template | None = None
        self._call: Callable[[Any], Any] | None = None
        name: Any = policy.name
        if isinstance(name, str) and not name.startswith("call:"):
            self.template = compiled(name)
        else:
            self._call = resolve(name, place)

    @property
    def templates(self) -> tuple[Template, ...]:
        """All that is filled with what a request has."""
        return () if self.template is None else (self.template,)

    def holds_for(self, method: str) -> bool:
        """Whether it is for requests of this method."""
        return self._methods is None or method in self._methods

    def needs_user(self, parameters: Container[str] = ()) -> bool:
        """Whether the session has to be read before the lock is taken, for a path with these parameters."""
        return self.template is not None and "user" in self.template.names and "user" not in parameters

    def name(self, native: Any, fill: Fill) -> str | None:
        """The lock's name for a request; None: it has not what that is made of, and nothing is locked.

        Calls what users wrote; what it raises passes through. ``PolicyError`` for what is no name.
        """
        if self.template is not None:
            return fill(self.template)
        assert self._call is not None
        name = self._call(native)
        if name is None or (isinstance(name, str) and name):
            return name
        raise PolicyError(f"the lock at {self.place}: a name is a text that is not empty, or None, not {name!r:.80}")


def wanted_of(room: Room, named: Sequence[tuple[Entry, str]]) -> Wanted:
    """All locks of one request at once. It waits as long as the least patient of them says, and its lease is the
    longest; ``PolicyError`` where one is shared and another is not.
    """
    if len({entry.policy.shared for entry, _ in named}) > 1:
        raise not_alike(", ".join(entry.place for entry, _ in named))
    first = named[0][0].policy
    ttl, wait = first.ttl, first.wait
    if len(named) > 1:
        ttl = max((entry.policy.ttl or room.ttl for entry, _ in named), key=microseconds)
        waits = [room.wait if entry.policy.wait is None else entry.policy.wait for entry, _ in named]
        wait = min(waits, key=microseconds)
    return room.wanted(tuple(name for _, name in named), ttl, wait, first.shared)


def not_alike(places: str) -> PolicyError:
    """What a request is told for which only some of its locks are shared."""
    return PolicyError(
        f"the locks at {places} hold for one request, and only some are shared: take one of them in the view, by "
        "mw.locks.lock(...)"
    )
