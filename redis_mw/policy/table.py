"""The table: all rules of one application, compiled, and what they say about a request.

Of policies, only those of sessions are built yet. A rule that asks for another one stops the application at its start:
what was meant to protect must never be missing in silence.
"""

from collections.abc import Iterator
from typing import NamedTuple

from redis_mw.errors import PolicyError
from redis_mw.policy.patterns import Pattern, compiled
from redis_mw.settings import Settings, is_default
from redis_mw.settings.policies import OnSession


class SessionPolicy(NamedTuple):
    """What holds for a request's session. ``touch``: whether the request counts as activity."""

    mode: OnSession = "auto"
    touch: bool = True


class _Row(NamedTuple):
    """What one rule sets; None is left to the rules after it."""

    pattern: Pattern
    methods: frozenset[str] | None
    mode: OnSession | None
    touch: bool | None


DEFAULT = SessionPolicy()


class Table:
    """The rules of one application. PolicyError where they ask for what this version does not have."""

    def __init__(self, settings: Settings) -> None:
        missing = [*_not_built(settings)]
        if missing:
            raise PolicyError("\n".join(missing))
        rows = tuple(_rows(settings))
        # A literal path finds its rows, those of patterns that match it among them, by one look into a dict.
        self._literal = {
            row.pattern.text: tuple(each for each in rows if each.pattern.match(row.pattern.text) is not None)
            for row in rows
            if row.pattern.literal
        }
        self._patterned = tuple(row for row in rows if not row.pattern.literal)

    def session_policy(self, method: str, path: str) -> SessionPolicy:
        """The first rule that matches and sets ``session`` decides it, so for ``touch``; then ``sessions.skip``."""
        rows = self._literal.get(path)
        if rows is None:
            rows = tuple(row for row in self._patterned if row.pattern.match(path) is not None)
        if not rows:
            return DEFAULT
        mode: OnSession | None = None
        touch: bool | None = None
        for row in rows:
            if row.methods is None or method in row.methods:
                mode = row.mode if mode is None else mode
                touch = row.touch if touch is None else touch
        return SessionPolicy(mode or DEFAULT.mode, DEFAULT.touch if touch is None else touch)


def _rows(settings: Settings) -> Iterator[_Row]:
    for rule in settings.rules:
        mode = None if is_default(rule.session) else rule.session
        touch = None if is_default(rule.touch) else rule.touch
        if mode is not None or touch is not None:
            methods = frozenset(rule.methods) if rule.methods is not None else None
            yield _Row(compiled(rule.path), methods, mode, touch)
    for path in settings.sessions.skip if settings.sessions is not None else ():
        yield _Row(compiled(path), None, "skip", None)


def _not_built(settings: Settings) -> Iterator[str]:
    """What the settings ask for in vain. A feature that is off (None) asks for nothing."""
    if settings.wait_replicas:
        yield "wait_replicas: waiting for replicas is not part of this version"
    if settings.read_replicas:
        yield "read_replicas: reading from replicas is not part of this version"
    if settings.limits is not None:
        for name in ("named", "default", "deny"):
            if getattr(settings.limits, name):
                yield f"limits.{name}: rate limits are not part of this version"
    for index, rule in enumerate(settings.rules):
        asked = (
            ("limits", bool(rule.limits) and settings.limits is not None, "rate limits are"),
            ("cache", rule.cache is not None and settings.cache is not None, "the response cache is"),
            ("lock", rule.lock is not None and settings.locks is not None, "request locks are"),
            ("idempotency", rule.idempotency is not None and settings.idempotency is not None, "idempotency is"),
        )
        for name, missing, what in asked:
            if missing:
                yield f"rules[{index}].{name}: {what} not part of this version"
