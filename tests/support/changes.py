"""What may be done to a session, alike under every framework: each by itself is a change of it."""

from collections.abc import Callable
from typing import Any

import pytest


def _counts(session: Any) -> None:
    session["visits"] = session.get("visits", 0) + 1


def _tells(session: Any) -> None:
    session["told"].append("you have mail")


CHANGES: dict[str, Callable[[Any], Any]] = {
    "set": _counts,
    "deep": _tells,
    "pop": lambda session: session.pop("told"),
    "regenerate": lambda session: session.regenerate(),
    "login": lambda session: session.login("bob"),
}


def begun(session: Any) -> None:
    """What they need."""
    session.login("ann")
    session["told"] = []


changed = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
