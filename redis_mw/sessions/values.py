"""The wire format of one value: a format byte, ``j``, then compact JSON in UTF-8 with tags. Pure, and never pickle.

What JSON has is written as it is. All else is an object of one member whose name begins with ``~``: ``{"~tuple":
[...]}``, ``{"~set": [...]}``, ``{"~frozenset": [...]}``, ``{"~markup": "..."}``, ``{"~dict": [[key, value], ...]}`` for
a dict that has other keys than texts (or could be taken for a tag), and the scalars of ``scalars``.

- **Survives exactly**, type included, at any nesting: None, bool, int of any size, float (infinities and NaN too), str
  (lone surrogates too), bytes, bytearray, list, tuple, set, frozenset, dict (order and any such keys), Decimal, UUID,
  timedelta, date, and naive or aware datetime and time with their fold.
- **Survives in meaning**: a time zone becomes the fixed offset it had at that moment (its name is lost); a ``str``
  with ``__html__`` (Django's SafeString, a subclass of Markup) comes back as ``markupsafe.Markup``, or without
  markupsafe as ``SafeText``, which templates respect alike; a lazy translation becomes the text it is now.
- **All else is refused** with ``CannotEncode``: enums, named tuples and other subclasses too, since they would come
  back as something else.

The encoding is deterministic (a set is sorted by its members' encodings), and encoding what was decoded gives the same
bytes, so two encodings are compared to learn whether a value changed. Nothing decodes into anything that runs code.
"""

from collections.abc import Iterable
from math import isfinite
from types import NoneType
from typing import Any, Final

import msgspec

from redis_mw.errors import CannotEncode
from redis_mw.sessions.tags import MAX_DEPTH, tagged, untagged

FORMAT: Final = b"j"


class DamagedValue(ValueError):
    """Stored bytes that are not a value: damaged, written by hand, or by a version that knows more formats."""


def encode(value: object, key: str) -> bytes:
    """The bytes of a value, always the same for the same value (a dict: in the same order).

    ``key`` is where the value stands; ``CannotEncode`` names the path from there. Also raised for what holds itself or
    nests deeper than ``MAX_DEPTH`` containers.
    """
    try:
        return FORMAT + (_plain_json(value) or _to_json(tagged(value, key, MAX_DEPTH)))
    except RecursionError:  # called near the end of the caller's own stack
        raise CannotEncode(type(value).__name__, key, "the call stack is exhausted") from None


def decode(data: bytes) -> object:
    """The value of some bytes; any bytes give a value or ``DamagedValue``, nothing else."""
    if data[:1] != FORMAT:
        raise DamagedValue(f"unknown format {data[:1]!r}")
    try:
        value: object = _from_json(data[1:])
        if b'"~' in data:
            return untagged(value, MAX_DEPTH)
        # No tag: the value is what JSON says. Few brackets cannot nest deep, and most values have few.
        if data.count(b"[") + data.count(b"{") <= MAX_DEPTH or _is_shallow([value], MAX_DEPTH):
            return value
    except (msgspec.DecodeError, ValueError, RecursionError) as problem:
        raise DamagedValue(str(problem)) from problem
    raise DamagedValue("nests too deep")


_to_json: Final = msgspec.json.Encoder().encode
_from_json: Final = msgspec.json.Decoder().decode

# The plain path: what msgspec writes and reads without loss. The types of a container's members are compared in C.
_TEXT: Final = frozenset({str})
_ATOMS: Final = frozenset({NoneType, bool, int, str})
_CONTAINERS: Final = frozenset({list, dict})


def _plain_json(value: object) -> bytes:
    """The JSON of a value that needs no tag, else nothing."""
    if type(value) not in _ATOMS and not (type(value) in _CONTAINERS and _is_plain(value, MAX_DEPTH - 1)):
        return b""
    try:
        body = _to_json(value)
    except (ValueError, OverflowError):  # a lone surrogate, a very long integer
        return b""
    # A quote inside a text is written \", so these bytes can only start an object that looks like a tag.
    return b"" if b'{"~' in body else body


def _is_plain(container: Any, room: int) -> bool:
    """Whether JSON says all of a list or dict; ``room`` is how many more containers may nest in it."""
    items: Iterable[Any] = container
    if type(container) is dict:
        if not _TEXT.issuperset(map(type, container)):
            return False
        items = container.values()
    if _ATOMS.issuperset(map(type, items)):
        return True
    for item in items:
        kind = type(item)
        if kind in _ATOMS:
            continue
        if kind in _CONTAINERS:
            if not room or not _is_plain(item, room - 1):
                return False
        elif kind is not float or not isfinite(item):  # msgspec would write null for NaN
            return False
    return True


def _is_shallow(container: Any, room: int) -> bool:
    """Whether no more than ``room`` containers nest in a list or dict that JSON made."""
    for item in container.values() if type(container) is dict else container:
        if type(item) in _CONTAINERS and (not room or not _is_shallow(item, room - 1)):
            return False
    return True
