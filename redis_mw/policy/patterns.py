"""How path patterns match: the whole decoded path, case-sensitively. Their grammar is ``settings.paths``."""

import re

import msgspec

from redis_mw.errors import PolicyError
from redis_mw.settings.paths import Segment, parse


class Pattern(msgspec.Struct, frozen=True):
    """A compiled pattern, with the names of its parameters. ``literal``: it matches nothing but its own text."""

    text: str
    literal: bool
    names: frozenset[str]
    regex: re.Pattern[str]

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters by name, or None where the path does not match as a whole."""
        found = self.regex.fullmatch(path)
        return found.groupdict() if found is not None else None


def compiled(text: str) -> Pattern:
    """Compile a pattern; PolicyError says what is wrong with it."""
    try:
        segments = parse(text)
    except ValueError as error:
        raise PolicyError(f"{text!r} is not a path pattern: {error}") from None
    regex = re.compile("".join(f"/{_regex(segment)}" for segment in segments), re.DOTALL)
    literal = all(segment.kind == "literal" for segment in segments)
    return Pattern(text, literal, frozenset(regex.groupindex), regex)


def _regex(segment: Segment) -> str:
    match segment.kind:
        case "literal":
            return re.escape(segment.text)
        case "one":
            return f"(?P<{segment.text}>[^/]+)"
        case "rest":
            return f"(?P<{segment.text}>.*)" if segment.text else ".*"
