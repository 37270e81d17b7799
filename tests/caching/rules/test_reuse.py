"""When a stored response answers without asking (RFC 9111 section 4), and what a request may say to it (5.2.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.caching.rules.freshness import SECOND, Freshness
from redis_mw.caching.rules.reuse import (
    Fresh,
    Miss,
    Outcome,
    Pass,
    Stale,
    Unavailable,
    Validate,
    reuse,
    usable_on_error,
)
from redis_mw.caching.rules.storing import Storable
from redis_mw.http.request import Fields, Request

THEN = 1_800_000_000 * SECOND


def stored(*, authorized: bool = False, strict: bool = False, age: int = 10) -> Storable:
    """Fresh for 100 seconds, then 50 of stale-while-revalidate and 200 of stale-if-error."""
    end = THEN + 100 * SECOND
    fresh = Freshness(
        received_us=THEN,
        age_us=age * SECOND,
        fresh_until_us=end,
        stale_until_us=end if strict else end + 50 * SECOND,
        error_until_us=end if strict else end + 200 * SECOND,
        strict=strict,
    )
    return Storable(fresh, authorized)


def used(
    after: float, *fields: tuple[str, str], method: str = "GET", honour: bool = False, kept: Storable | None = None
) -> Outcome:
    """What becomes of a request so many seconds after the response was received."""
    request = Request(method, "/", headers=Fields(fields))
    now_us = THEN + round(after * SECOND)
    return reuse(request, kept or stored(), now_us=now_us, honour_client=honour)


def test_a_fresh_response_is_the_answer_to_get_and_head() -> None:
    assert used(0) == used(99.999, method="HEAD") == Fresh()


def test_a_stale_one_is_within_its_window() -> None:
    """RFC 5861 section 3."""
    assert used(100) == used(149.9) == Stale("while-revalidate")
    assert used(150) == Validate("stale")
    assert used(100, kept=stored(strict=True)) == Validate("stale")


def test_where_asking_fails_it_is_for_longer() -> None:
    """RFC 5861 section 4."""
    fresh, strict = stored().freshness, stored(strict=True).freshness
    assert usable_on_error(fresh, THEN + 299 * SECOND) and not usable_on_error(fresh, THEN + 300 * SECOND)
    assert usable_on_error(strict, THEN + 99 * SECOND) and not usable_on_error(strict, THEN + 100 * SECOND)


def test_nothing_stored_is_a_miss_that_says_of_what() -> None:
    assert reuse(Request("GET", "/"), None, now_us=THEN) == Miss("uri-miss")
    assert reuse(Request("GET", "/"), None, now_us=THEN, missing="vary-miss") == Miss("vary-miss")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get", "X"])
def test_other_methods_pass(method: str) -> None:
    assert used(0, method=method) == Pass("method")


@pytest.mark.parametrize("name", ["If-Match", "If-Unmodified-Since"])
def test_preconditions_for_the_application_pass(name: str) -> None:
    """RFC 9111 section 4.3.2."""
    assert used(0, (name, "*")) == Pass("bypass")


def test_authorization_gets_only_what_may_be_shared_with_it() -> None:
    field = ("Authorization", "Bearer x")
    assert used(0, field) == Miss("miss") and used(0, field, kept=stored(authorized=True)) == Fresh()
    assert used(0, ("Cookie", "session=1")) == Fresh()


CASES = [
    # seconds after, what the request says, what it gets where that counts
    (0, "no-cache", Validate("request")),
    (0, "No-Cache=x", Validate("request")),
    (0, "max-age=10", Fresh()),  # of age 10 already
    (1, "max-age=10", Validate("request")),
    (0, "max-age=0", Validate("request")),
    (0, "max-age=x", Validate("request")),
    (50, "min-fresh=50", Fresh()),
    (51, "min-fresh=50", Validate("request")),
    (51, "min-fresh=x", Fresh()),
    (110, "max-stale", Stale("max-stale")),
    (10_000, "max-stale", Stale("max-stale")),
    (160, "max-stale=60", Stale("max-stale")),
    (161, "max-stale=60", Validate("stale")),
    (160, "max-stale=60, max-age=1000", Stale("max-stale")),
    (160, "max-stale=60, max-stale=10", Validate("stale")),
    (160, "max-stale=x", Validate("stale")),
    (110, "max-age=1000", Validate("request")),  # section 5.2.1.1: nothing stale unless it says so
    (110, "min-fresh=1", Validate("request")),
    (0, "no-transform, x=y", Fresh()),
]


@pytest.mark.parametrize(("after", "line", "outcome"), CASES)
def test_a_request_may_ask_for_more_or_less_where_it_is_heard(after: float, line: str, outcome: Outcome) -> None:
    """RFC 9111 section 5.2.1. Not heard by default, or anybody could make the application run."""
    assert used(after, ("Cache-Control", line), honour=True) == outcome
    assert used(after, ("Cache-Control", line)) == used(after)


def test_pragma_is_heard_where_cache_control_is_not_sent() -> None:
    """RFC 9111 section 5.4."""
    assert (
        used(0, ("Pragma", "no-cache"), honour=True) == Validate("request")
        and used(0, ("Pragma", "no-cache")) == Fresh()
    )


def test_max_stale_asks_in_vain_for_what_must_be_validated() -> None:
    """RFC 9111 section 4.2.4."""
    assert used(101, ("Cache-Control", "max-stale"), honour=True, kept=stored(strict=True)) == Validate("stale")


@pytest.mark.parametrize("honour", [True, False])
def test_only_if_cached_gets_what_is_stored_or_504(honour: bool) -> None:
    """RFC 9111 section 5.2.1.7."""
    only = ("Cache-Control", "Only-If-Cached")
    assert used(0, only, honour=honour) == Fresh()
    assert used(110, only, honour=honour) == Stale("while-revalidate")
    assert used(150, only, honour=honour) == Unavailable()
    assert reuse(Request("GET", "/", headers=Fields((only,))), None, now_us=THEN) == Unavailable()
    assert used(0, ("Cache-Control", "only-if-cached, no-cache"), honour=True) == Unavailable()


def test_no_store_in_a_request_does_not_keep_it_from_what_is_stored() -> None:
    """RFC 9111 section 5.2.1.5 speaks of storing."""
    assert used(0, ("Cache-Control", "no-store"), honour=True) == Fresh()


anything = st.text(st.characters(exclude_categories=()), max_size=30) | st.sampled_from([line for _, line, _ in CASES])
names = anything | st.sampled_from(["Cache-Control", "Pragma", "Authorization", "If-Match", "Range"])


@given(st.lists(st.tuples(names, anything), max_size=4).map(tuple), st.integers(-10, 400), st.booleans(), anything)
def test_no_text_is_an_exception_and_nothing_strict_is_used_stale(
    pairs: tuple[tuple[str, str], ...], after: int, honour: bool, method: str
) -> None:
    assert used(after, *pairs, method=method, honour=honour) is not None
    found = used(after, *pairs, honour=honour, kept=stored(strict=True))
    assert not isinstance(found, Stale) and (after < 100 or not isinstance(found, Fresh))
