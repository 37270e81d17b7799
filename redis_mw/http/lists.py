"""Fields that hold a list, over all their lines: cut at commas outside quotes, in linear time, whatever was sent."""

import re
from collections.abc import Iterable, Iterator

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
"""A token (RFC 9110 section 5.6.2), for patterns."""

QUOTED = r'"(?:[^"\\]|\\.)*+"'
"""A quoted string (RFC 9110 section 5.6.4), for patterns; which characters stand in it is not looked at."""

_PIECE = re.compile(QUOTED + r'|[,"]', re.DOTALL)
_TOKEN = re.compile(TOKEN)
_SPACE = " \t"


def elements(lines: Iterable[str]) -> Iterator[str]:
    """The elements of a list (RFC 9110 section 5.6.1), without the empty ones and the white space around them.

    Each line is read for itself, so a quote that is never closed hides nothing that stands on another line; nor does
    it hide the rest of its own, which is cut at every comma.
    """
    for line in lines:
        for part in _split(line) if '"' in line else line.split(","):
            if text := part.strip(_SPACE):
                yield text


def _split(line: str) -> Iterator[str]:
    start = 0
    for piece in _PIECE.finditer(line):
        if piece[0] == ",":
            yield line[start : piece.start()]
            start = piece.end()
        elif piece[0] == '"':
            yield from line[start:].split(",")
            return
    yield line[start:]


def is_token(text: str) -> bool:
    """Whether a text is a token (RFC 9110 section 5.6.2), as the names of fields and methods are."""
    return _TOKEN.fullmatch(text) is not None
