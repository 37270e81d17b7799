"""How limits are written: the shape of a rate, of what it counts by and of what it counts.

Only shapes: what a rate means is the business of the limits room. A text that no limit could mean is an error at
start-up all the same.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from redis_mw.settings.must import Must, Wrong
from redis_mw.settings.nearest import nearest
from redis_mw.settings.texts import TOKEN, call_path

CLIENTS = ("client", "user", "session", "route", "global")

_UNIT = r"(s|sec|m|min|h|d|w|(second|minute|hour|day|week|month)s?)"
_RATE = re.compile(r"[1-9][0-9]{0,11} ?/ ?([1-9][0-9]{0,5} ?)?" + _UNIT)
_IN_FLIGHT = re.compile(r"[1-9][0-9]{0,11} in flight")


def _rate(text: str) -> Wrong | None:
    if text.startswith("call:"):
        return call_path(text)
    if _RATE.fullmatch(text) or _IN_FLIGHT.fullmatch(text):
        return None
    return Wrong(f"{text!r} is not a rate", 'write it like "5/minute", "100/15m", "1000/day" or "20 in flight"')


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


Rate: TypeAlias = Annotated[str, Must(_rate)] | Callable[..., str | None]
By: TypeAlias = Annotated[str, Must(_by)] | Callable[..., str | None]
Counted: TypeAlias = Annotated[str, Must(_counted)] | Callable[..., int]
Name: TypeAlias = Annotated[str, Must(_named)] | Callable[..., Any]
"""A template, ``"call:<dotted path>"``, or a callable of the request."""
