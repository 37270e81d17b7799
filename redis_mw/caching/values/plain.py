"""Values as bytes, msgpack with extensions; what comes back equals what went in, type included. Pure, never pickle.

- **Survives exactly**, at any nesting: None, bool, int of any size, float (infinities and NaN too), str (lone
  surrogates too), bytes, bytearray, list, tuple, set, frozenset, dict (order and any such keys), Decimal, UUID,
  timedelta, date, and naive or aware datetime and time. A time zone becomes the fixed offset it had at that moment.
- **Survives as its type**: Structs, dataclasses, attrs classes, enums and named tuples are written as msgspec writes
  them, and ``type=`` must say what they are when they are read; without, they are read as plain dicts and lists.
- **All else is refused** with ``CannotEncode``: subclasses of the above too, since they would come back as something
  else.

What a JSON could say is plain msgpack, checked in C; what needs more is walked once and its extensions numbered here.
"""

import dataclasses
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

import msgspec
from msgspec.msgpack import Ext

from redis_mw.errors import CannotEncode

MAX_DEPTH: Final = 64

PLAIN: Final = 1
"""msgpack alone says all of it."""
TAGGED: Final = 2
"""msgpack with our extensions."""
TYPED: Final = 3
"""As msgspec writes objects of known classes; to be read with their type."""

Where: TypeAlias = "tuple[Where, object] | str"

_encode: Final = msgspec.msgpack.Encoder().encode


class _HasClasses(Exception):
    """The value holds an object that can only be read as its type; ``kind`` and ``where`` say which."""

    def __init__(self, kind: str, where: Where) -> None:
        self.kind = kind
        self.where = where


def encode(value: object, root: str = "value", *, typed: bool = True) -> tuple[int, bytes]:
    """The format and the bytes of a value; ``CannotEncode`` names the path, which begins with ``root``.

    Without ``typed`` nobody will tell what it is when it is read, so what needs that is refused too.
    """
    try:
        if _is_plain(value, MAX_DEPTH):
            try:
                return PLAIN, _encode(value)
            except (OverflowError, ValueError):  # a large integer, a lone surrogate
                pass
        try:
            return TAGGED, _encode(_tagged(value, root, MAX_DEPTH))
        except _HasClasses as found:
            if not typed:
                raise CannotEncode(found.kind, path(found.where), f"say what is read: type={found.kind}") from None
        return TYPED, _typed(value, root)
    except RecursionError:
        raise CannotEncode(type(value).__name__, root, "it nests too deep, or holds itself") from None


_ATOMS: Final = frozenset({NoneType, bool, int, float, str, bytes})
_KEYS: Final = frozenset({str, int, bytes})
_CONTAINERS: Final = frozenset({list, dict})


def _is_plain(value: Any, room: int) -> bool:
    """Whether msgpack alone says all of it; ``room`` is how many more containers may nest."""
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind not in _CONTAINERS or not room:
        return False
    items: Iterable[Any] = value
    if kind is dict:
        if not _KEYS.issuperset(map(type, value)):
            return False
        items = value.values()
    return _ATOMS.issuperset(map(type, items)) or all(_is_plain(item, room - 1) for item in items)


def _tagged(value: Any, where: Where, room: int) -> Any:
    kind = type(value)
    if kind is int:
        return value if -(2**63) <= value < 2**64 else Ext(1, f"{value:x}".encode())
    if kind is str:
        return value if value.isascii() or _is_utf8(value) else Ext(2, value.encode("utf-8", "surrogatepass"))
    if kind in _ATOMS:
        return value
    if kind in _SCALARS:
        code, write = _SCALARS[kind]
        return Ext(code, write(value))
    if kind in _COLLECTIONS:
        if not room:
            raise CannotEncode(kind.__name__, path(where), f"it nests deeper than {MAX_DEPTH}, or holds itself")
        return _COLLECTIONS[kind](value, where, room - 1)
    if is_class_of_fields(kind):
        raise _HasClasses(kind.__name__, where)
    raise CannotEncode(kind.__name__, path(where), _remedy(kind))


def is_class_of_fields(kind: type) -> bool:
    """Whether msgspec writes objects of this class by their fields or members, and reads them by their type."""
    return (
        hasattr(kind, "__struct_fields__")
        or dataclasses.is_dataclass(kind)
        or hasattr(kind, "__attrs_attrs__")
        or issubclass(kind, Enum)
        or (issubclass(kind, tuple) and hasattr(kind, "_fields"))
    )


