"""The reader: makes typed, checked values of whatever was given, and lists everything that is wrong with it.

msgspec converts each single value; the walk around it is ours, since msgspec stops at the first error, gives no
remedy, knows no ``str | Callable`` and checks nothing that a constructor was given. Mappings and parts built in code
take the same path here, so they are checked alike.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

import msgspec

from redis_mw.errors import Problem
from redis_mw.settings.defaults import is_default
from redis_mw.settings.must import Must
from redis_mw.settings.nearest import nearest
from redis_mw.settings.part import Part

FAILED: Final = cast(Any, object())
"""Stands for a value that has a problem, which is on the list already."""


@cache
def fields_of(part: type[Part]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields of a part with their types; finding them out takes longer than all the rest of reading."""
    return msgspec.structs.fields(part)


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the one type there is."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def shape(kind: Any) -> Any:
    """What a type is made like: a Part, ``list``, ``tuple``, ``dict``, ``Callable``, or None for a single value."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if isinstance(bare, type) and issubclass(bare, Part):
        return Part
    return {list: list, Sequence: tuple, dict: dict, Mapping: dict, Callable: Callable}.get(cast(Any, get_origin(bare)))


class Reader:
    """Collects ``problems`` while it reads; a value is good only if none were added."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def read(self, kind: Any, value: Any, path: str) -> Any:
        """The value as ``kind`` wants it, or FAILED."""
        options = alternatives(kind)
        if value is None and NoneType in options:
            return None
        by_shape = {shape(option): option for option in options if option is not NoneType}
        if isinstance(value, (Part, Mapping)) and Part in by_shape:
            return self._part(by_shape[Part], value, path)
        if isinstance(value, Mapping) and dict in by_shape:
            return self._mapping(by_shape[dict], value, path)
        for like in (list, tuple):
            if isinstance(value, (list, tuple)) and like in by_shape:
                return self._items(by_shape[like], value, path, like)
        if Callable in by_shape and callable(value):
            return value
        if Part in by_shape and by_shape[Part].shorthand and isinstance(value, str):
            return self._part(by_shape[Part], {by_shape[Part].shorthand: value}, path, shorthand=True)
        if None in by_shape:
            single = self._single(by_shape[None], value, path)
            if single is not None:
                return single
        return self._wrong(path, f"is {_article(value)}", "expected " + " or ".join(map(_words, options)))

    def fields(self, part: type[Part], given: Mapping[str, Any], path: str) -> dict[str, Any]:
        """The fields of a part, read each; one that failed is left out."""
        values: dict[str, Any] = {}
        for field in fields_of(part):
            at = f"{path}.{field.name}" if path else field.name
            if field.name not in given:
                if field.required:
                    self._wrong(at, "is missing", f"every {part.__name__} has one")
                continue
            value = given[field.name]
            if not (is_default(value) and value == field.default):
                value = self.read(field.type, value, at)
            if value is not FAILED:
                values[field.name] = value
        return values

    def _part(self, kind: type[Part], value: Any, path: str, *, shorthand: bool = False) -> Any:
        before = len(self.problems)
        if isinstance(value, Part):
            if not isinstance(value, kind):
                return self._wrong(path, f"is {_article(value)}", f"expected {_words(kind)}")
            given: Mapping[str, Any] = {name: getattr(value, name) for name in value.__struct_fields__}
        else:
            given = value
            for name in given:
                if name not in kind.__struct_fields__:
                    self.problems.append(kind.unknown(path, str(name)))
        values = self.fields(kind, given, path)
        if shorthand:  # the text itself stands at this path, not at a field of it
            self.problems[before:] = [each._replace(path=path) for each in self.problems[before:]]
        if not self._comparable(kind, given, values):
            return FAILED
        part = kind(**values)
        self.problems.extend(part.contradictions(path))
        return part if len(self.problems) == before else FAILED

    def _comparable(self, kind: type[Part], given: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
        """Whether every field has its value, nested parts aside (they have answered for themselves)."""
        for field in fields_of(kind):
            failed = field.name not in values and (field.name in given or field.required)
            if failed and not any(shape(option) is Part for option in alternatives(field.type)):
                return False
        return True

    def _items(self, kind: Any, value: Sequence[Any], path: str, like: Callable[[list[Any]], Any]) -> Any:
        items = [self.read(get_args(kind)[0], item, f"{path}[{index}]") for index, item in enumerate(value)]
        return FAILED if any(item is FAILED for item in items) else like(items)

    def _mapping(self, kind: Any, value: Mapping[Any, Any], path: str) -> Any:
        key_kind, value_kind = get_args(kind)
        read: dict[Any, Any] = {}
        for name, item in value.items():
            at = f"{path}.{name}"
            read[self._key(key_kind, name, at)] = self.read(value_kind, item, at)
        return FAILED if FAILED in read or any(item is FAILED for item in read.values()) else read

    def _key(self, kind: Any, name: Any, path: str) -> Any:
        if kind is int and isinstance(name, str) and name.isascii() and name.isdigit() and len(name) < 10:
            return int(name)  # JSON has no numbers for keys
        return self.read(kind, name, path)

    def _single(self, kind: Any, value: Any, path: str) -> Any:
        """The converted value, FAILED, or None where it is of another type."""
        literal = get_origin(kind) is Literal
        try:
            converted = msgspec.convert(value, kind)
        except (msgspec.ValidationError, OverflowError, RecursionError):
            if literal and isinstance(value, str):
                return self._wrong(path, f"{value!r} is not known", nearest(value, get_args(kind)))
            return None
        for mark in getattr(kind, "__metadata__", ()):
            wrong = mark.check(converted) if isinstance(mark, Must) else None
            if wrong is not None:
                return self._wrong(path, *wrong)
        return converted

    def _wrong(self, path: str, message: str, remedy: str) -> Any:
        self.problems.append(Problem(path, message, remedy))
        return FAILED


_WORDS = {
    str: "a text",
    int: "a whole number",
    int | float: "a number",
    bool: "true or false",
    NoneType: "none",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
    Callable: "a callable",
}


def _words(kind: Any) -> str:
    if shape(kind) is Part:
        return f"a mapping or {kind.__name__}"
    if get_origin(kind) is Literal:
        return " or ".join(f'"{each}"' for each in get_args(kind))
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return _WORDS.get(shape(kind) or bare, "seconds or a timedelta")


def _article(value: Any) -> str:
    name = "None" if value is None else type(value).__name__
    return name if value is None else f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"
