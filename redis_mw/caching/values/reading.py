"""Bytes as values: any bytes give a value of the type that is asked for, or ``Damaged``. The mirror of ``plain``."""

from collections.abc import Callable, Sized
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

from redis_mw.caching.values.plain import PLAIN, TAGGED, TYPED

Reader: TypeAlias = Callable[[int, bytes], Any]
"""From a format and bytes to a value."""


class Damaged(ValueError):
    """Bytes that are no value of the type that was asked for: damaged, foreign, or of another version of the code."""


def reader_of(type: Any) -> Reader:
    """What reads values as this type; ``TypeError`` if no value can be read as such."""
    try:
        return _reader_of(type)
    except TypeError as problem:
        if "unhashable" not in str(problem):
            raise
        return _reader_of.__wrapped__(type)


@lru_cache(1024)
def _reader_of(type: Any) -> Reader:
    decoder = msgspec.msgpack.Decoder(type, ext_hook=_extension)
    untyped = _DECODER if type is not Any else decoder

    def read(format: int, data: bytes) -> Any:
        try:
            if format == TAGGED:
                value = untyped.decode(data)
                return value if type is Any else msgspec.convert(value, type)
            if format in (PLAIN, TYPED):
                return decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, TypeError, ArithmeticError, RecursionError) as problem:
            raise Damaged(str(problem)) from None
        raise Damaged(f"unknown format {format}")

    return read


def _extension(code: int, data: memoryview) -> Any:
    read = _EXTENSIONS.get(code)
    if read is None:
        raise ValueError(f"unknown extension {code}")
    return read(bytes(data))


_DECODER: Final = msgspec.msgpack.Decoder(ext_hook=_extension)


def _members(data: bytes) -> list[Any]:
    members = _DECODER.decode(data)
    if not isinstance(members, list):
        raise ValueError("not a list")
    return members


def _whole(made: Sized, members: list[Any]) -> Any:
    if len(made) != len(members):
        raise ValueError("a member stands there twice")
    return made


def _set(data: bytes) -> Any:
    members = _members(data)
    return _whole(set(members), members)


def _frozenset(data: bytes) -> Any:
    members = _members(data)
    return _whole(frozenset(members), members)


def _dict(data: bytes) -> Any:
    pairs = _members(data)
    return _whole(dict(pairs), pairs)


def _folded(data: bytes) -> tuple[str, int]:
    text = data.decode()
    return text.rstrip("~"), int(text.endswith("~"))


def _datetime(data: bytes) -> datetime:
    text, fold = _folded(data)
    return datetime.fromisoformat(text).replace(fold=fold)


def _time(data: bytes) -> time:
    text, fold = _folded(data)
    return time.fromisoformat(text).replace(fold=fold)


def _timedelta(data: bytes) -> timedelta:
    days, seconds, us = msgspec.msgpack.decode(data, type=tuple[int, int, int])
    return timedelta(days, seconds, us)


_EXTENSIONS: Final[dict[int, Callable[[bytes], Any]]] = {
    1: lambda data: int(data, 16),
    2: lambda data: data.decode("utf-8", "surrogatepass"),
    3: lambda data: tuple(_members(data)),
    4: _set,
    5: _frozenset,
    6: _dict,
    7: _datetime,
    8: lambda data: date.fromisoformat(data.decode()),
    9: _time,
    10: _timedelta,
    11: lambda data: Decimal(data.decode()),
    12: lambda data: UUID(bytes=data),
    13: bytearray,
}
