"""Values as JSON types with tags, and back: what containers, marked-up and lazy texts become. Pure.

``values`` says which values survive and how; here stands the walk over them. ``room`` is always how many more
containers may nest, which also ends the walk over one that holds itself. What cannot be written is ``CannotEncode``
with its place; what cannot be read is ``ValueError``.
"""

import sys
from collections.abc import Callable, Iterable, Sized
from math import isfinite
from typing import Any, Final, TypeAlias, cast

import msgspec

from redis_mw.errors import CannotEncode
from redis_mw.sessions import scalars

MAX_DEPTH: Final = 64

Where: TypeAlias = "tuple[Where, object] | str"

_to_json: Final = msgspec.json.Encoder().encode


class SafeText(str):
    """A text marked as safe HTML, where markupsafe is not installed; joined to another text it is plain again."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def tagged(value: object, where: Where, room: int) -> Any:
    """The value as JSON types; ``room`` is how many more containers may nest."""
    kind = type(value)
    if kind is str:
        return value if _is_utf8(cast(str, value)) else {"~text": scalars.TEXT.write(value)}
    if kind is int:
        return value if _is_short(cast(int, value)) else {"~int": scalars.INTEGER.write(value)}
    if kind is float:
        return value if isfinite(cast(float, value)) else {"~float": scalars.FLOAT.write(value)}
    if value is None or kind is bool:
        return value
    scalar = scalars.BY_TYPE.get(kind)
    if scalar is not None:
        try:
            return {scalar.tag: scalar.write(value)}
        except ValueError as problem:
            raise _refusal(kind, where, str(problem)) from None
    if kind in _CONTAINERS:
        if not room:
            raise _refusal(kind, where, f"it nests deeper than {MAX_DEPTH} containers, or holds itself")
        return _CONTAINERS[kind](value, where, room - 1)
    if issubclass(kind, str) and callable(getattr(kind, "__html__", None)):
        return {"~markup": tagged(str.__str__(cast(Any, value).__html__()), where, room)}
    if _is_lazy_text(kind):
        return tagged(str(value), where, room)
    raise _refusal(kind, where, _remedy(kind))


def _tagged_list(items: Iterable[object], where: Where, room: int) -> list[Any]:
    return [tagged(item, (where, index), room) for index, item in enumerate(items)]


def _tagged_dict(table: dict[object, object], where: Where, room: int) -> Any:
    plain = all(type(key) is str and _is_utf8(key) for key in table)
    if plain and not (len(table) == 1 and cast(str, next(iter(table))).startswith("~")):
        return {key: tagged(value, (where, key), room) for key, value in table.items()}
    pairs = [[tagged(key, (where, _MEMBER), room), tagged(value, (where, key), room)] for key, value in table.items()]
    return {"~dict": pairs}


def _tagged_set(members: Iterable[object], where: Where, room: int) -> list[msgspec.Raw]:
    encoded = sorted(_to_json(tagged(member, (where, _MEMBER), room)) for member in members)
    return [msgspec.Raw(member) for member in encoded]


_CONTAINERS: Final[dict[type, Callable[[Any, Where, int], Any]]] = {
    list: _tagged_list,
    dict: _tagged_dict,
    tuple: lambda items, where, room: {"~tuple": _tagged_list(items, where, room)},
    set: lambda members, where, room: {"~set": _tagged_set(members, where, room)},
    frozenset: lambda members, where, room: {"~frozenset": _tagged_set(members, where, room)},
}


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def _is_short(number: int) -> bool:
    """Whether Python reads the number back from decimal digits under every limit it can be given."""
    return number.bit_length() < sys.int_info.str_digits_check_threshold


# Types of texts that are translated when they are looked at, recognised without importing their packages.
_LAZY: Final = (("django.utils.functional", "Promise"), ("flask_babel.speaklater", "LazyString"))


def _is_lazy_text(kind: type) -> bool:
    return any((base.__module__, base.__qualname__) in _LAZY for base in kind.__mro__)


# What went wrong, said with its place.
_MEMBER: Final = object()
_FAMILIES: Final = (bool, int, float, str, bytes, bytearray, list, tuple, dict, set, frozenset, *scalars.BY_TYPE)


def _refusal(kind: type, where: Where, remedy: str) -> CannotEncode:
    return CannotEncode(kind.__name__, _path(where), remedy)


def _remedy(kind: type) -> str:
    if hasattr(kind, "__members__"):
        return "store its .value"
    family = next((family for family in _FAMILIES if issubclass(kind, family)), None)
    return f"store a plain {family.__name__}" if family else "store its id, or plain values made of it"


def _path(where: Where) -> str:
    steps: list[str] = []
    while not isinstance(where, str):
        where, step = where
        steps.append(_step(step))
    if len(steps) > 12:  # something that holds itself
        steps[6:-6] = ["..."]
    return where + "".join(reversed(steps))


def _step(step: object) -> str:
    if step is _MEMBER:
        return "{...}"  # a member of a set or a key of a dict has no place of its own
    if isinstance(step, str) and step.isidentifier():
        return f".{step}"
    text = repr(step) if isinstance(step, (int, str, bytes)) else type(step).__name__
    return f"[{text[:40]}]"


def untagged(value: Any, room: int) -> object:
    """The value of JSON types; the mirror of ``tagged``."""
    kind = type(value)
    if kind is list:
        return _untagged_list(value, room)
    if kind is not dict:
        return value
    if len(value) == 1:
        ((tag, payload),) = value.items()
        if tag.startswith("~"):
            return _from_tag(tag, payload, room)
    return dict(zip(value, _untagged_list(value.values(), room), strict=True))


def _untagged_list(items: Iterable[object], room: int) -> list[object]:
    if not room:
        raise ValueError("nests too deep")
    return [untagged(item, room - 1) for item in items]


def _from_tag(tag: str, payload: object, room: int) -> object:
    try:
        if tag in scalars.BY_TAG:
            value = scalars.BY_TAG[tag].read(_expect(str, payload))
            # One encoding for each value: {"~int": "0x5"} is no way to write 5.
            if tagged(value, tag, room) != {tag: payload}:
                raise ValueError(f"not the way a {tag} is written")
            return value
        if tag == "~markup":
            return _markup(_expect(str, untagged(payload, room)))
        if tag == "~dict":
            keys, items = _columns(_expect(list, payload))
            made = dict(zip(_untagged_list(keys, room), _untagged_list(items, room), strict=True))
            return _whole(made, keys)
        if tag in _COLLECTIONS:
            members = _untagged_list(_expect(list, payload), room)
            return _whole(_COLLECTIONS[tag](members), members)
    except TypeError as problem:  # an unhashable key or member
        raise ValueError(f"a damaged {tag}") from problem
    raise ValueError(f"unknown tag {tag[:40]!r}")


_COLLECTIONS: Final[dict[str, Callable[[list[object]], Sized]]] = {
    "~tuple": tuple,
    "~set": set,
    "~frozenset": frozenset,
}


def _columns(pairs: list[object]) -> tuple[list[object], list[object]]:
    if not all(type(pair) is list and len(cast("list[object]", pair)) == 2 for pair in pairs):
        raise ValueError("not a list of pairs")
    rows = cast("list[list[object]]", pairs)
    return [row[0] for row in rows], [row[1] for row in rows]


def _expect(kind: type, payload: object) -> Any:
    if type(payload) is not kind:
        raise ValueError(f"not a {kind.__name__}")
    return payload


def _whole(made: Sized, items: list[object]) -> object:
    if len(made) != len(items):
        raise ValueError("a member stands there twice")
    return made


def _markup(text: str) -> str:
    try:
        from markupsafe import Markup
    except ImportError:
        return SafeText(text)
    return Markup(text)
