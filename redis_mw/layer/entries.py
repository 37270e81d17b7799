"""Which policies hold for a request: those of the rules, in one table, and those of views, by their marks."""

from collections.abc import Iterable
from typing import TypeAlias

from redis_mw.caching.pages.entry import Entry as Page
from redis_mw.idempotency.entry import Entry as Claimed
from redis_mw.layer.rooms import Rooms
from redis_mw.limits.entry import Entry as Limited
from redis_mw.locks.entry import Entry as Locked
from redis_mw.policy.marks import Mark, Placed
from redis_mw.policy.table import Policies, Table
from redis_mw.policy.templates import OF_SESSION
from redis_mw.settings import Cached, Idempotent, Limit, Lock, Policy, Settings

Entry: TypeAlias = Limited | Locked | Claimed | Page


class Entries:
    """The policies of one application, each compiled once by the room of its feature."""

    def __init__(self, settings: Settings, rooms: Rooms) -> None:
        self._rooms = rooms
        self.needs_routes = False
        """Whether a rule counts by the route, or is filled with what the route may read otherwise in the path, so that
        the route has to be known before the application runs.
        """
        self._table = Table(settings, self._ruled)
        self._marked: dict[tuple[Mark, str], Entry | None] = {}

    def of_rules(self, method: str, path: str) -> Policies:
        """What the rules say of a request."""
        return self._table.policies(method, path)

    def caches(self, path: str, marks: Iterable[Placed]) -> bool:
        """Whether responses to a GET for this path may be kept, which a view with these marks would answer."""
        if self._rooms.caching is None:
            return False
        by_rule = self._table.caches and self.of_rules("GET", path).cache is not None
        return by_rule or any(isinstance(placed.mark.policy, Cached) for placed in marks)

    def of_mark(self, placed: Placed, route: str) -> Entry | None:
        """What a mark asks for, None where its feature is turned off.

        A view that a function has made is called like the others of its making, so its route tells it from them.
        """
        place = f"{placed.place} {route}" if "<locals>" in placed.place else placed.place
        known = placed.mark, place
        if known not in self._marked:
            self._marked[known] = self._compiled(placed.mark.policy, place)
        return self._marked[known]

    def _ruled(self, policy: Policy, place: str, parameters: frozenset[str]) -> Entry | None:
        """An entry of a rule; ``PolicyError`` where its path cannot fill its template."""
        entry = self._compiled(policy, place)
        if isinstance(entry, Limited):
            self.needs_routes = self.needs_routes or "route" in entry.by
        elif entry is not None:
            for template in entry.templates:
                template.must_know(parameters, place)
                self.needs_routes = self.needs_routes or not template.names <= {*OF_SESSION}
        return entry

    def _compiled(self, policy: Policy, place: str) -> Entry | None:
        limits, locks, idempotency, caching = self._rooms
        match policy:
            case Limit() if limits is not None:
                return limits.entry(policy, place)
            case Lock() if locks is not None:
                return Locked(policy, place)
            case Idempotent() if idempotency is not None:
                return idempotency.entry(policy, place)
            case Cached() if caching is not None:
                return Page(policy, place, jitter=caching.jitter)
            case _:
                return None
