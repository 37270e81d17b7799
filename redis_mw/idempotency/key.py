"""The Idempotency-Key field of a request: a structured-field String (draft-ietf-httpapi-idempotency-key-header-07).

What many clients send instead, the key without its quotes, is accepted as well and is the same key. Parameters are
checked and ignored, as RFC 9651 section 3.1.2 asks of those that nobody knows.
"""

import re
from collections.abc import Sequence

import http_sf
import msgspec

LONGEST = 255
"""Bytes of a key; a UUID has 36."""

# A token of RFC 9651 that may begin with a digit, as UUIDs do, and end with the padding of base64. One that begins with
# a single quote was meant to be something else.
_BARE = re.compile(r"[!#$%&*+\-.^_`|~0-9A-Za-z][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*=*")
_SPACE = " \t"


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """The field is there and holds no key; ``detail`` may be told to the client."""

    detail: str


def key_of(lines: Sequence[str]) -> str | Malformed | None:
    """The key that a request came with, None if it has none. ``lines`` are all values of the field; never raises."""
    if not lines:
        return None
    if len(lines) > 1:
        return Malformed("The field was sent more than once.")
    key = _read(lines[0].strip(_SPACE))
    if key is None:
        return Malformed('The field is not a string in quotes ("8e03978e-40d5-43e8-bc93-6894a57f9324") or a token.')
    if not key:
        return Malformed("The key is empty.")
    if len(key) > LONGEST:
        return Malformed(f"The key has more than {LONGEST} bytes.")
    return key


def _read(text: str) -> str | None:
    bare = "" if text.startswith('"') else text.partition(";")[0].rstrip(_SPACE)
    if bare and not _BARE.fullmatch(bare):
        return None
    # A bare key is no item of RFC 9651 where it begins with a digit: its parameters are read behind one that is.
    found = _item("k" + text[len(bare) :] if bare else text)
    return bare if bare and found is not None else found


def _item(text: str) -> str | None:
    """The string or token in a structured-field Item, None for anything else."""
    try:
        item = http_sf.parse(text.encode("latin-1"), tltype="item")
    except (http_sf.StructuredFieldError, UnicodeEncodeError):
        return None
    value = item[0] if isinstance(item, tuple) else None
    return str(value) if isinstance(value, (str, http_sf.Token)) else None
