"""The table: all rules of one application, compiled, and what they say about a request.

Of policies, only those of sessions and limits are built yet. A rule that asks for another one stops the application at
its start: what was meant to protect must never be missing in silence.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from redis_mw.errors import PolicyError
from redis_mw.policy.patterns import Pattern, compiled
from redis_mw.settings import Limit, Settings, is_default
from redis_mw.settings.policies import OnSession


class SessionPolicy(NamedTuple):
    """What holds for a request's session. ``touch``: whether the request counts as activity."""

    mode: OnSession = "auto"
    touch: bool = True


class Policies(NamedTuple):
    """What the rules say of a request; ``limits`` are in the form that the limits room has given them."""

    session: SessionPolicy = SessionPolicy()
    limits: tuple[Any, ...] = ()


class _Row(NamedTuple):
    """What one rule sets; None is left to the rules after it."""

    pattern: Pattern
    methods: frozenset[str] | None
    mode: OnSession | None
    touch: bool | None
    limits: tuple[Any, ...]


class Table:
    """The rules of one application. PolicyError where they ask for what this version does not have.

    ``entry`` makes of a limit, and the place where it stands, what ``Policies.limits`` holds; None where limits are
    turned off.
    """

    def __init__(self, settings: Settings, entry: Callable[[Limit, str], Any] | None = None) -> None:
        missing = [*_not_built(settings)]
        if missing:
            raise PolicyError("\n".join(missing))
        self._default = Policies(limits=_default_limits(settings, entry))
        rows = tuple(_rows(settings, entry))
        # A literal path finds its rows, those of patterns that match it among them, by one look into a dict.
        self._literal = {
            row.pattern.text: tuple(each for each in rows if each.pattern.match(row.pattern.text) is not None)
            for row in rows
            if row.pattern.literal
        }
        self._patterned = tuple(row for row in rows if not row.pattern.literal)

    def policies(self, method: str, path: str) -> Policies:
        """The first rule that matches and sets ``session`` decides it, so for ``touch``; then ``sessions.skip``.

        The limits of all rules that match add up, after those that hold everywhere.
        """
        rows = self._literal.get(path)
        if rows is None:
            rows = tuple(row for row in self._patterned if row.pattern.match(path) is not None)
        if not rows:
            return self._default
        mode: OnSession | None = None
        touch: bool | None = None
        limits = self._default.limits
        for row in rows:
            if row.methods is None or method in row.methods:
                mode = row.mode if mode is None else mode
                touch = row.touch if touch is None else touch
                limits += row.limits
        return Policies(SessionPolicy(mode or "auto", True if touch is None else touch), limits)


def _default_limits(settings: Settings, entry: Callable[[Limit, str], Any] | None) -> tuple[Any, ...]:
    if settings.limits is None or entry is None:
        return ()
    return tuple(
        entry(_limit(limit), f"limits.default[{index}]") for index, limit in enumerate(settings.limits.default)
    )


def _rows(settings: Settings, entry: Callable[[Limit, str], Any] | None) -> Iterator[_Row]:
    for rule in settings.rules:
        mode = None if is_default(rule.session) else rule.session
        touch = None if is_default(rule.touch) else rule.touch
        limits: tuple[Any, ...] = ()
        methods = frozenset(rule.methods) if rule.methods is not None else None
        if entry is not None:
            # Not by the rule's number: the counts stay when rules are put in another order.
            place = f"{','.join(sorted(methods)) if methods is not None else '*'} {rule.path}"
            limits = tuple(entry(_limit(limit), f"{place}#{at}") for at, limit in enumerate(rule.limits))
        if mode is not None or touch is not None or limits:
            yield _Row(compiled(rule.path), methods, mode, touch, limits)
    for path in settings.sessions.skip if settings.sessions is not None else ():
        yield _Row(compiled(path), None, "skip", None, ())


def _limit(limit: Limit | str) -> Limit:
    return Limit(limit) if isinstance(limit, str) else limit


def _not_built(settings: Settings) -> Iterator[str]:
    """What the settings ask for in vain. A feature that is off (None) asks for nothing."""
    if settings.wait_replicas:
        yield "wait_replicas: waiting for replicas is not part of this version"
    if settings.read_replicas:
        yield "read_replicas: reading from replicas is not part of this version"
    for index, rule in enumerate(settings.rules):
        asked = (
            ("cache", rule.cache is not None and settings.cache is not None, "the response cache is"),
            ("lock", rule.lock is not None and settings.locks is not None, "request locks are"),
            ("idempotency", rule.idempotency is not None and settings.idempotency is not None, "idempotency is"),
        )
        for name, missing, what in asked:
            if missing:
                yield f"rules[{index}].{name}: {what} not part of this version"
