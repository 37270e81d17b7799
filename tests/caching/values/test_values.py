"""Values as bytes and back: what survives, what is refused, and that no bytes at all are an error."""

import dataclasses
import enum
import math
import zlib
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw import CannotEncode
from redis_mw.caching.lifetimes import Lifetime
from redis_mw.caching.values.ask import getting, packed
from redis_mw.caching.values.entry import HEAD, LAYOUT, NONE, Packed, inflated, opened, squeezed
from redis_mw.caching.values.plain import PLAIN, TAGGED, TYPED, encode
from redis_mw.caching.values.reading import Damaged, reader_of


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


class Order(msgspec.Struct):
    id: int
    at: datetime
    total: Decimal
    lines: list[tuple[str, int]] = []


@dataclasses.dataclass
class Line:
    colour: Colour
    point: Point
    more: Any = None


class Row(TypedDict):
    id: UUID
    tags: set[str]


zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
texts = st.text(st.characters(exclude_categories=()), max_size=8)
hashables = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | texts
    | st.binary(max_size=8)
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.timedeltas()
    | st.dates()
    | st.times()
    | st.datetimes()
    | st.datetimes(timezones=zones),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
anything = st.recursive(
    hashables | st.binary(max_size=4).map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.sets(hashables, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of equal types all the way down."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, (list, tuple)):
        return all(map(same, one, other))
    if isinstance(one, dict):
        return all(map(same, one, other)) and all(map(same, one.values(), other.values()))
    return True


@given(anything)
def test_values_come_back_equal_and_of_the_same_types(value: Any) -> None:
    format, data = encode(value, typed=False)
    assert same(reader_of(Any)(format, data), value)


@pytest.mark.parametrize(
    "value",
    [math.inf, -math.inf, -0.0, 2**64, -(2**63) - 1, "\ud800", Decimal("-0"), time(1, 2, fold=1), {1: 2, "1": 3}],
)
def test_values_at_the_edges(value: Any) -> None:
    back = reader_of(Any)(*encode(value))
    assert repr(back) == repr(value)
    assert getattr(back, "fold", 0) == getattr(value, "fold", 0)


def test_nan_survives() -> None:
    assert math.isnan(reader_of(Any)(*encode(math.nan)))
    assert reader_of(Any)(*encode(Decimal("NaN"))).is_nan()


@given(st.sets(hashables, max_size=6))
def test_equal_sets_are_equal_bytes(value: set[Any]) -> None:
    turned = sorted(value, key=repr)
    assert encode(value) == encode({*turned})


def test_what_json_could_say_is_plain_msgpack() -> None:
    assert encode({"a": [1, 2.5, "x", None, True], "b": b"bytes"})[0] == PLAIN
    assert encode([(1,)])[0] == TAGGED
    assert encode([Order(1, datetime.now(UTC), Decimal(1))])[0] == TYPED


@pytest.mark.parametrize(
    ("value", "type"),
    [
        (Order(1, datetime(2026, 1, 2, tzinfo=UTC), Decimal("9.90"), [("a", 1)]), Order),
        ([Line(Colour.RED, Point(1, 2))], list[Line]),
        ({"id": UUID(int=5), "tags": {"a", "b"}}, Row),
        ({"a": (1, 2)}, dict[str, tuple[int, int]]),
        ([date(2026, 1, 2), None], list[date | None]),
        ({1: Decimal("1.50")}, dict[int, Decimal]),
        (Colour.RED, Colour),
        (5, float),
    ],
)
def test_values_are_read_as_their_type(value: Any, type: Any) -> None:
    assert reader_of(type)(*encode(value)) == value


@pytest.mark.parametrize(
    ("value", "type"),
    [
        ("x", int),
        ({"id": 1}, Order),
        ([(1,)], list[str]),
        ({"a"}, dict[str, int]),
        (Order(1, datetime.now(), Decimal(1)), Line),
    ],
)
def test_what_does_not_fit_is_damaged(value: Any, type: Any) -> None:
    with pytest.raises(Damaged):
        reader_of(type)(*encode(value))


def test_a_type_that_nothing_can_be_read_as_is_an_error_at_once() -> None:
    with pytest.raises(TypeError):
        getting("a", dict[Order, int] | Order | Line)


class Text(str):
    pass


@pytest.mark.parametrize(
    ("value", "path", "remedy"),
    [
        (object(), "value", "store its id"),
        ({"a": [1, Text("x")]}, "value['a'][1]", "store a plain str"),
        (OrderedDict(a=1), "value", "store a plain dict"),
        ([{"k": {object()}}], "value[0]['k']{...}", ""),
        (Line(Colour.RED, Point(1, 2), [1, object()]), "value.more[1]", ""),
        ([1, lambda: 1], "value[1]", ""),
        ([Order(2**70, datetime.now(), Decimal(1))], "value", ""),
    ],
)
def test_what_is_refused_says_where_it_stands_and_what_to_do(value: Any, path: str, remedy: str) -> None:
    with pytest.raises(CannotEncode) as caught:
        encode(value)
    assert caught.value.path == path and remedy in str(caught.value)


def test_what_holds_itself_or_nests_too_deep_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = ()
    for _ in range(70):
        deep = (deep,)
    for value in (endless, deep, [Line(Colour.RED, Point(1, 2), endless)]):
        with pytest.raises(CannotEncode, match="deep"):
            encode(value)


@given(st.integers(0, 16), st.binary(max_size=200), st.sampled_from([Any, int, Order, list[Line], dict[str, Any], Row]))
def test_any_bytes_are_a_value_or_damaged(format: int, data: bytes, type: Any) -> None:
    try:
        reader_of(type)(format, data)
    except Damaged:
        pass


@given(anything, st.data())
def test_a_value_with_a_byte_changed_is_a_value_or_damaged(value: Any, data: Any) -> None:
    format, body = encode(value)
    if body:
        place = data.draw(st.integers(0, len(body) - 1))
        body = body[:place] + bytes([data.draw(st.integers(0, 255))]) + body[place + 1 :]
    try:
        reader_of(Any)(format, body)
    except Damaged:
        pass


# Entries.


def stored(packed: Packed, compress_from: int = 1024) -> bytes:
    flags, body = squeezed(packed, compress_from)
    return HEAD.pack(LAYOUT, flags, 0, 1, 1, 2, 3, 4, len(packed.data)) + body


@given(anything, st.sampled_from([0, 1, 1024]))
def test_an_entry_gives_the_value_back(value: Any, compress_from: int) -> None:
    kept = packed(value)
    assert opened(stored(kept, compress_from)).packed() == kept
    if value is None:
        assert kept == Packed(NONE, b"") and getting("a", int).read(kept) is None


def test_large_values_are_compressed_where_it_is_worth_it() -> None:
    text, noise = packed("abc" * 1000), packed(bytes(hash((n, "x")) & 255 for n in range(40)))
    assert len(stored(text)) < 200 and len(stored(text, 10_000)) > 3000
    assert len(stored(noise, 1)) == HEAD.size + len(noise.data)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_entry_or_damaged(data: bytes) -> None:
    for junk in (data, bytes([LAYOUT]) + data, bytes([LAYOUT, 0x11, 0]) + data, bytes([LAYOUT, 0x21, 0]) + data):
        try:
            entry = opened(junk)
            _ = entry.chunks() if entry.is_chunked else entry.packed()
        except Damaged:
            pass


def test_what_inflates_to_more_than_it_says_is_damaged_and_never_made() -> None:
    bomb = zlib.compress(bytes(50_000_000))
    for data, length in ((bomb, 100), (zlib.compress(b"abc"), 2), (zlib.compress(b"abc"), 4), (b"", 0), (b"junk", 4)):
        with pytest.raises(Damaged):
            inflated(data, length)
    with pytest.raises(Damaged):
        opened(HEAD.pack(LAYOUT, 0x11, 0, 1, 1, 2, 3, 4, 2**32 - 1) + bomb)
    assert inflated(zlib.compress(b"abc"), 3) == b"abc"


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_jitter_only_shortens_and_fresh_and_stale_alike(ttl: int, stale: int, jitter: float, luck: float) -> None:
    lifetime = Lifetime(ttl, stale)
    short = lifetime.shortened(jitter, luck)
    assert short.ttl_us <= ttl and short.stale_us <= stale
    assert short.ttl_us >= min(ttl, 2_000_000)
    assert short.ttl_us >= ttl * (1 - jitter) - 1
    assert abs(short.stale_us - stale * short.ttl_us / ttl) <= 1
