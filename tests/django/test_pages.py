"""Pages under Django: what is kept, who gets it, what it costs; over WSGI and ASGI, with ``outermost`` or without."""

from typing import Any

import pytest
from by_hand import until

from redis_mw import Cached, Rule
from redis_mw_django import mw, outermost

SEEN = ["/product/7/", "/aproduct/7/", "/above/", "/below/", "/OnClass/", "/OnDispatch/", "/OnMethod/", "/AOnDispatch/",
        "/inside/3/lamp/", "/thing/", "/athing/"]  # fmt: skip
HIDDEN = ["/hidden/", "/ahidden/"]
"""Their marks are behind a decorator that does not keep them."""


def status(answer: Any) -> str:
    return answer.headers.get("cache-status", "")


def is_hit(answer: Any) -> bool:
    return status(answer).startswith("redis-mw;hit")


@pytest.mark.parametrize("path", SEEN)
def test_a_miss_costs_two_trips_and_a_hit_one_at_most_in_whatever_way_the_view_is_registered(
    visit: Any, pages_site: Any, path: str
) -> None:
    first = visit.get(path)
    assert (first.status_code, visit.trips) == (200, 2)
    assert "stored" in status(first)
    second = visit.get(path)
    assert (second.json(), is_hit(second), visit.trips <= 1) == (first.json(), True, True)
    assert second.headers["etag"] == first.headers["etag"]
    assert "age" in second.headers
    assert len(pages_site.ran) == 1


@pytest.mark.parametrize("path", HIDDEN)
def test_a_mark_that_nobody_saw_in_time_is_enforced_by_the_view_itself(visit: Any, pages_site: Any, path: str) -> None:
    first = visit.get(path)
    assert (first.status_code, visit.trips, "stored" in status(first)) == (200, 2, True)
    second = visit.get(path)
    assert (second.json(), is_hit(second), visit.trips <= 1) == (first.json(), True, True)
    assert len(pages_site.ran) == 1


def test_a_page_of_redis_alone_is_one_trip(visit: Any, pages_site: Any, settings: Any, rule: Any) -> None:
    """Without memory in the process."""
    cache = settings.REDIS_MW.cache
    rule(cache=type(cache)(l1_bytes=0))
    _ = visit.get("/product/7/")
    assert visit.trips == 2
    answer = visit.get("/product/7/")
    assert (is_hit(answer), visit.trips, visit.detached) == (True, 1, 0)
    assert len(pages_site.ran) == 1


def test_under_limits_and_with_a_session_a_hit_is_still_one_trip_and_a_miss_two(visit: Any, pages_site: Any) -> None:
    cookie = visit.get("/start/").headers["set-cookie"].partition(";")[0].partition("=")[2]
    first = visit.get("/limited_page/", sessionid=cookie)
    assert (visit.trips, "stored" in status(first)) == (2, True)
    second = visit.get("/limited_page/", sessionid=cookie)
    assert (is_hit(second), visit.trips) == (True, 1)
    left = [int(each.headers["ratelimit"].partition("r=")[2].partition(";")[0]) for each in (first, second)]
    assert left == [99, 98]
    assert "set-cookie" not in second.headers
    assert len(pages_site.ran) == 1


def test_a_rule_caches_as_a_decorator_does(visit: Any, pages_site: Any, rule: Any) -> None:
    rule(Rule("/bare/", cache=Cached(60)))
    _ = visit.get("/bare/")
    assert visit.trips == 2
    assert is_hit(visit.get("/bare/"))
    assert len(pages_site.ran) == 1


def test_what_is_not_cached_costs_nothing_and_is_told_nothing(visit: Any, pages_site: Any) -> None:
    answer = visit.get("/bare/")
    assert (answer.status_code, visit.trips, status(answer), "etag" in answer.headers) == (200, 0, "", False)


