"""A limit where it stands: its policy with every dotted path resolved, and its quota where the rate is known."""

from collections.abc import Callable
from typing import Any

from redis_mw.errors import PolicyError
from redis_mw.limits.caller import By
from redis_mw.limits.quota import Quota, quota_of
from redis_mw.settings import Limit, resolve

MOST_RATES = 256


class Entry:
    """One limit at one ``place``. What users wrote is called with the framework's own request or response."""

    def __init__(self, limit: Limit, place: str) -> None:
        self.limit = limit
        self.place = place
        self.by: tuple[By, ...] = tuple(_resolved(each, place) for each in by_of(limit))
        self.methods = None if limit.methods is None else frozenset(limit.methods)
        rate: Any = limit.rate
        self._rate = None if limit.fixed_rate is not None else resolve(rate, place)
        self._quota = quota_of(limit, place) if self._rate is None else None
        self._quotas: dict[str, Quota] = {}
        self._cost = limit.cost if isinstance(limit.cost, int) else resolve(limit.cost, place)
        count: Any = limit.count
        self._count: Callable[[Any], int] | None = None if count in ("all", "failed") else resolve(count, place)

    @property
    def dynamic(self) -> bool:
        """Whether a callable says the rate, each time anew."""
        return self._rate is not None

    @property
    def needs_user(self) -> bool:
        return "user" in self.by

    def quota(self, native: Any) -> Quota | None:
        """The quota for this request; None where a callable says that there is no limit."""
        if self._rate is None:
            return self._quota
        text = self._rate(native)
        if text is None:
            return None
        found = self._quotas.get(text)
        if found is None:
            if len(self._quotas) >= MOST_RATES:
                self._quotas.clear()
            found = self._quotas[text] = quota_of(self.limit, self.place, text)
        return found

    def cost(self, native: Any) -> int:
        """What the request takes before it is known what it does."""
        return self._cost if isinstance(self._cost, int) else _units(self._cost(native), self.place, least=1)

    def counted(self, taken: int, status: int, response: Any) -> int:
        """How much of what was taken counts, now that the response is known; it may be more than was taken."""
        if self.limit.count == "failed":
            return taken if status >= 400 else 0
        if self._count is None or response is None:
            return taken
        return _units(self._count(response), self.place, least=0)


def by_of(limit: Limit) -> tuple[By, ...]:
    """What a limit counts by, as a tuple."""
    by: Any = limit.by
    return tuple(by) if isinstance(by, (list, tuple)) else (by,)


def _resolved(by: By, place: str) -> By:
    return resolve(by, place) if not isinstance(by, str) or by.startswith("call:") else by


def _units(value: Any, place: str, *, least: int) -> int:
    if isinstance(value, int) and value >= least:
        return value
    raise PolicyError(f"the limit at {place}: a cost is a whole number of at least {least}, not {value!r:.80}")
