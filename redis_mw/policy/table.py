"""The table: all rules of one application, compiled, and what they say about a request.

Settings for what is not built yet stop the application at its start: what was meant to protect must never be missing in
silence.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from redis_mw.errors import PolicyError
from redis_mw.policy.patterns import Pattern, compiled
from redis_mw.settings import Limit, Policy, Settings, is_default
from redis_mw.settings.policies import OnSession

NO_PARAMETERS: Mapping[str, str] = {}

Entries: TypeAlias = Callable[[Policy, str, frozenset[str]], Any]
"""Makes of a policy, the place where it stands and the parameters of its path what the table holds of it; None where
its feature is turned off.
"""


class SessionPolicy(NamedTuple):
    """What holds for a request's session. ``touch``: whether the request counts as activity."""

    mode: OnSession = "auto"
    touch: bool = True


class Ruled(NamedTuple):
    """What one rule asks for of a feature, and the parameters of the path as it reads it."""

    entry: Any
    parameters: Mapping[str, str]


class Policies(NamedTuple):
    """What the rules say of a request; entries are in the form that the features' rooms have given them."""

    session: SessionPolicy = SessionPolicy()
    limits: tuple[Any, ...] = ()
    lock: Ruled | None = None
    idempotency: Ruled | None = None
    cache: Ruled | None = None


class _Row(NamedTuple):
    """What one rule sets; None is left to the rules after it."""

    pattern: Pattern
    methods: frozenset[str] | None
    mode: OnSession | None = None
    touch: bool | None = None
    limits: tuple[Any, ...] = ()
    lock: Any = None
    idempotency: Any = None
    cache: Any = None

    @property
    def says_something(self) -> bool:
        found = (self.mode, self.touch, self.lock, self.idempotency, self.cache)
        return bool(self.limits) or any(each is not None for each in found)

    def ruled(self, entry: Any, path: str) -> Ruled:
        return Ruled(entry, NO_PARAMETERS if self.pattern.literal else self.pattern.match(path) or NO_PARAMETERS)


class Table:
    """The rules of one application, ``entries`` made of them. PolicyError where they ask for what this version has
    not.
    """

    def __init__(self, settings: Settings, entries: Entries = lambda policy, place, parameters: None) -> None:
        missing = [*_not_built(settings)]
        if missing:
            raise PolicyError("\n".join(missing))
        self._default = Policies(limits=_default_limits(settings, entries))
        rows = tuple(_rows(settings, entries))
        # A literal path finds its rows, those of patterns that match it among them, by one look into a dict.
        self._literal = {
            row.pattern.text: tuple(each for each in rows if each.pattern.match(row.pattern.text) is not None)
            for row in rows
            if row.pattern.literal
        }
        self._patterned = tuple(row for row in rows if not row.pattern.literal)
        self.caches = any(row.cache is not None for row in rows)
        """Whether a rule has responses kept."""

    def policies(self, method: str, path: str) -> Policies:
        """The first rule that matches and sets ``session`` decides it, so for ``touch``; then ``sessions.skip``. So for
        a lock and for idempotency, whose policies may be for some methods only.

        The limits of all rules that match add up, after those that hold everywhere.
        """
        rows = self._literal.get(path)
        if rows is None:
            rows = tuple(row for row in self._patterned if row.pattern.match(path) is not None)
        if not rows:
            return self._default
        mode: OnSession | None = None
        touch: bool | None = None
        limits, lock, idempotency, cache = self._default.limits, None, None, None
        for row in rows:
            if row.methods is None or method in row.methods:
                mode = row.mode if mode is None else mode
                touch = row.touch if touch is None else touch
                limits += row.limits
                if lock is None and row.lock is not None and row.lock.holds_for(method):
                    lock = row.ruled(row.lock, path)
                if idempotency is None and row.idempotency is not None and row.idempotency.holds_for(method):
                    idempotency = row.ruled(row.idempotency, path)
                if cache is None and row.cache is not None and row.cache.holds_for(method):
                    cache = row.ruled(row.cache, path)
        session = SessionPolicy(mode or "auto", True if touch is None else touch)
        return Policies(session, limits, lock, idempotency, cache)


def _default_limits(settings: Settings, entries: Entries) -> tuple[Any, ...]:
    if settings.limits is None:
        return ()
    found = [
        entries(_limit(limit), f"limits.default[{index}]", frozenset())
        for index, limit in enumerate(settings.limits.default)
    ]
    return tuple(entry for entry in found if entry is not None)


def _rows(settings: Settings, entries: Entries) -> Iterator[_Row]:
    for rule in settings.rules:
        pattern = compiled(rule.path)
        methods = frozenset(rule.methods) if rule.methods is not None else None
        # Not by the rule's number: the counts stay when rules are put in another order.
        place = f"{','.join(sorted(methods)) if methods is not None else '*'} {rule.path}"
        limits = [entries(_limit(limit), f"{place}#{at}", pattern.names) for at, limit in enumerate(rule.limits)]
        row = _Row(
            pattern=pattern,
            methods=methods,
            mode=None if is_default(rule.session) else rule.session,
            touch=None if is_default(rule.touch) else rule.touch,
            limits=tuple(limit for limit in limits if limit is not None),
            lock=entries(rule.lock, place, pattern.names) if rule.lock is not None else None,
            idempotency=entries(rule.idempotency, place, pattern.names) if rule.idempotency is not None else None,
            cache=entries(rule.cache, place, pattern.names) if rule.cache is not None else None,
        )
        if row.says_something:
            yield row
    for path in settings.sessions.skip if settings.sessions is not None else ():
        yield _Row(compiled(path), None, "skip")


def _limit(limit: Limit | str) -> Limit:
    return Limit(limit) if isinstance(limit, str) else limit


def _not_built(settings: Settings) -> Iterator[str]:
    """What the settings ask for in vain. A feature that is off (None) asks for nothing."""
    if settings.wait_replicas:
        yield "wait_replicas: waiting for replicas is not part of this version"
