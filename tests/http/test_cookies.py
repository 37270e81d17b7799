from datetime import UTC, datetime
from http.cookies import SimpleCookie

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redis_mw.http.cookies import SetCookie, effective_name, read_cookie

OCTETS = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '",;\\')
TOKENS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

names = st.text(TOKENS, min_size=1, max_size=8)
values = st.text(OCTETS, max_size=20)


def test_a_cookie_is_written_with_its_attributes():
    cookie = SetCookie(name="__Host-session", value="abc.def", max_age=900, secure=True)
    assert cookie.header() == "__Host-session=abc.def; Max-Age=900; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_every_attribute_has_its_word():
    cookie = SetCookie(
        name="s",
        value="",
        expires=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        path="/shop",
        domain="shop.example",
        secure=True,
        http_only=False,
        same_site="none",
        partitioned=True,
    )
    assert cookie.header() == (
        "s=; Expires=Wed, 02 Jan 2030 03:04:05 GMT; Domain=shop.example; Path=/shop; Secure; SameSite=None; Partitioned"
    )
    assert SetCookie(name="s", value="1", path=None, same_site=None, http_only=False).header() == "s=1"


def test_a_cookie_is_deleted_with_the_attributes_it_was_set_with():
    cookie = SetCookie(name="s", value="1", max_age=60, path="/shop", domain="shop.example", secure=True)
    assert cookie.deleted().header() == (
        "s=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; "
        "Domain=shop.example; Path=/shop; Secure; HttpOnly; SameSite=Lax"
    )


@pytest.mark.parametrize("text", ["a;b", "a b", "a,b", 'a"b', "a\\b", "a\r\nSet-Cookie: x=y", "\x7f", "é"])
def test_nothing_can_be_smuggled_into_the_field(text):
    with pytest.raises(ValueError):
        SetCookie(name="s", value=text).header()
    with pytest.raises(ValueError):
        SetCookie(name=text, value="v").header()
    if set(text) & set(";\r\x7fé"):
        with pytest.raises(ValueError):
            SetCookie(name="s", value="v", path=f"/{text}").header()
        with pytest.raises(ValueError):
            SetCookie(name="s", value="v", domain=text).header()


@given(names, values)
def test_the_standard_library_reads_what_is_written(name, value):
    header = SetCookie(name=name, value=value, max_age=5).header()
    if name.lower() in ("path", "domain", "expires", "max-age", "secure", "httponly", "samesite", "version", "comment",
                        "partitioned") or name.startswith("$"):  # fmt: skip
        return  # it takes these for attributes
    morsel = SimpleCookie(header)[name]
    assert morsel.value == value and morsel["max-age"] == "5" and morsel["path"] == "/" and morsel["httponly"] is True


@given(
    names.filter(lambda name: name[0] != "-"), st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20)
)
@example("s", 'a;b,c "d" \\e\\054')
def test_what_the_standard_library_quotes_is_unquoted(name, value):
    _, coded = SimpleCookie().value_encode(value)
    if coded.startswith('"') or not set(value) - set(OCTETS):
        assert read_cookie([f"-other=1; {name}={coded}; -last=2"], name) == value


@given(st.lists(st.tuples(names, values), max_size=5), names)
def test_the_first_of_a_name_wins_in_whatever_field_it_stands(pairs, wanted):
    expected = next((value for name, value in pairs if name == wanted), None)
    assert read_cookie(["; ".join(f"{name}={value}" for name, value in pairs)], wanted) == expected
    assert read_cookie([f"{name}={value}" for name, value in pairs], wanted) == expected


@given(st.lists(st.text(), max_size=3), st.text())
@example(["s"], "s")
@example(['s="'], "s")
@example(['s="\\'], "s")
@example([";;=;s;=s=;"], "s")
def test_junk_is_passed_over(headers, name):
    assert read_cookie(headers, name) is None or isinstance(read_cookie(headers, name), str)


@given(st.lists(st.text(st.characters(exclude_characters=";"), max_size=6), max_size=6))
def test_junk_around_a_cookie_does_not_hide_it(junk):
    others = [text for text in junk if text.partition("=")[0].strip() != "session"]
    assert read_cookie([";".join([*others, " session=abc ", *others])], "session") == "abc"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "__Host-session"),
        ({"host_prefix": False}, "session"),
        ({"secure": False}, "session"),
        ({"path": "/shop"}, "session"),
        ({"domain": "shop.example"}, "session"),
    ],
)
def test_the_host_prefix_is_given_only_where_browsers_accept_it(changes, name):
    asked = {"host_prefix": True, "secure": True, "path": "/", "domain": None}
    assert effective_name("session", **{**asked, **changes}) == name
    assert effective_name("__Host-session", **{**asked, **changes}) == "__Host-session"
