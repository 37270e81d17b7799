"""Values survive storage exactly, are refused with their place, and no bytes do anything but decode or be damaged."""

import inspect
import string
import subprocess
import sys
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from redis_mw.errors import CannotEncode
from redis_mw.sessions.tags import MAX_DEPTH, SafeText
from redis_mw.sessions.values import DamagedValue, decode, encode


def same(left: Any, right: Any) -> bool:
    """Equal in type and value all the way down; stricter than ==, and NaN is NaN."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return repr(left) == repr(right)
    if isinstance(left, Decimal):
        return str(left) == str(right)
    if isinstance(left, datetime):
        return (left.isoformat(), left.fold, left.tzinfo) == (right.isoformat(), right.fold, right.tzinfo)
    if isinstance(left, time):
        return (left.isoformat(), left.fold) == (right.isoformat(), right.fold)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left), list(right)) and same(list(left.values()), list(right.values()))
    if isinstance(left, (set, frozenset)):
        return len(left) == len(right) and all(any(same(one, other) for other in right) for one in left)
    return bool(left == right)


texts = st.text(st.characters(exclude_categories=()), max_size=12)  # lone surrogates too
zones = st.none() | st.builds(
    timezone, st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
)
integers = st.integers() | st.integers(-(2**70), 2**70) | st.integers(1, 20_000).map(lambda bits: -(3**bits))
hashables = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    st.floats(),
    texts,
    st.sampled_from(["~", "~tuple", "~int", "~no such tag", '{"~tuple":[]}']),
    st.binary(max_size=12),
    st.datetimes(timezones=zones).flatmap(lambda moment: st.sampled_from([moment, moment.replace(fold=1)])),
    st.dates(),
    st.times(timezones=zones).flatmap(lambda moment: st.sampled_from([moment, moment.replace(fold=1)])),
    st.timedeltas(),
    st.decimals().filter(lambda number: not number.is_snan()),
    st.uuids(),
    texts.map(Markup),
)
keys = st.recursive(
    hashables,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
supported = st.recursive(
    keys | st.binary(max_size=12).map(bytearray) | st.just(Decimal("sNaN12")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(texts | st.sampled_from(["~", "~tuple", "~dict"]), inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
    ),
    max_leaves=16,
)
json_types = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner | st.text(max_size=8), max_size=4)
        | st.dictionaries(st.text(string.ascii_letters), inner, max_size=4)
    ),
    max_leaves=16,
)


@settings(deadline=None)
@given(supported)
def test_any_nesting_of_supported_values_survives_with_its_types(value: object) -> None:
    assert same(decode(encode(value, "key")), value)


@pytest.mark.parametrize("us", [1, -1, 999_999, -999_999, 1_000_001])
def test_an_offset_of_less_than_a_second_survives(us: int) -> None:
    zone = timezone(timedelta(microseconds=us))
    for value in (time(0, 0, tzinfo=zone), time(1, 2, 3, 4, tzinfo=zone, fold=1), datetime(2020, 1, 1, tzinfo=zone)):
        read = decode(encode(value, "key"))
        assert same(read, value) and isinstance(read, (time, datetime)) and read.utcoffset() == value.utcoffset()


@settings(deadline=None)
@given(supported)
def test_encoding_what_was_decoded_gives_the_same_bytes(value: object) -> None:
    encoded = encode(value, "key")
    assert encode(decode(encoded), "key") == encoded


@settings(deadline=None)
@given(json_types)
def test_plain_json_is_written_as_it_is(value: object) -> None:
    encoded = encode(value, "key")
    assert same(decode(encoded), value)
    assert encoded == b"j" + msgspec.json.encode(value)


def test_the_wire_format_is_the_documented_one() -> None:
    value = {
        "cart": [{"sku": "A1", "n": 2}],
        "pair": (1, "é"),
        "tags": {"b", "a"},
        "paid": Decimal("1.50"),
        "blob": b"\x00\xff",
        "at": datetime(2024, 1, 31, 12, 0, tzinfo=UTC),
        "big": 2**640,
        "by": {1: "one"},
        "trap": {"~tuple": [1]},
        "bold": Markup("<b>"),
    }
    assert encode(value, "key") == (
        b'j{"cart":[{"sku":"A1","n":2}],"pair":{"~tuple":[1,"\xc3\xa9"]},"tags":{"~set":["a","b"]},'
        b'"paid":{"~decimal":"1.50"},"blob":{"~bytes":"AP8="},"at":{"~datetime":"2024-01-31T12:00:00+00:00"},'
        b'"big":{"~int":"0x1' + b"0" * 160 + b'"},"by":{"~dict":[[1,"one"]]},'
        b'"trap":{"~dict":[["~tuple",[1]]]},"bold":{"~markup":"<b>"}}'
    )


def test_a_set_is_written_alike_whatever_the_order_of_its_making() -> None:
    # All of these collide in the set, so the order of its making shows.
    one, other = {number << 40 for number in range(50)}, {number << 40 for number in range(49, -1, -1)}
    assert list(one) != list(other)
    assert encode(one, "key") == encode(other, "key")


def test_an_integer_longer_than_python_prints_survives() -> None:
    value = [7**100_000, -(7**100_000)]
    assert decode(encode(value, "key")) == value


def test_a_named_zone_becomes_the_offset_it_had() -> None:
    winter = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    read = decode(encode(winter, "key"))
    assert isinstance(read, datetime)
    assert (read.isoformat(), read.fold) == ("2024-10-27T02:30:00+01:00", 1)
    assert read.tzinfo == timezone(timedelta(hours=1))


def test_djangos_safe_and_lazy_texts_are_stored() -> None:
    from django.utils.functional import lazystr
    from django.utils.safestring import mark_safe

    read = decode(encode([mark_safe("<b>"), lazystr("later")], "key"))
    assert same(read, [Markup("<b>"), "later"])


def test_a_subclass_of_markup_is_markup_again() -> None:
    class Ours(Markup):
        pass

    assert same(decode(encode(Ours("<b>"), "key")), Markup("<b>"))


def test_without_markupsafe_a_safe_text_stays_one() -> None:
    program = (
        "import sys; sys.modules['markupsafe'] = None\n"
        "from redis_mw.sessions.values import decode, encode\n"
        'stored = b\'j{"~markup":"<b>"}\'\n'
        "value = decode(stored)\n"
        "assert type(value).__name__ == 'SafeText' and value.__html__() == '<b>'\n"
        "assert encode(value, 'key') == stored\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_safe_text_joined_to_another_is_plain() -> None:
    assert type(SafeText("<b>") + "<script>") is str


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Text(str):
    pass


class Unzoned(tzinfo):
    def utcoffset(self, dt: datetime | None) -> None:
        return None

    def dst(self, dt: datetime | None) -> None:
        return None

    def tzname(self, dt: datetime | None) -> None:
        return None


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "type_name", "remedy"),
    [
        (Colour.RED, "Colour", "store its .value"),
        (Level.LOW, "Level", "store its .value"),
        (Word.YES, "Word", "store its .value"),
        (Text("x"), "Text", "store a plain str"),
        (Point(1, 2), "Point", "store a plain tuple"),
        (OrderedDict(a=1), "OrderedDict", "store a plain dict"),
        (object(), "object", "store its id"),
        (memoryview(b"x"), "memoryview", "store its id"),
        (1j, "complex", "store its id"),
        (time(1, tzinfo=ZoneInfo("Europe/Berlin")), "time", "fixed offset"),
        (datetime(2024, 1, 1, tzinfo=Unzoned()), "datetime", "fixed offset"),
    ],
)
def test_what_would_come_back_as_something_else_is_refused(value: object, type_name: str, remedy: str) -> None:
    with pytest.raises(CannotEncode, match=remedy) as caught:
        encode(value, "cart")
    assert (caught.value.type, caught.value.path) == (type_name, "cart")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"items": [1, 2, object()]}, "cart.items[2]"),
        ({"a b": {"c": object()}}, "cart['a b'].c"),
        (({"x": (object(),)},), "cart[0].x[0]"),
        ({7: object()}, "cart[7]"),
        ({(1, 2): object()}, "cart[tuple]"),
        ({object(): 1}, "cart{...}"),
        ([{object()}], "cart[0]{...}"),
        ([frozenset({(1, object())})], "cart[0]{...}[1]"),
    ],
)
def test_the_error_names_the_place(value: object, path: str) -> None:
    with pytest.raises(CannotEncode) as caught:
        encode(value, "cart")
    assert caught.value.path == path


def test_what_holds_itself_is_refused() -> None:
    ring: list[object] = []
    ring.append({"again": ring, "beside": ring})
    with pytest.raises(CannotEncode, match="holds itself") as caught:
        encode(ring, "key")
    assert len(caught.value.path) < 200


@pytest.mark.parametrize(
    "wrap",
    [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: (inner,)],
    ids=["list", "dict", "tuple"],
)
def test_nesting_is_good_to_the_limit_and_refused_beyond_both_ways(wrap: Any) -> None:
    value: object = b"x"
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    encoded = encode(value, "key")
    assert same(decode(encoded), value)
    with pytest.raises(CannotEncode):
        encode(wrap(value), "key")
    with pytest.raises(DamagedValue):
        decode(b"j[" + encoded[1:] + b"]")


def test_an_endless_nesting_is_refused_without_exhausting_the_stack() -> None:
    value: object = 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(CannotEncode):
        encode(value, "key")
    while isinstance(value, list):  # taken apart by hand
        value = value.pop()


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: (inner,)], ids=["plain", "tagged"])
def test_near_the_end_of_the_callers_stack_it_is_written_or_refused(wrap: Any) -> None:
    value: object = 1
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    expected = encode(value, "key")

    def descend(frames: int) -> bytes:
        return descend(frames - 1) if frames else encode(value, "key")

    outcomes = set[bytes]()
    room = sys.getrecursionlimit() - len(inspect.stack(0))
    for spare in range(20, 300):
        try:
            outcomes.add(descend(room - spare))
        except CannotEncode:
            outcomes.add(b"refused")
    assert outcomes == {expected, b"refused"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"j",
        b"x1",
        b"e" + bytes(40),
        b"\x80\x04N.",
        b"j{",
        b"j1 2",
        b'j"\xff"',
        b'j"\\ud800"',
        b"j1e400",
        b"j" + b"9" * 5000,
        b"jNaN",
        b'j{"~nope":1}',
        b'j{"~":1}',
        b'j{"~tuple":1}',
        b'j{"~tuple":"ab"}',
        b'j{"~set":[[]]}',
        b'j{"~set":[1,1]}',
        b'j{"~frozenset":[{}]}',
        b'j{"~dict":[1]}',
        b'j{"~dict":["ab"]}',
        b'j{"~dict":[[1]]}',
        b'j{"~dict":[[[],1]]}',
        b'j{"~dict":[[1,1],[1,2]]}',
        b'j{"~dict":{}}',
        b'j{"~bytes":1}',
        b'j{"~bytes":"A"}',
        b'j{"~bytes":"AP8"}',
        b'j{"~bytes":"A*P8="}',
        b'j{"~bytearray":null}',
        b'j{"~datetime":"2024"}',
        b'j{"~datetime":"2024-01-31"}',
        b'j{"~datetime":"2024-01-31T00:00:00Z"}',
        b'j{"~datetime":"2024-01-31T00:00:00 fold=2"}',
        b'j{"~date":"20240131"}',
        b'j{"~time":"25:00:00"}',
        b'j{"~timedelta":"1e3"}',
        b'j{"~timedelta":"999999999999999999999999"}',
        b'j{"~decimal":"one"}',
        b'j{"~decimal":" 1"}',
        b'j{"~decimal":"1e99999999999999999999999"}',
        b'j{"~uuid":"1"}',
        b'j{"~uuid":"00000000000000000000000000000000"}',
        b'j{"~int":"0x5"}',
        b'j{"~int":"x"}',
        b'j{"~float":"1.0"}',
        b'j{"~text":"YQ=="}',
        b'j{"~markup":{"~tuple":[]}}',
        b"j" + b"[" * 65 + b"]" * 65,
        b"j" + b"[" * 1_000_000,
        b"j" + b'{"~tuple":[' * 500 + b"]}" * 500,
        b"j" + b'{"~markup":' * 500 + b'"a"' + b"}" * 500,
        b"j" + b'{"~dict":[[1,' * 300 + b"1" + b"]]}" * 300,
    ],
    ids=lambda data: f"{data[:30]!r} of {len(data)}",
)
def test_damaged_bytes_are_said_to_be_damaged(data: bytes) -> None:
    with pytest.raises(DamagedValue):
        decode(data)


def decodes_or_is_damaged(data: bytes) -> None:
    try:
        value = decode(data)
    except DamagedValue:
        return
    encoded = encode(value, "key")  # what was read can be written again
    assert same(decode(encoded), value)


@settings(deadline=None)
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_decode_or_are_damaged(data: bytes, marked: bool) -> None:
    decodes_or_is_damaged(b"j" + data if marked else data)


tags = ["tuple", "set", "frozenset", "dict", "markup", "text", "int", "float", "bytes", "bytearray", "datetime"]
tags += ["date", "time", "timedelta", "decimal", "uuid", "", "other"]
tag_like = st.recursive(
    st.none() | st.integers() | st.text("0123456789-:+TZxaf=. ", max_size=14) | st.sampled_from(["nan", "Infinity"]),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(tags).map("~".__add__), inner, max_size=2),
        st.lists(inner, max_size=3),
        st.lists(st.lists(inner, min_size=2, max_size=2), max_size=3),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(tag_like)
def test_any_json_with_tags_decodes_or_is_damaged(tree: object) -> None:
    decodes_or_is_damaged(b"j" + msgspec.json.encode(tree))


@settings(deadline=None)
@given(supported, st.data())
def test_a_flipped_or_missing_byte_decodes_or_is_damaged(value: object, data: st.DataObject) -> None:
    encoded = bytearray(encode(value, "key"))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255))
    decodes_or_is_damaged(bytes(encoded))
    decodes_or_is_damaged(bytes(encoded[:at]))


def test_scalars_of_every_kind_come_back_as_themselves() -> None:
    value = [
        date.max,
        time.max,
        timedelta.min,
        UUID(int=5),
        Decimal("-0E+3"),
        Decimal("NaN7"),
        -0.0,
        5e-324,
        datetime.min,
    ]
    assert same(decode(encode(value, "key")), value)