def test_queries_paths_and_hosts_have_pages_of_their_own(visit: Any, pages_site: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver", "other.example"]
    for path in ("/above/", "/above/?a=1", "/above/?a=2", "/above/?"):
        _ = visit.get(path)
    _ = visit.get("/above/", {"Host": "other.example"})
    assert len(pages_site.ran) == 4
    assert visit.get("/above/", {"Host": "other.example"}).json()["host"] == "other.example"


def test_a_client_that_has_the_page_gets_304_and_a_part_gets_206(visit: Any, pages_site: Any) -> None:
    first = visit.get("/product/7/", {"If-None-Match": '"another"', "Range": "bytes=0-3"})
    assert first.status_code == 206
    assert first.content == b'{"ru'
    whole = visit.get("/product/7/")
    assert is_hit(whole)
    assert whole.json()["range"] == ""
    not_modified = visit.get("/product/7/", {"If-None-Match": whole.headers["etag"]})
    assert (not_modified.status_code, not_modified.content, is_hit(not_modified)) == (304, b"", True)
    part = visit.get("/product/7/", {"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, whole.content[:4])
    assert part.headers["content-range"] == f"bytes 0-3/{len(whole.content)}"
    beyond = visit.get("/product/7/", {"Range": "bytes=90000-"})
    assert beyond.status_code == 416
    head = visit.head("/product/7/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))
    assert len(pages_site.ran) == 1


def test_a_client_that_wants_a_stored_page_only_gets_504_where_there_is_none(visit: Any, pages_site: Any) -> None:
    answer = visit.get("/product/7/", {"Cache-Control": "only-if-cached"})
    assert (answer.status_code, pages_site.ran) == (504, [])
    _ = visit.get("/product/7/")
    assert visit.get("/product/7/", {"Cache-Control": "only-if-cached"}).status_code == 200


def test_a_head_is_answered_by_the_page_of_a_get_and_never_makes_one(visit: Any, pages_site: Any) -> None:
    assert visit.head("/product/7/").status_code == 200
    assert len(pages_site.ran) == 1
    _ = visit.get("/product/7/")
    _ = visit.head("/product/7/")
    assert len(pages_site.ran) == 2


def test_what_the_answer_varies_by_has_pages_of_its_own(visit: Any, pages_site: Any) -> None:
    for flavour in ("mint", "lemon", "mint", "lemon"):
        answer = visit.get("/flavoured/", {"X-Flavour": flavour})
        assert answer.json()["flavour"] == flavour
    assert is_hit(answer)
    assert len(pages_site.ran) == 2


def test_a_key_of_the_policy_gets_djangos_request_and_none_is_shared_without_one(visit: Any, pages_site: Any) -> None:
    for who in ("ada", "bob", "ada", "bob"):
        assert visit.get(f"/keyed/?who={who}").status_code == 200
    assert len(pages_site.ran) == 2
    for _ in range(2):
        assert status(visit.get("/keyed/")) == ""
    assert len(pages_site.ran) == 4


def test_tags_of_the_rule_of_the_view_and_of_the_answer_drop_their_pages(visit: Any, pages_site: Any) -> None:
    for path, tag in (("/product/7/", "product:7"), ("/grouped/", "spring"), ("/grouped/", "summer")):
        pages_site.ran.clear()
        _ = visit.get(path)
        assert is_hit(visit.get(path))
        mw.cache.drop_tag(tag)
        assert not is_hit(visit.get(path))


def test_a_purged_url_is_made_anew(visit: Any, pages_site: Any) -> None:
    _ = visit.get("/product/7/")
    mw.cache.purge("http://testserver/product/7/")
    assert not is_hit(visit.get("/product/7/"))
    assert len(pages_site.ran) == 2


def test_a_view_may_say_that_its_answer_is_not_kept(visit: Any, pages_site: Any) -> None:
    for _ in range(2):
        assert not is_hit(visit.get("/skipped/"))
    assert len(pages_site.ran) == 2


def test_what_a_view_does_not_find_is_kept_for_a_while_and_what_has_no_view_is_not(visit: Any, pages_site: Any) -> None:
    assert [visit.get("/absent/").status_code for _ in range(2)] == [404, 404]
    assert len(pages_site.ran) == 1
    answer = visit.get("/no-such-view/")
    assert (answer.status_code, status(answer), visit.trips) == (404, "", 0)


def test_a_body_that_is_too_large_passes_and_is_not_kept(visit: Any, pages_site: Any, settings: Any, rule: Any) -> None:
    rule(cache=type(settings.REDIS_MW.cache)(max_body=4096))
    for _ in range(2):
        answer = visit.get("/large/")
        assert (len(answer.content), is_hit(answer)) == (5000, False)
    assert len(pages_site.ran) == 2


def test_without_allowed_hosts_nothing_is_shared_with_hosts_that_are_not_allowed(
    visit: Any, pages_site: Any, settings: Any
) -> None:
    answer = visit.get("/above/", {"Host": "evil.example"})
    assert (answer.status_code, status(answer), visit.trips) == (400, "", 0)
    _ = visit.get("/above/")
    assert is_hit(visit.get("/above/"))
    settings.ALLOWED_HOSTS = [".example"]
    assert visit.get("/above/", {"Host": "evil.example"}).status_code == 200
    assert is_hit(visit.get("/above/", {"Host": "evil.example"}))


def test_the_script_name_is_part_of_a_pages_url(visit: Any, pages_site: Any, settings: Any) -> None:
    settings.FORCE_SCRIPT_NAME = "/shop"
    path = "/shop/product/7/" if visit.is_async else "/product/7/"
    assert "stored" in status(visit.get(path))
    mw.cache.purge("http://testserver/product/7/")
    assert is_hit(visit.get(path))
    mw.cache.purge("http://testserver/shop/product/7/")
    assert not is_hit(visit.get(path))


def test_a_page_that_is_stale_is_served_at_once_and_made_anew_once(visit: Any, pages_site: Any) -> None:
    seen: list[Any] = []
    pages_site.hooks["inside"] = seen.append
    _ = visit.get("/product/7/")
    mw.cache.drop_tag("product:7", soft=True)
    stale = visit.get("/product/7/", {"Range": "bytes=0-0"}, sessionid="x", a="b")
    assert (stale.status_code, is_hit(stale)) == (206, True)
    until(lambda: len(pages_site.ran) == 2, "the page is made anew")
    until(lambda: visit.get("/product/7/").json()["runs"] == 2, "the new page is served")
    assert len(pages_site.ran) == 2
    nobodys = seen[1]
    assert (nobodys.COOKIES, nobodys.method) == ({}, "GET")
    assert not {"HTTP_AUTHORIZATION", "HTTP_RANGE", "HTTP_COOKIE"} & set(nobodys.META)


def test_a_page_of_a_visitor_with_a_session_is_made_anew_without_saving_one(visit: Any, pages_site: Any) -> None:
    _ = visit.get("/product/7/")
    mw.cache.drop_tag("product:7", soft=True)
    made: list[Any] = []

    def save(request: Any) -> None:
        request.session["made"] = "1"
        request.session.save()
        made.append(request.session)

    pages_site.hooks["inside"] = save
    assert is_hit(visit.get("/product/7/"))
    until(lambda: bool(made), "the page is made anew")
    visit.settle()
    assert not made[0].exists(made[0].session_key)


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_where_the_view_fails_the_page_that_is_stored_stands_in(visit: Any, pages_site: Any, code: int) -> None:
    first = visit.get("/product/7/")
    mw.cache.drop_tag("product:7", soft=True)
    pages_site.hooks["status"] = code
    answer = visit.get("/product/7/", {"Cache-Control": "no-cache"})  # served stale, made anew in vain
    until(lambda: len(pages_site.ran) == 2, "the view has failed")
    assert (answer.status_code, answer.json()) == (200, first.json())


def test_an_exception_of_a_view_counts_as_a_failure(visit: Any, pages_site: Any, settings: Any) -> None:
    settings.DEBUG_PROPAGATE_EXCEPTIONS = False
    answer = visit.get("/failing/")
    assert (answer.status_code, "stored" in status(answer)) == (500, False)


def test_a_failure_in_the_request_itself_is_answered_by_the_stale_page(visit: Any, pages_site: Any, rule: Any) -> None:
    rule(Rule("/bare/", cache=Cached(60, tags=["bare"], stale=0, stale_if_error=600)))
    first = visit.get("/bare/")
    mw.cache.drop_tag("bare", soft=True)
    pages_site.hooks["status"] = 503
    answer = visit.get("/bare/")
    assert (answer.status_code, answer.json(), len(pages_site.ran)) == (200, first.json(), 2)
    assert "fwd-status=503" in status(answer)


def test_fifty_threads_on_a_cold_page_call_its_view_once(visit: Any, pages_site: Any) -> None:
    path = "/aproduct/9/" if visit.is_async else "/product/9/"
    begun = [visit.begin("GET", path) for _ in range(50)]
    answers = [each.result(60) for each in begun]
    assert {each.status_code for each in answers} == {200}
    assert {each.json()["runs"] for each in answers} == {1}
    assert len(pages_site.ran) == 1


def test_a_mark_twice_asked_by_outermost_twice_costs_the_same(visit: Any, pages_site: Any) -> None:
    visit.app = outermost(outermost(visit.app))
    _ = visit.get("/limited_page/")
    assert visit.trips == 2
    answer = visit.get("/limited_page/")
    assert (is_hit(answer), visit.trips) == (True, 1)
    assert "r=98" in answer.headers["ratelimit"]
