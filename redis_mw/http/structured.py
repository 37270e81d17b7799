"""Structured fields (RFC 9651), read strictly: what does not parse as a whole is as if it had not been sent."""

from collections.abc import Mapping, Sequence
from typing import Any

import http_sf


def dictionary(lines: Sequence[str]) -> Mapping[str, Any] | None:
    """The members of a Dictionary without their parameters, None for what is none; never raises."""
    members = _parsed(lines, "dictionary")
    return None if members is None else {name: _bare(member) for name, member in members.items()}


def strings(lines: Sequence[str]) -> tuple[str, ...] | None:
    """The members of a List of Strings without their parameters, None for what is none; never raises."""
    members = _parsed(lines, "list")
    found = None if members is None else tuple(_bare(member) for member in members)
    return found if found is not None and all(isinstance(member, str) for member in found) else None


def _bare(member: Any) -> Any:
    return member[0] if isinstance(member, tuple) else member


def _parsed(lines: Sequence[str], kind: str) -> Any:
    try:
        return http_sf.parse(", ".join(lines).encode("ascii"), tltype=kind)
    except (ValueError, OverflowError):
        # Not ASCII, not a structured field, or a Date that no calendar has.
        return None
