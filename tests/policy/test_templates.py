"""How templates are filled for a request, and what is known at the start of one that never can be."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw import Idempotent, Lock, PolicyError, Rule, Settings
from redis_mw.layer.cookie import SessionCookie
from redis_mw.layer.layer import Layer
from redis_mw.layer.rooms import rooms_of
from redis_mw.policy.templates import Template

SECRET = "a secret of thirty-two characters or more"


def test_a_template_is_filled_with_what_the_request_has() -> None:
    assert Template("order:{id}:{user}").fill({"id": "7", "user": "42"}) == "order:7:42"
    assert Template("{{order}}:{id}").fill({"id": "{7}"}) == "{order}:{7}"
    assert Template("all orders").fill({}) == "all orders"


@pytest.mark.parametrize("missing", [None, ""])
def test_what_the_request_has_not_gives_no_name(missing: str | None) -> None:
    assert Template("cart:{user}").fill({"user": missing}) is None
    assert Template("cart:{user}:{id}").fill({"user": "42", "id": missing}) is None


def test_what_no_request_has_there_is_an_error_that_says_so() -> None:
    with pytest.raises(PolicyError, match=r"\{id\}.*order:\{id\}"):
        Template("order:{id}").fill({"user": "42", "session": None})


def test_a_text_that_is_no_template_is_an_error() -> None:
    with pytest.raises(PolicyError, match="twice"):
        Template("order:{")


values = st.text(":0123456789{}a", min_size=1, max_size=5)


@given(st.tuples(values, values), st.tuples(values, values), st.sampled_from(["{a}:{b}", "{a}{{{b}}}", "x{a}1{b}"]))
def test_other_values_never_give_the_same_text_where_they_are_kept_apart(
    one: tuple[str, str], other: tuple[str, str], text: str
) -> None:
    template = Template(text)
    first, second = (template.fill({"a": a, "b": b}, apart=True) for a, b in (one, other))
    assert (first == second) == (one == other)


def layer_of(settings: Settings) -> Layer:
    return Layer(settings, None, SessionCookie(name="sid"), rooms_of(settings, (), SECRET))  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", [{"lock": Lock("order:{id}")}, {"idempotency": Idempotent(scope="order:{id}")}])
@pytest.mark.parametrize("path", ["/orders", "/orders/{order_id}", "/orders/*"])
def test_a_rule_whose_path_lacks_the_parameter_stops_the_start(policy: dict[str, Any], path: str) -> None:
    with pytest.raises(PolicyError) as caught:
        layer_of(Settings(rules=[Rule("/x"), Rule(path, methods=["POST"], **policy)]))
    assert path in str(caught.value) and "{id}" in str(caught.value) and "order:{id}" in str(caught.value)


@pytest.mark.parametrize("off", ["locks", "idempotency"])
def test_not_where_the_feature_is_off(off: str) -> None:
    policy: dict[str, Any] = {"lock": Lock("{id}")} if off == "locks" else {"idempotency": Idempotent(scope="{id}")}
    layer_of(Settings(rules=[Rule("/x", **policy)], **{off: None}))


@pytest.mark.parametrize("name", ["{user}", "{session}", "fixed", "{id}", "{rest}:{user}"])
def test_one_that_can_be_filled_does_not(name: str) -> None:
    layer = layer_of(Settings(rules=[Rule("/x/{id}/{rest:path}", lock=Lock(name))]))
    assert layer.needs_routes is ("id" in name or "rest" in name), "the route may read those otherwise"
