"""How templates are written; a bad one is a problem of the settings, or of the decorator, that names its place."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redis_mw import Idempotency, Idempotent, Lock, Locks, Rule, Settings, SettingsError
from redis_mw.settings.templates import parse_template

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
LITERALS = st.text("abc:{}/ é", max_size=6)


@given(st.text("{}ab:!.[]0 ", max_size=12) | st.text(max_size=12))
@example("{")
@example("}")
@example("{}")
@example("{a.b}")
@example("{a[0]}")
@example("{a!r}")
@example("{a:>3}")
@example("{0}")
@example("{a}{b}")
@example("{{a}")
@example("\udc80")
def test_any_text_is_a_template_or_an_error_with_a_remedy(text: str) -> None:
    try:
        pieces = parse_template(text)
    except ValueError as error:
        said = str(error)
    else:
        said = ""
        assert all(piece.name is None or piece.name.isidentifier() for piece in pieces)
        written = "".join(
            piece.text.replace("{", "{{").replace("}", "}}") + (f"{{{piece.name}}}" if piece.name is not None else "")
            for piece in pieces
        )
        assert parse_template(written) is not None
        assert written.replace(":}", "}") == text.replace(":}", "}")
    assert not said or "{" in said, "it says how one is written"


@given(st.lists(st.tuples(LITERALS, NAMES), max_size=4), LITERALS)
def test_braces_that_are_meant_are_doubled(parts: list[tuple[str, str]], end: str) -> None:
    def doubled(text: str) -> str:
        return text.replace("{", "{{").replace("}", "}}")

    template = "".join(f"{doubled(text)}{{{name}}}" for text, name in parts) + doubled(end)
    if any(not text for text, _ in parts[1:]):
        with pytest.raises(ValueError, match="nothing parts"):
            parse_template(template)
        return
    pieces = parse_template(template)
    assert [piece.name for piece in pieces if piece.name is not None] == [name for _, name in parts]
    filled = "".join(piece.text + (f"<{piece.name}>" if piece.name is not None else "") for piece in pieces)
    assert filled == "".join(f"{text}<{name}>" for text, name in parts) + end


BAD = ["order:{}", "order:{id", "order:id}", "order:{id.x}", "order:{id!r}", "order:{a}{b}"]


@pytest.mark.parametrize("template", BAD)
def test_a_bad_template_is_a_problem_of_the_settings(template: str) -> None:
    rules = [Rule("/"), Rule("/x", lock=Lock(template), idempotency=Idempotent(scope=template))]
    with pytest.raises(SettingsError) as caught:
        Settings(rules=rules)
    assert [problem.path for problem in caught.value.problems] == ["rules[1].lock.name", "rules[1].idempotency.scope"]
    assert all("{" in problem.remedy for problem in caught.value.problems)


def test_what_a_callable_says_is_no_template() -> None:
    def name(request: Any) -> str:
        return "{"

    for each in (name, "call:package.module"):
        Settings(rules=[Rule("/x", lock=Lock(each), idempotency=Idempotent(scope=each))])


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"rules": [Rule("/x", lock=Lock("a", ttl=0.0004))]}, "rules[0].lock.ttl"),
        ({"locks": Locks(ttl=0.0004)}, "locks.ttl"),
        ({"locks": Locks(max_hold=0.0004, ttl=0.0004)}, "locks.ttl"),
        ({"idempotency": Idempotency(lease=0.0004)}, "idempotency.lease"),
    ],
)
def test_a_lease_that_is_shorter_than_redis_can_tell_is_a_problem_at_the_start(given: Any, path: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(**given)
    assert caught.value.problems[0].path == path
