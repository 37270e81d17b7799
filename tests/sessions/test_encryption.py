"""A sealed field opens in its place and nowhere else; rotation; and what the codec lets through."""

import hmac
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redis_mw.errors import CannotEncode, MissingExtra
from redis_mw.sessions.codec import Codec
from redis_mw.sessions.encryption import Sealer
from redis_mw.sessions.values import DamagedValue

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
SEALER = Sealer([OLD])


def test_the_wire_format_is_the_documented_one() -> None:
    from hashlib import sha256

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    sealed = Sealer([OLD], random=lambda count: b"n" * count).seal(b"j1", b"session", "cart")
    own = hmac.digest(OLD, b"redis-mw.session.e1" + b"session", "sha256")
    assert sealed[:17] == b"e" + sha256(OLD).digest()[:4] + b"n" * 12
    assert AESGCM(own).decrypt(b"n" * 12, sealed[17:], b"cart") == b"j1"


@settings(deadline=None)
@given(st.binary(), st.binary(), st.text(st.characters(exclude_categories=())))
def test_what_is_sealed_opens_in_its_place(plain: bytes, context: bytes, field: str) -> None:
    sealed = SEALER.seal(plain, context, field)
    assert SEALER.open(sealed, context, field) == plain
    assert SEALER.seal(plain, context, field) != sealed


places = st.tuples(st.binary(max_size=8), st.text(max_size=8))


@settings(deadline=None)
@given(places, places)
def test_a_value_moved_to_another_field_or_session_does_not_open(
    here: tuple[bytes, str], there: tuple[bytes, str]
) -> None:
    sealed = SEALER.seal(b"j1", *here)
    if here == there:
        assert SEALER.open(sealed, *there) == b"j1"
    else:
        with pytest.raises(DamagedValue):
            _ = SEALER.open(sealed, *there)


def test_a_border_between_field_and_session_cannot_be_moved() -> None:
    sealed = SEALER.seal(b"j1", b"bc", "a")
    with pytest.raises(DamagedValue):
        _ = SEALER.open(sealed, b"c", "ab")


@settings(deadline=None)
@given(st.data())
def test_any_change_of_the_sealed_bytes_is_damage(data: st.DataObject) -> None:
    sealed = bytearray(SEALER.seal(b'j"hello"', b"session", "cart"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(sealed), bytes(sealed[:at])):
        with pytest.raises(DamagedValue):
            _ = SEALER.open(damaged, b"session", "cart")


@settings(deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_garbage_is_damage(data: bytes, sealed: bool) -> None:
    with pytest.raises(DamagedValue):
        _ = SEALER.open(SEALER.seal(b"", b"", "")[:5] + data if sealed else data, b"session", "cart")


def test_the_newest_key_seals_and_all_of_them_open() -> None:
    rotated = Sealer([NEW, OLD])
    before, after = SEALER.seal(b"j1", b"s", "f"), rotated.seal(b"j2", b"s", "f")
    assert rotated.open(before, b"s", "f") == b"j1"
    assert rotated.open(after, b"s", "f") == Sealer([NEW]).open(after, b"s", "f") == b"j2"
    with pytest.raises(DamagedValue):
        _ = SEALER.open(after, b"s", "f")


@pytest.mark.parametrize("keys", [[], [b""], [b"short"], [OLD, b"x" * 33]])
def test_keys_of_other_lengths_are_refused(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="16, 24 or 32 bytes"):
        _ = Sealer(keys)


def test_without_cryptography_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(MissingExtra, match=r"redis-mw\[encryption\]"):
        _ = Sealer([OLD])


@pytest.mark.parametrize("codec", [Codec(), Codec(SEALER)], ids=["plain", "sealed"])
def test_the_codec_gives_back_what_it_was_given(codec: Codec) -> None:
    value = {"items": (1, b"x")}
    plain = codec.to_plain("cart", value)
    stored = codec.seal(plain, b"session", "cart")
    assert codec.open(stored, b"session", "cart") == plain == codec.to_plain("cart", {"items": (1, b"x")})
    assert codec.to_value(plain) == value
    with pytest.raises(CannotEncode, match=r"cart\[0\]"):
        _ = codec.to_plain("cart", [object()])


def test_without_a_sealer_the_stored_bytes_are_the_plain_ones() -> None:
    assert Codec().seal(b"j1", b"session", "cart") == b"j1"


def test_values_from_before_encryption_are_still_read() -> None:
    assert Codec(SEALER).open(b"j1", b"session", "cart") == b"j1"


def test_a_sealed_value_without_any_key_is_damaged() -> None:
    with pytest.raises(DamagedValue, match="no encryption key"):
        _ = Codec().open(SEALER.seal(b"j1", b"s", "f"), b"s", "f")


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_stored_bytes_are_a_value_or_damaged(data: bytes) -> None:
    for codec in (Codec(), Codec(SEALER)):
        try:
            _ = codec.to_value(codec.open(data, b"session", "cart"))
        except DamagedValue:
            pass
