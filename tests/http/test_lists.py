"""Lists in fields, the fields of one connection, and structured fields: read whole or not at all, never raising."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.http.hops import end_to_end
from redis_mw.http.lists import elements, is_token
from redis_mw.http.structured import dictionary, strings

anything = st.text(st.characters(exclude_categories=()), max_size=60) | st.text('",\\ ab=;()?@:', max_size=60)


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        (["a, b,c"], ["a", "b", "c"]),
        (["a", "b"], ["a", "b"]),
        ([",, a ,\t,", "", " b"], ["a", "b"]),
        (['a="x, y", b'], ['a="x, y"', "b"]),
        (['a="x\\", y", b'], ['a="x\\", y"', "b"]),
        (['a="x, b', "c"], ['a="x', "b", "c"]),  # a quote that is never closed hides nothing
        (['a="x", b="y, c'], ['a="x"', 'b="y', "c"]),
        ([], []),
    ],
)
def test_a_list_is_cut_at_commas_outside_quotes(lines: list[str], parts: list[str]) -> None:
    assert list(elements(lines)) == parts


@pytest.mark.parametrize("line", ['"' + '\\"' * 50_000, '"' * 99_999, '"\\' * 50_000, ',"' * 50_001])
def test_a_long_line_takes_time_in_proportion(line: str) -> None:
    """Half a minute for each where every quote looks for its end again; a moment else."""
    assert "".join(elements([line]))


@given(st.lists(anything, max_size=3))
def test_no_text_is_an_exception(lines: list[str]) -> None:
    assert all(part and part == part.strip(" \t") for part in elements(lines))
    assert dictionary(lines) is None or isinstance(dictionary(lines), dict)
    found = strings(lines)
    assert found is None or all(isinstance(member, str) for member in found)
    assert all(not is_token(line) or list(elements([line])) == [line] for line in lines)


def test_structured_fields_are_read_whole_or_not_at_all() -> None:
    assert dictionary(['a=1;x, b="t"', "c"]) == {"a": 1, "b": "t", "c": True}
    assert dictionary(["a=1, &"]) is None and dictionary(["A=1"]) is None and dictionary([""]) == {}
    assert dictionary(["a=@99999999999999"]) is None or "a" in (dictionary(["a=@99999999999999"]) or {})
    assert strings(['"a";x, "b"', '"c"']) == ("a", "b", "c") and strings([""]) == ()
    assert strings(["a"]) is None and strings(['"a", b']) is None and strings(['("a")']) is None
    assert strings(['"ä"']) is None and strings(['"a",']) is None


def test_what_belongs_to_one_connection_is_dropped() -> None:
    """RFC 9110 section 7.6.1."""
    kept = (("Content-Type", "text/plain"), ("X-Kept", "1"))
    dropped = [
        *[("Connection", "close, X-Hop"), ("connection", '"x", x-other'), ("Keep-Alive", "5"), ("TE", "trailers")],
        *[("Transfer-Encoding", "chunked"), ("Upgrade", "h2c"), ("Trailer", "x"), ("Proxy-Authenticate", "Basic")],
        *[("X-HOP", "1"), ("X-Other", "2"), ("Proxy-Connection", "close")],
    ]
    assert end_to_end([*dropped, *kept]) == kept
