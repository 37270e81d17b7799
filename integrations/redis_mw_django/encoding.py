"""Values of Django's cache as bytes and back: by the data cache's own encoding, or by a serializer of the site's.

Integers are kept as digits in either case, so that the server can add to them.
"""

from typing import Any, Protocol, TypeGuard

from django.utils.module_loading import import_string
from django.utils.safestring import SafeString

from redis_mw.caching.values.entry import INTEGER, NONE, OWN, Packed
from redis_mw.caching.values.plain import encode
from redis_mw.caching.values.reading import Damaged, reader_of
from redis_mw.errors import CannotEncode, Problem, SettingsError

SAFE, SERIALIZED = OWN, OWN + 1
REMEDY = "store its id, or plain values made of it, or name a serializer for it in OPTIONS of this cache"


class Serializer(Protocol):
    """What ``OPTIONS["serializer"]`` names, as for Django's own backend. An integer it may leave as it is."""

    def dumps(self, obj: Any, /) -> Any: ...

    def loads(self, data: Any, /) -> Any: ...


class Encoding:
    """What comes back is what was stored, type included; all else is refused with ``CannotEncode``."""

    def pack(self, value: object) -> Packed:
        """A value as bytes; ``CannotEncode``."""
        if is_counted(value):
            return Packed(INTEGER, b"%d" % value)
        if value is None:
            return Packed(NONE, b"")
        if type(value) is SafeString:  # what the template tag {% cache %} stores
            return Packed(SAFE, value.encode("utf-8", "surrogatepass"))
        try:
            return Packed(*encode(value, typed=False))
        except CannotEncode as refused:
            raise CannotEncode(refused.type, refused.path, REMEDY) from None

    def read(self, format: int, data: bytes) -> Any:
        """The value; ``Damaged`` for what is none of ours."""
        try:
            if format == INTEGER:
                return int(data)
            if format == SAFE:
                return SafeString(data.decode("utf-8", "surrogatepass"))
        except ValueError as problem:
            raise Damaged(str(problem)) from None
        return _read(format, data)


class SerializerEncoding(Encoding):
    """Whatever the site's serializer can store; what it raises for the rest passes through."""

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer

    def pack(self, value: object) -> Packed:
        dumped = self._serializer.dumps(value)
        if is_counted(dumped):
            return Packed(INTEGER, b"%d" % dumped)
        return Packed(SERIALIZED, dumped.encode() if isinstance(dumped, str) else bytes(memoryview(dumped)))

    def read(self, format: int, data: bytes) -> Any:
        if format == INTEGER:
            return super().read(format, data)
        if format != SERIALIZED:
            raise Damaged("of another serializer")
        try:
            return self._serializer.loads(data)
        except Exception as problem:  # of another version of the code, perhaps: it is made anew
            raise Damaged(type(problem).__name__) from problem


def encoding_of(serializer: Any) -> Encoding:
    """What ``OPTIONS["serializer"]`` says: nothing, a dotted path, a class, or an object with dumps and loads.

    ``SettingsError`` for what is none of these.
    """
    if serializer is None:
        return Encoding()
    try:
        made: Any = import_string(serializer) if isinstance(serializer, str) else serializer
        made = made() if callable(made) else made
    except Exception as error:  # whatever a module or a class of the site's raises
        raise _refused(f"{serializer!r} cannot be made: {type(error).__name__}: {error}") from error
    if not callable(getattr(made, "dumps", None)) or not callable(getattr(made, "loads", None)):
        raise _refused(f"{serializer!r} has no dumps() and loads()")
    return SerializerEncoding(made)


def _refused(message: str) -> SettingsError:
    return SettingsError([Problem("OPTIONS.serializer", message, "give the dotted path of a class with both")])


def is_counted(value: Any) -> TypeGuard[int]:
    """Whether it is an integer that the server can add to."""
    return type(value) is int and -(2**63) <= value < 2**63


_read = reader_of(Any)
