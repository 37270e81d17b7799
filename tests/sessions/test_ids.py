"""Ids are 256 random bits of one shape; a cookie is good only as it was signed, and garbage is nobody's."""

import re
import string
from hashlib import sha256
from random import Random

import itsdangerous
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redis_mw.sessions import ids
from redis_mw.sessions.ids import Signer, Verified, is_id, name_of, new_id, renewed_id

SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "another secret, of thirty-two characters"
ID = "AAAA" + "B" * 43
COOKIE = ID + ".Lh4sFdxQW2_zUSHzcU6FotN71gH_UD-v9PyaXtARdLk"
SIGNER = Signer([SECRET, OTHER])

alphabet = string.ascii_letters + string.digits + "-_"
some_id = st.text(alphabet, min_size=47, max_size=47)


def test_a_new_id_is_35_random_bytes_in_base64url() -> None:
    assert new_id(lambda count: "x" * count) == "x" * 35  # bytes asked for
    made = {new_id() for _ in range(100)}
    assert len(made) == 100
    assert all(is_id(id) for id in made)


def test_a_renewed_id_keeps_its_place_and_nothing_else() -> None:
    renewed = renewed_id(ID)
    assert is_id(renewed)
    assert renewed[:4] == ID[:4]
    assert renewed[4:] != ID[4:]
    assert name_of(renewed)[:8] == name_of(ID)[:8]
    assert name_of(renewed)[8:] != name_of(ID)[8:]


def test_a_name_is_made_of_digests() -> None:
    assert name_of(ID) == sha256(b"AAAA").hexdigest()[:8] + sha256(ID.encode()).hexdigest()
    assert re.fullmatch("[0-9a-f]{72}", name_of(ID))


@pytest.mark.parametrize(
    "text",
    ["", ID[:-1], ID + "A", ID + "\n", ID[:-1] + "=", ID[:-1] + "é", ID[:-1] + "\ud800", ID * 2],
    ids=ascii,
)
def test_another_shape_is_no_id(text: str) -> None:
    assert not is_id(text)


def test_the_test_vector_of_the_documentation() -> None:
    assert Signer([SECRET]).sign(ID) == COOKIE
    assert ids.__doc__ is not None
    assert f'cookie  "{COOKIE}"' in ids.__doc__
    assert Signer([SECRET]).verify(COOKIE) == Verified(ID, stale=False)


def test_itsdangerous_alone_reads_and_makes_our_cookies() -> None:
    plain = itsdangerous.Signer(SECRET, "redis-mw.session.v1", key_derivation="hmac", digest_method=sha256)
    assert plain.unsign(COOKIE).decode() == ID
    assert plain.sign(ID).decode() == COOKIE


@settings(deadline=None)
@given(some_id)
def test_what_was_signed_is_verified_also_from_memory(id: str) -> None:
    cookie = SIGNER.sign(id)
    assert SIGNER.verify(cookie) == SIGNER.verify(cookie) == Verified(id, stale=False)


def test_a_cookie_of_an_old_secret_is_stale_and_of_an_unknown_one_is_nobodys() -> None:
    old = Signer([OTHER]).sign(ID)
    assert SIGNER.verify(old) == Verified(ID, stale=True)
    assert SIGNER.verify(old) == Verified(ID, stale=True)
    assert Signer([SECRET]).verify(old) is None


def test_another_salt_is_another_cookie() -> None:
    assert SIGNER.verify(Signer([SECRET], salt="redis-mw.other").sign(ID)) is None


def test_secrets_may_be_bytes() -> None:
    assert Signer([SECRET.encode()]).sign(ID) == COOKIE


@pytest.mark.parametrize("secrets", [[], [""], [SECRET, ""], SECRET], ids=repr)
def test_no_secret_or_an_empty_one_is_refused(secrets: list[str]) -> None:
    with pytest.raises(ValueError, match="secrets"):
        _ = Signer(secrets)


def test_an_id_has_one_cookie_text() -> None:
    # The last character of 32 bytes in base64 carries two unused bits: a lenient reader would take four of these.
    verified = [text for text in (COOKIE[:-1] + letter for letter in alphabet) if SIGNER.verify(text)]
    assert verified == [COOKIE]


def test_a_well_signed_text_of_another_shape_is_nobodys() -> None:
    plain = itsdangerous.Signer(SECRET, "redis-mw.session.v1", key_derivation="hmac", digest_method=sha256)
    for text in ("", "A" * 46, "A" * 48, "A" * 46 + ".", "é" * 47):
        assert SIGNER.verify(plain.sign(text).decode("utf-8")) is None


anything = st.text(st.characters(exclude_categories=()), max_size=120)
shaped = st.builds("{}.{}".format, some_id, st.text(alphabet, min_size=43, max_size=43))
cross_signed = some_id.map(Signer([OTHER + "!"]).sign)
truncated = st.builds(lambda id, cut: SIGNER.sign(id)[:cut], some_id, st.integers(0, 90))
extended = st.builds(lambda id, more: SIGNER.sign(id) + more, some_id, st.text(min_size=1, max_size=9))
swapped = st.builds(lambda one, two: SIGNER.sign(one)[:48] + SIGNER.sign(two)[48:], some_id, some_id).filter(
    lambda text: text != SIGNER.sign(text[:47])
)
one_character_off = st.builds(
    lambda at, letter: COOKIE[:at] + letter + COOKIE[at + 1 :], st.integers(0, 90), st.characters(exclude_categories=())
).filter(lambda text: text != COOKIE)


@settings(deadline=None)
@given(st.one_of(anything, shaped, cross_signed, truncated, extended, swapped, one_character_off))
@example("")
@example("\x00" * 91)
@example("\ud800" * 91)
@example("x" * 10_000_000)
@example("." * 10_000_000)
def test_garbage_truncated_and_cross_signed_cookies_are_nobodys(cookie: str) -> None:
    assert SIGNER.verify(cookie) is None


def test_twenty_thousand_forgeries_are_nobodys() -> None:
    random = Random(2)
    stranger = Signer(["x" * 32])
    for number in range(20_000):
        id = "".join(random.choices(alphabet, k=47))
        good = SIGNER.sign(id)
        at = random.randrange(91)
        noise = "".join(random.choices(alphabet + ".=+/%; \0\n\xff\ud800\u2028", k=random.randrange(1, 200)))
        forgeries = (
            noise,
            good[:at],
            good + noise,
            good[:at] + noise[0] + good[at + 1 :],
            good[:at] + noise + good[at:],
            good[:48] + COOKIE[48:],
            COOKIE[:48] + good[48:],
            stranger.sign(id),
            good.swapcase(),
            good[48:] + "." + good[:47],
        )
        forgery = forgeries[number % len(forgeries)]
        assert forgery == good or SIGNER.verify(forgery) is None, (number, forgery)
        assert SIGNER.verify(good) == Verified(id, stale=False)


def test_memory_holds_good_cookies_only_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "REMEMBERED", 10)
    signer = Signer([SECRET])
    for number in range(100):
        cookie = signer.sign(f"{number:047}")
        assert signer.verify(cookie) == Verified(f"{number:047}", stale=False)
        assert signer.verify(cookie[:-1] + ("A" if cookie[-1] != "A" else "E")) is None
        assert signer.verify("x" * 1_000_000) is None
        assert 1 <= len(signer._remembered) <= 10
    assert {len(cookie) for cookie in signer._remembered} == {91}
