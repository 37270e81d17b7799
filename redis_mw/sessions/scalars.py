"""The single values that JSON has no word for, each with its tag and its text. Pure; containers live in ``tags``.

A scalar is written as ``{"~tag": "text"}``. ``tags`` refuses a text that would be written differently, so no value has
two encodings and change detection may compare bytes.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

FOLD: Final = " fold=1"
TINY_OFFSET: Final = re.compile(r"([+-])00:00:00\.(\d{6})(?: fold=1)?$", re.ASCII)


class Scalar(msgspec.Struct, frozen=True, gc=False):
    """How one exact type is written and read; ``write`` raises ``ValueError`` for a value that would not survive."""

    tag: str
    type: type
    write: Callable[[Any], str]
    parse: Callable[[str], object]

    def read(self, text: str) -> object:
        """The value of a text, or ``ValueError``."""
        try:
            return self.parse(text)
        except ArithmeticError as problem:  # a Decimal or a timedelta that cannot be
            raise ValueError(f"not a {self.tag}") from problem


def _write_bytes(value: bytes | bytearray) -> str:
    return b64encode(value).decode("ascii")


def _write_moment(value: datetime | time) -> str:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise ValueError("its time zone gives no offset; store it naive, or with a fixed offset")
    return value.isoformat() + (FOLD if value.fold else "")


def _read_datetime(text: str) -> datetime:
    return datetime.fromisoformat(text.removesuffix(FOLD)).replace(fold=text.endswith(FOLD), **_tiny_offset(text))


def _read_time(text: str) -> time:
    return time.fromisoformat(text.removesuffix(FOLD)).replace(fold=text.endswith(FOLD), **_tiny_offset(text))


def _tiny_offset(text: str) -> dict[str, Any]:
    """The time zone of an offset below a second, which CPython's ``fromisoformat`` takes for UTC."""
    found = TINY_OFFSET.search(text)
    return {} if found is None else {"tzinfo": timezone(timedelta(microseconds=int(found[1] + found[2])))}


def _write_timedelta(value: timedelta) -> str:
    return str(value // timedelta(microseconds=1))


def _read_timedelta(text: str) -> timedelta:
    return timedelta(microseconds=int(text))


def _write_text(value: str) -> str:
    return b64encode(value.encode("utf-8", "surrogatepass")).decode("ascii")


def _read_text(text: str) -> str:
    return b64decode(text).decode("utf-8", "surrogatepass")


# The first three stand only for what plain JSON cannot carry: very long integers (hexadecimal, which no digit limit of
# Python touches), not-a-number and the infinities, and texts with lone surrogates.
INTEGER: Final = Scalar("~int", int, hex, lambda text: int(text, 16))
FLOAT: Final = Scalar("~float", float, repr, float)
TEXT: Final = Scalar("~text", str, _write_text, _read_text)
OTHERS: Final = (
    Scalar("~bytes", bytes, _write_bytes, b64decode),
    Scalar("~bytearray", bytearray, _write_bytes, lambda text: bytearray(b64decode(text))),
    Scalar("~datetime", datetime, _write_moment, _read_datetime),
    Scalar("~date", date, date.isoformat, date.fromisoformat),
    Scalar("~time", time, _write_moment, _read_time),
    Scalar("~timedelta", timedelta, _write_timedelta, _read_timedelta),
    Scalar("~decimal", Decimal, str, Decimal),
    Scalar("~uuid", UUID, str, UUID),
)
BY_TYPE: Final[dict[type, Scalar]] = {scalar.type: scalar for scalar in OTHERS}
BY_TAG: Final[dict[str, Scalar]] = {scalar.tag: scalar for scalar in (INTEGER, FLOAT, TEXT, *OTHERS)}
