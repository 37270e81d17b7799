"""A limit in the numbers that scripts compute with: made once from a policy and a rate, then only read.

``sliding`` cuts the period into sixteen sub-windows and counts seventeen of them, the oldest one whole. A window of one
period never reaches beyond seventeen sub-windows, so none ever holds more than the limit; who uses up all of it is
admitted at 16/17 of the rate in the long run. ``gcra`` (the generic cell rate algorithm of ATM, as a virtual scheduler)
spaces requests evenly after a burst; one period may hold the burst and a full period's requests, unless ``strict``
takes the burst off the rate. ``fixed`` counts in windows of the calendar: UTC days, weeks from Monday, months.
"""

from hashlib import blake2b
from math import ceil
from typing import Literal, TypeAlias

import msgspec

from redis_mw.errors import PolicyError
from redis_mw.settings import Limit, microseconds
from redis_mw.settings.rates import Rate, parse_rate

Kind: TypeAlias = Literal["s", "g", "f", "c"]

RING = 17
PARTS = RING - 1
WEEK_US = 7 * 86_400 * 1_000_000
MONDAY_US = 3 * 86_400 * 1_000_000
"""The epoch was a Thursday."""
SLOT_US = 30_000_000
"""How long a request may be in flight before its slot has to be renewed, or is free again."""


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """One limit, ready to be asked. ``unit_us`` is the width of a sub-window (s), the interval between two requests
    (g), the period or minus the months (f), the lease of a slot (c); ``offset_us`` moves the calendar (f).

    ``ahead`` is how much a process takes in advance for its next requests. ``part`` names it in keys: what the stored
    numbers mean depends on all that is in it. ``period_us`` is 0 for slots. ``words`` are what ``take.lua`` is told.
    """

    limit: Limit
    name: str
    part: str
    kind: Kind
    amount: int
    unit_us: int
    period_us: int = 0
    burst: int = 0
    offset_us: int = 0
    flags: str = ""
    strikes: str = ""
    ahead: int = 0
    words: tuple[str, ...] = ()

    @property
    def needs_id(self) -> bool:
        """Whether what is taken has to be settled by the request's id."""
        return self.kind == "c" or "r" in self.flags

    @property
    def cachable(self) -> bool:
        """Whether a denied repeat changes nothing, so that it need not be asked."""
        return self.kind != "c" and "c" not in self.flags and not self.strikes

    def shared_by(self, workers: int) -> "Quota":
        """The share of one of so many processes that count for themselves; at least one request."""
        if workers == 1:
            return self
        amount, burst = max(1, self.amount // workers), max(1, self.burst // workers)
        unit_us = self.unit_us * workers if self.kind == "g" else self.unit_us
        return msgspec.structs.replace(self, amount=amount, burst=burst, unit_us=unit_us)


def quota_of(limit: Limit, place: str, text: str | None = None) -> Quota:
    """The quota of a limit that stands at ``place``; ``text`` is its rate where a callable says it.

    A limit with a name counts together wherever it stands, one without a name at each place for itself. Raises
    ``PolicyError`` for a rate that cannot be.
    """
    try:
        rate = limit.fixed_rate if text is None else parse_rate(text)
    except (ValueError, TypeError) as error:
        raise PolicyError(f"the limit at {place}: {error}") from None
    if rate is None:
        raise PolicyError(f"the limit at {place} says its rate for each request only")
    if text is not None:
        for problem in limit.against(f"the limit at {place}", rate):
            raise PolicyError(str(problem))
    name = limit.name or f"{rate.amount}-{_period_name(rate)}"
    kind: Kind = "c" if rate.in_flight else {"sliding": "s", "gcra": "g", "fixed": "f"}[limit.algorithm]  # type: ignore[assignment]
    unit_us, burst, offset_us = _unit(limit, rate, kind)
    flags, strikes = _flags(limit), _strikes(limit)
    return Quota(
        limit=limit,
        name=name,
        part=f"{kind}{unit_us}:{identity(limit, place)}",
        kind=kind,
        amount=rate.amount,
        unit_us=unit_us,
        period_us=rate.period_us,
        burst=burst,
        offset_us=offset_us,
        flags=flags,
        strikes=strikes,
        ahead=limit.lease,
        words=(kind, str(rate.amount), str(unit_us), str(offset_us or burst), flags, strikes),
    )


def identity(limit: Limit, place: str) -> str:
    """What tells one limit's counts from another's in keys: its name, or where it stands."""
    return digest(f"n {limit.name}" if limit.name else f"p {place}")


def digest(text: str, key: bytes = b"", size: int = 6) -> str:
    """A short hash for keys, ``2 * size`` hexadecimal digits."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size, key=key).hexdigest()


def _unit(limit: Limit, rate: Rate, kind: Kind) -> tuple[int, int, int]:
    """The unit, the burst and the offset of the calendar."""
    match kind:
        case "s":
            return ceil(rate.period_us / PARTS), 0, 0
        case "g":
            burst = limit.burst or rate.amount
            return ceil(rate.period_us / (rate.amount - burst if limit.strict else rate.amount)), burst, 0
        case "f":
            offset_us = MONDAY_US if rate.period_us % WEEK_US == 0 else 0
            return (-rate.months, 0, 0) if rate.months else (rate.period_us, 0, offset_us)
        case "c":
            return SLOT_US, 0, 0


def _flags(limit: Limit) -> str:
    flags = (
        ("c", limit.on_deny == "charge"),
        ("s", limit.shadow),
        ("r", limit.conditional),
        (f"l{limit.lease}", limit.lease),
    )
    return "".join(flag for flag, up in flags if up)


def _strikes(limit: Limit) -> str:
    strikes = limit.strikes
    if strikes is None:
        return ""
    return f"{strikes.after}:{microseconds(strikes.ban)}:{strikes.factor}:{microseconds(strikes.cap)}"


def _period_name(rate: Rate) -> str:
    if rate.in_flight:
        return "in-flight"
    if rate.months:
        return f"per-{rate.months}mo"
    for suffix, length in (("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60)):
        if rate.period_us % (length * 1_000_000) == 0:
            times = rate.period_us // (length * 1_000_000)
            return f"per-{times if times > 1 else ''}{suffix}"
    return f"per-{rate.period_us // 1_000_000}s"
