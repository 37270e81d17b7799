"""Cache-Control as values: every line, any case, token and quoted form; no bytes are an exception (RFC 9111 5.2).

A directive that forbids counts however badly it is written; one that allows counts only where it is well-formed. So a
mistake of the sender never makes a response more public, or longer-lived, than it was meant to be.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import http_sf
import msgspec

from redis_mw.http.lists import QUOTED, TOKEN, elements
from redis_mw.http.request import Headers
from redis_mw.http.structured import dictionary

LONGEST = 2**31
"""Seconds that stand for any larger number (RFC 9111 section 1.2.2)."""

TARGETED = "cdn-cache-control"
"""The one targeted field on our list (RFC 9213 section 3.1)."""

_SECONDS = frozenset({"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"})
"""Directives of a response whose argument is a number of seconds."""

_DIRECTIVE = re.compile(rf"({TOKEN})(?:=({TOKEN}|{QUOTED}))?", re.DOTALL)
_NAMES = re.compile(TOKEN)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_DIGITS = re.compile(r"[0-9]+")


class Directives(msgspec.Struct, frozen=True, gc=False):
    """The directives of a message. Names are in lower case; unknown ones are kept.

    ``arguments`` holds the well-formed ones, each with all its arguments (None: it had none); ``malformed`` the names
    that stand in what could not be read. ``targeted``: they came from a targeted field, so Expires does not count.
    """

    arguments: Mapping[str, tuple[str | None, ...]] = {}
    malformed: frozenset[str] = frozenset()
    targeted: bool = False

    def __contains__(self, name: str) -> bool:
        """Whether the directive is named at all, in any form: the question for what forbids.

        ``private="field"`` and ``no-cache="field"`` are taken for the whole response, as RFC 9111 sections 5.2.2.4
        and 5.2.2.7 let caches do.
        """
        return name in self.arguments or name in self.malformed

    def allows(self, name: str) -> bool:
        """Whether the directive is there as it should be, without an argument: the question for what allows."""
        return name not in self.malformed and set(self.arguments.get(name, ())) == {None}

    def seconds(self, name: str) -> int | None:
        """The smallest number of seconds given; None: not named; what is no number is 0 (RFC 9111 section 4.2.1)."""
        if name in self.malformed:
            return 0
        arguments = self.arguments.get(name)
        return min((delta_seconds(each) or 0) for each in arguments) if arguments else None


def delta_seconds(text: str | None) -> int | None:
    """A number of seconds (RFC 9111 section 1.2.2): ASCII digits only, at most ``LONGEST``; None for anything else."""
    if text is None or not _DIGITS.fullmatch(text):
        return None
    digits = text.lstrip("0")
    # Python refuses to read numbers of some thousand digits.
    return LONGEST if len(digits) > 10 else min(int(digits or "0"), LONGEST)


def parse_directives(lines: Sequence[str]) -> Directives:
    """The directives of all lines of a Cache-Control field (RFC 9111 section 5.2); never raises."""
    if not lines:
        return NONE
    arguments: dict[str, tuple[str | None, ...]] = {}
    malformed: set[str] = set()
    for element in elements(lines):
        found = _DIRECTIVE.fullmatch(element)
        if found is None:
            # Whatever looks like a name in it: "max-age=60; private" is private.
            malformed.update(name.lower() for name in _NAMES.findall(element))
            continue
        name = found[1].lower()
        arguments[name] = (*arguments.get(name, ()), _unquoted(found[2]))
    return Directives(arguments, frozenset(malformed))


def _unquoted(argument: str | None) -> str | None:
    if argument is None or not argument.startswith('"'):
        return argument
    return _ESCAPED.sub(r"\1", argument[1:-1])


def request_directives(headers: Headers) -> Directives:
    """What a request asks of caches; Pragma counts only where it sends no Cache-Control (RFC 9111 section 5.4)."""
    lines = headers.get_all("cache-control")
    if not lines and (pragma := headers.get_all("pragma")):
        return NO_CACHE if "no-cache" in parse_directives(pragma) else NONE
    return parse_directives(lines)


def response_directives(headers: Headers) -> Directives:
    """What a response says to us: its targeted field where that is valid and not empty, else its Cache-Control.

    The targeted field replaces Cache-Control and Expires altogether (RFC 9213 section 2.2). Pragma means nothing in a
    response (RFC 9111 section 5.4).
    """
    if lines := headers.get_all(TARGETED):
        members = dictionary(lines)
        if members:
            return _targeted(members)
    return parse_directives(headers.get_all("cache-control"))


def _targeted(members: Mapping[str, Any]) -> Directives:
    """Members as directives (RFC 9213 section 2.1). What has a type that no directive has is malformed."""
    arguments: dict[str, tuple[str | None, ...]] = {}
    malformed: set[str] = set()
    for name, value in members.items():
        argument = _argument(name, value)
        if argument:
            arguments[name] = argument
        else:
            malformed.add(name)
    return Directives(arguments, frozenset(malformed), targeted=True)


def _argument(name: str, value: object) -> tuple[str | None, ...]:
    """The one argument a member has, nothing where its type is wrong. Seconds must be an Integer, not a String."""
    if value is True:
        return (None,)
    right = (int,) if name in _SECONDS else (int, str, http_sf.Token)
    return (str(value),) if type(value) in right else ()


NONE = Directives()
NO_CACHE = Directives({"no-cache": (None,)})