def _is_utf8(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def _tagged_list(items: Iterable[object], where: Where, room: int) -> list[Any]:
    return [_tagged(item, (where, index), room) for index, item in enumerate(items)]


def _tagged_dict(table: dict[object, object], where: Where, room: int) -> Any:
    if _KEYS.issuperset(map(type, table)):
        rows = [
            (_tagged(key, (where, MEMBER), room), _tagged(value, (where, key), room)) for key, value in table.items()
        ]
        if _KEYS.issuperset(type(key) for key, _ in rows):
            return dict(rows)
    return Ext(6, _encode(_pairs(table, where, room)))


def _pairs(table: dict[object, object], where: Where, room: int) -> list[Any]:
    return [[_tagged(key, (where, MEMBER), room), _tagged(value, (where, key), room)] for key, value in table.items()]


def _tagged_set(code: int) -> Callable[[Iterable[object], Where, int], Ext]:
    def write(members: Iterable[object], where: Where, room: int) -> Ext:
        encoded = sorted(_encode(_tagged(member, (where, MEMBER), room)) for member in members)
        return Ext(code, _encode([msgspec.Raw(member) for member in encoded]))  # always the same for the same set

    return write


_COLLECTIONS: Final[dict[type, Callable[[Any, Where, int], Any]]] = {
    list: _tagged_list,
    dict: _tagged_dict,
    tuple: lambda items, where, room: Ext(3, _encode(_tagged_list(items, where, room))),
    set: _tagged_set(4),
    frozenset: _tagged_set(5),
}


def _iso(value: datetime | time) -> bytes:
    return (value.isoformat() + "~" * value.fold).encode()


_SCALARS: Final[dict[type, tuple[int, Callable[[Any], bytes]]]] = {
    datetime: (7, _iso),
    date: (8, lambda value: value.isoformat().encode()),
    time: (9, _iso),
    timedelta: (10, lambda value: _encode((value.days, value.seconds, value.microseconds))),
    Decimal: (11, lambda value: str(value).encode()),
    UUID: (12, lambda value: value.bytes),
    bytearray: (13, bytes),
}


# What is refused, and where it stands.
MEMBER: Final = object()
_FAMILIES: Final = (bool, int, float, str, bytes, *_SCALARS, *_COLLECTIONS)


def _remedy(kind: type) -> str:
    family = next((family for family in _FAMILIES if issubclass(kind, family)), None)
    return f"store a plain {family.__name__}" if family else "store its id, or plain values or a Struct made of it"


def path(where: Where) -> str:
    """A place as it is written in Python: ``value.items[2]``."""
    steps: list[str] = []
    while not isinstance(where, str):
        where, step = where
        if step is MEMBER:
            steps.append("{...}")  # a member of a set or a key of a dict has no place of its own
        else:
            known = isinstance(step, (int, str, bytes))
            steps.append(f"[{(repr(step) if known else type(step).__name__)[:40]}]")
    if len(steps) > 12:
        steps[6:-6] = ["..."]
    return where + "".join(reversed(steps))


def _typed(value: object, root: str) -> bytes:
    def refuse(culprit: object) -> object:
        kind = type(culprit)
        raise CannotEncode(kind.__name__, _place(value, culprit, root), _remedy(kind))

    try:
        return msgspec.msgpack.encode(value, enc_hook=refuse)
    except (OverflowError, ValueError) as problem:  # a large integer, a lone surrogate
        raise CannotEncode(type(value).__name__, root, str(problem)) from None


def _place(value: Any, culprit: object, where: str, room: int = 8) -> str:
    """Where an object stands in another one, as far as it is easily found."""
    if value is culprit or not room:
        return where
    steps: Iterable[tuple[str, Any]] = ()
    kind = type(value)
    names = getattr(kind, "__struct_fields__", None) or getattr(kind, "__dataclass_fields__", None)
    if names is not None:
        steps = [(f".{name}", getattr(value, name, None)) for name in names]
    elif isinstance(value, dict):
        steps = [(f"[{key!r:.40}]", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        steps = [(f"[{index}]", item) for index, item in enumerate(cast("list[Any]", value))]
    for step, item in steps:
        found = _place(item, culprit, where + step, room - 1)
        if found != where + step or item is culprit:
            return found
    return where
