"""What a request did to its session, found by comparing encoded values: pure functions over what was and what is.

Comparing the encoded bytes notices edits deep inside a value, and skips a write that changes nothing.
"""

from collections.abc import Callable, Mapping

from redis_mw.errors import CannotEncode, SessionTooLarge
from redis_mw.sessions.codec import Codec
from redis_mw.sessions.commands import Changes

FIELD = "."


UNCHANGING = frozenset({str, int, float, bool, bytes, type(None)})


def encoded(
    data: Mapping[str, object], codec: Codec, initial: Mapping[str, object], before: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Encode every top-level value; raises ``CannotEncode`` with the place of what cannot be stored.

    ``before`` is the encoding of ``initial``: a value that cannot change and is still the same object is not encoded
    again, which is most of a session on most requests.
    """
    fields: dict[str, bytes] = {}
    for key, value in data.items():
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]  (handlers are not type-checked)
            raise CannotEncode(type(key).__name__, "session", f"its keys must be texts, not {key!r}")
        try:
            _ = key.encode()
        except UnicodeEncodeError as error:
            raise CannotEncode("str", "session", f"the key {key!r} is not valid Unicode") from error
        unchanged = type(value) in UNCHANGING and key in before and value is initial.get(key)
        fields[key] = before[key] if unchanged else codec.to_plain(key, value)
    return fields


def check_size(fields: Mapping[str, bytes], max_bytes: int, max_fields: int) -> None:
    """Raise ``SessionTooLarge``, naming the largest key, if the whole session would exceed a limit."""
    sizes = {key: len(key.encode()) + len(value) for key, value in fields.items()}
    total = sum(sizes.values())
    if total > max_bytes:
        raise SessionTooLarge(max(sizes, key=sizes.__getitem__), total, max_bytes)
    if len(fields) > max_fields:
        raise SessionTooLarge(max(sizes, key=sizes.__getitem__), len(fields), max_fields, "fields")


def compare(
    before: Mapping[str, bytes],
    after: Mapping[str, bytes],
    seal: Callable[[bytes, str], bytes],
    own_idle_us: int | None,
) -> Changes:
    """What to put and to remove so that ``before`` becomes ``after``; ``seal`` gets a plain value and its field."""
    put = {FIELD + key: seal(plain, FIELD + key) for key, plain in after.items() if before.get(key) != plain}
    drop = tuple(FIELD + key for key in before if key not in after)
    return Changes(put, drop, own_idle_us)
