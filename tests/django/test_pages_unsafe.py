"""What an unsafe request has made wrong is forgotten before its answer is sent."""

from typing import Any

import pytest

from redis_mw import Cached, Rule
from redis_mw_django import mw


def is_hit(answer: Any) -> bool:
    return answer.headers.get("cache-status", "").startswith("redis-mw;hit")


@pytest.mark.parametrize("path", ["/thing/", "/athing/"])
def test_after_a_post_its_url_is_made_anew_at_one_trip(visit: Any, pages_site: Any, path: str) -> None:
    _ = visit.get(path)
    assert visit.post(path).status_code == 200
    assert (visit.trips, visit.detached) == (1, 0)
    assert not is_hit(visit.get(path))
    assert len(pages_site.ran) == 2


def test_a_session_that_the_post_changes_is_saved_in_a_trip_of_its_own(visit: Any, pages_site: Any) -> None:
    """Django saves it before the response is final."""
    _ = visit.get("/thing/?session")
    assert "sessionid" in visit.post("/thing/?session").headers["set-cookie"]
    assert visit.trips == 2
    assert not is_hit(visit.get("/thing/?session"))


def test_a_post_that_fails_forgets_nothing(visit: Any, pages_site: Any) -> None:
    _ = visit.get("/thing/")
    pages_site.hooks["answers"] = 422
    _ = visit.post("/thing/")
    assert visit.trips == 0
    assert is_hit(visit.get("/thing/"))


def test_a_post_where_nothing_is_cached_costs_nothing(visit: Any, pages_site: Any) -> None:
    assert visit.post("/edit/").status_code == 200
    assert (visit.trips, visit.detached) == (0, 0)


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
def test_a_page_that_the_answer_names_is_forgotten_if_it_is_of_the_same_origin(
    visit: Any, pages_site: Any, field: str
) -> None:
    _ = visit.get("/product/7/")
    pages_site.hooks["told"] = {field: "http://other.example/product/7/"}
    _ = visit.post("/edit/")
    assert is_hit(visit.get("/product/7/"))
    pages_site.hooks["told"] = {field: "/product/7/"}
    _ = visit.post("/edit/")
    assert visit.trips == 1
    assert not is_hit(visit.get("/product/7/"))


def test_the_groups_that_the_answer_names_are_forgotten(visit: Any, pages_site: Any) -> None:
    _ = visit.get("/grouped/")
    pages_site.hooks["told"] = {"Cache-Group-Invalidation": '"summer"'}
    _ = visit.post("/edit/")
    assert visit.trips == 1
    assert not is_hit(visit.get("/grouped/"))


def test_an_idempotent_post_forgets_pages_and_keeps_its_answer_in_one_trip(visit: Any, pages_site: Any) -> None:
    _ = visit.get("/product/7/")
    pages_site.hooks["told"] = {"Location": "/product/7/"}
    first = visit.post("/edit_once/", {"Idempotency-Key": "abcdefgh12345678"})
    assert (first.status_code, visit.trips) == (200, 2)
    assert not is_hit(visit.get("/product/7/"))
    again = visit.post("/edit_once/", {"Idempotency-Key": "abcdefgh12345678"})
    assert (again.status_code, visit.trips) == (200, 1)
    assert is_hit(visit.get("/product/7/"))


def test_a_page_of_a_rule_is_forgotten_too(visit: Any, pages_site: Any, rule: Any) -> None:
    rule(Rule("/bare/", cache=Cached(60)))
    _ = visit.get("/bare/")
    _ = visit.post("/bare/")
    assert visit.trips == 1
    assert not is_hit(visit.get("/bare/"))


def test_a_purge_while_the_page_is_made_wins(visit: Any, pages_site: Any) -> None:
    pages_site.hooks["inside"] = lambda request: mw.cache.purge("http://testserver/product/7/")
    _ = visit.get("/product/7/")
    pages_site.hooks.clear()
    assert not is_hit(visit.get("/product/7/"))
