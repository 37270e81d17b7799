"""What a request asks for, as one hash: a repeat must ask for the same, or its key is used for something else.

SHA-256 over method, path, query, content type and body. What differs between two sendings of one request does not
count: the order of different names in the query, how the content type is spelled, and the boundary that clients draw
anew for each multipart body.
"""

import re
from collections.abc import Iterator
from hashlib import sha256

_PARAMETER = re.compile(r'[ \t]*([^=;" \t]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;]*)')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

LONGEST_BOUNDARY = 200
"""RFC 2046 section 5.1.1 allows 70; what is longer than this is taken as it is."""
MARK = b"\0--boundary--\0"


class Fingerprint:
    """Takes the body chunk by chunk, however it is cut; ``size`` is what it was given so far."""

    def __init__(self, method: str, path: str, query: str = "", content_type: str = "") -> None:
        kind, boundary = content_type_of(content_type)
        self.size = 0
        self._hash = sha256()
        self._boundary = b"--" + boundary if boundary else b""
        self._held = b""
        for text in (method, path, sorted_query(query), kind):
            data = text.encode("utf-8", "surrogatepass")
            self._hash.update(b"%d:" % len(data))
            self._hash.update(data)

    def add(self, chunk: bytes) -> None:
        """The next part of the body."""
        self.size += len(chunk)
        if not self._boundary:
            self._hash.update(chunk)
            return
        *parts, rest = (self._held + chunk).split(self._boundary)
        for part in parts:
            self._hash.update(part)
            self._hash.update(MARK)
        # The last bytes may be the beginning of a boundary.
        cut = max(0, len(rest) - len(self._boundary) + 1)
        self._hash.update(rest[:cut])
        self._held = rest[cut:]

    def digest(self) -> bytes:
        """The hash, 32 bytes, as if what was added were all. More may be added afterwards."""
        final = self._hash.copy()
        final.update(self._held)
        return final.digest()


def sorted_query(query: str) -> str:
    """The query by name; values of one name keep their order, which may mean something."""
    return "&".join(sorted(filter(None, query.split("&")), key=lambda pair: pair.partition("=")[0]))


def content_type_of(field: str) -> tuple[str, bytes]:
    """A content type in one spelling, and the boundary if it is a multipart one.

    Of the parameters ``boundary`` is left out, and ``charset=utf-8``, which is what its absence means today.
    """
    media, _, rest = field.partition(";")
    media = media.strip(" \t").lower()
    boundary, kept = b"", [media]
    for name, value in sorted(_parameters(rest)):
        if name == "boundary" and media.startswith("multipart/"):
            boundary = value.encode("utf-8", "surrogatepass")
            if len(boundary) <= LONGEST_BOUNDARY:
                continue
            boundary = b""
        if name == "charset":
            value = value.lower()
            if value in ("utf-8", "utf8"):
                continue
        kept.append(f"{name}={value}")
    return ";".join(kept), boundary


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    for found in _PARAMETER.finditer(text):
        value = found[2].strip(" \t")
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = _ESCAPED.sub(r"\1", value[1:-1])
        yield found[1].lower(), value
