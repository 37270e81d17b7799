import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redis_mw.errors import PolicyError
from redis_mw.policy.patterns import compiled


@pytest.mark.parametrize(
    ("pattern", "path", "parameters"),
    [
        ("/", "/", {}),
        ("/", "", None),
        ("/login", "/login", {}),
        ("/login", "/Login", None),
        ("/login", "/login/", None),
        ("/login", "/login\n", None),
        ("/a.b", "/axb", None),
        ("/orders/{id}", "/orders/10", {"id": "10"}),
        ("/orders/{id}", "/orders/", None),
        ("/orders/{id}", "/orders/1/2", None),
        ("/orders/{id}/pay", "/orders/a b/pay", {"id": "a b"}),
        ("/{a}/{b}", "/1/2", {"a": "1", "b": "2"}),
        ("/files/{name:path}", "/files/a/b.txt", {"name": "a/b.txt"}),
        ("/files/{name:path}", "/files/", {"name": ""}),
        ("/files/{name:path}", "/files", None),
        ("/static/*", "/static/a/b\nc", {}),
        ("/static/*", "/static/", {}),
        ("/static/*", "/static", None),
        ("/*", "/", {}),
    ],
)
def test_a_pattern_matches_the_whole_path(pattern, path, parameters):
    assert compiled(pattern).match(path) == parameters


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "login",
        "*",
        "/a*",
        "/*/b",
        "/{x:path}/b",
        "/{}",
        "/{a b}",
        "/{1}",
        "/{x:int}",
        "/{x",
        "/x}",
        "/a{x}",
        "/{x}{y}",
        "/{x}/{x}",
        "/**",
        "/{x:}",
        "/{x:rest}",
    ],
)
def test_a_bad_pattern_is_refused_and_named(pattern):
    with pytest.raises(PolicyError) as caught:
        compiled(pattern)
    assert repr(pattern) in str(caught.value)


segments = st.sampled_from(["a", "b", "A", "", "{x}", "{y}", ".", "é"])
paths = st.lists(st.sampled_from(["a", "b", "A", "", ".", "é", "x y"]), min_size=1, max_size=4).map(
    lambda p: "/" + "/".join(p)
)


def model(pattern: list[str], path: list[str]) -> dict[str, str] | None:
    """Segment by segment, without a regular expression."""
    if not pattern:
        return None if path else {}
    first = pattern[0]
    if first in ("*", "{r:path}"):
        return ({"r": "/".join(path)} if first != "*" else {}) if path else None
    if not path or (path[0] == "" if first.startswith("{") else path[0] != first):
        return None
    rest = model(pattern[1:], path[1:])
    return rest if rest is None or not first.startswith("{") else {first[1:-1]: path[0], **rest}


@given(st.lists(segments, max_size=3), st.sampled_from([[], ["*"], ["{r:path}"], ["a"]]), paths)
@example(["a"], ["*"], "/a/")
def test_matching_agrees_with_its_plain_model(start, end, path):
    pattern = [*start, *end] or [""]
    parameters = [segment for segment in pattern if segment in ("{x}", "{y}")]
    if len(set(parameters)) < len(parameters):
        return
    assert compiled("/" + "/".join(pattern)).match(path) == model(pattern, path[1:].split("/"))


@given(st.text() | st.text("/{}*:xypath"), st.text() | st.text("/xya"))
def test_any_text_is_a_pattern_or_a_policy_error(pattern, path):
    try:
        match = compiled(pattern).match(path)
    except PolicyError:
        return
    assert match is None or all(isinstance(value, str) for value in match.values())


@given(st.text(st.characters(exclude_characters="{}*"), max_size=10))
def test_a_literal_matches_itself_and_nothing_else(text):
    pattern = compiled(f"/{text}")
    assert pattern.literal and pattern.match(f"/{text}") == {} and pattern.match(f"/{text}x") is None
