"""How limits are written: a rate, what it counts by, what a request costs, and what of it counts.

Shapes, and what a rate says in numbers; what is done with these is the business of the limits room. A text that no
limit could mean is an error at start-up.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeAlias

from redis_mw.settings.must import LARGEST, Must, Wrong
from redis_mw.settings.nearest import nearest
from redis_mw.settings.texts import TOKEN, call_path

CLIENTS = ("client", "user", "session", "route", "global")

_S = 1_000_000
_UNITS = {"s": _S, "m": 60 * _S, "h": 3600 * _S, "d": 86_400 * _S, "w": 7 * 86_400 * _S}
MONTH_US = 30 * 86_400 * _S
"""A month where no calendar is meant: thirty days."""
LONGEST_US = 5 * 366 * 86_400 * _S

_UNIT = r"(?P<unit>s|sec|m|min|h|d|w|(second|minute|hour|day|week|month)s?)"
_RATE = re.compile(r"(?P<amount>[1-9][0-9]{0,11}) ?/ ?((?P<times>[1-9][0-9]{0,5}) ?)?" + _UNIT)
_IN_FLIGHT = re.compile(r"(?P<amount>[1-9][0-9]{0,11}) in flight")


class Rate(NamedTuple):
    """``amount`` in ``period_us``; with ``months`` the period is also so many calendar months; 0: in flight."""

    amount: int
    period_us: int
    months: int = 0

    @property
    def in_flight(self) -> bool:
        return self.period_us == 0


def parse_rate(text: str) -> Rate:
    """What ``"5/minute"``, ``"100/15m"``, ``"1000/day"`` or ``"20 in flight"`` says; ValueError for anything else."""
    if flying := _IN_FLIGHT.fullmatch(text):
        return Rate(int(flying["amount"]), 0)
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a rate")
    amount, times, unit = int(found["amount"]), int(found["times"] or 1), found["unit"]
    months = times if unit.startswith("month") else 0
    period_us = times * (MONTH_US if months else _UNITS[unit[0]])
    if period_us > LONGEST_US:
        raise ValueError(f"{text!r} has a period of more than five years")
    return Rate(amount, period_us, months)


def _rate(text: str) -> Wrong | None:
    if text.startswith("call:"):
        return call_path(text)
    try:
        _ = parse_rate(text)
    except ValueError as error:
        return Wrong(str(error), 'write it like "5/minute", "100/15m", "1000/day" or "20 in flight"')
    return None


def _cost(cost: int | str) -> Wrong | None:
    if isinstance(cost, int):
        return None if 1 <= cost <= LARGEST else Wrong("is out of range", "it must be at least 1")
    if cost.startswith("call:"):
        return call_path(cost)
    return Wrong(f"{cost!r} is no cost", 'give a number, a callable or "call:package.module.function"')


def _by(text: str) -> Wrong | None:
    if text.startswith("call:"):
        return call_path(text)
    if text.startswith("header:"):
        name = text.removeprefix("header:")
        return None if TOKEN.fullmatch(name) else Wrong(f"{text!r} names no header", 'write it like "header:X-Api-Key"')
    return None if text in CLIENTS else Wrong(f"{text!r} is not known", nearest(text, (*CLIENTS, "header:<name>")))


def _counted(text: str) -> Wrong | None:
    if text.startswith("call:"):
        return call_path(text)
    return None if text in ("all", "failed") else Wrong(f"{text!r} is not known", nearest(text, ("all", "failed")))


def _named(text: str) -> Wrong | None:
    return call_path(text) if text else Wrong("is empty", "name what is locked or kept apart")


RateText: TypeAlias = Annotated[str, Must(_rate)] | Callable[..., str | None]
Cost: TypeAlias = Annotated[int | str, Must(_cost)] | Callable[..., int]
By: TypeAlias = Annotated[str, Must(_by)] | Callable[..., str | None]
Counted: TypeAlias = Annotated[str, Must(_counted)] | Callable[..., int]
Name: TypeAlias = Annotated[str, Must(_named)] | Callable[..., Any]
"""A template, ``"call:<dotted path>"``, or a callable of the request."""
