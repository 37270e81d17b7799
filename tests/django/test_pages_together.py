"""Pages beside what Django itself does to responses: its middleware, its decorators, its own cache."""

from typing import Any

import pytest
from by_hand import until
from django.core.cache import cache

from redis_mw import Cached, Rule
from redis_mw_django import mw

LOCALE = "django.middleware.locale.LocaleMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"
CONDITIONAL = "django.middleware.http.ConditionalGetMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"
UPDATE = "django.middleware.cache.UpdateCacheMiddleware"
FETCH = "django.middleware.cache.FetchFromCacheMiddleware"


def is_hit(answer: Any) -> bool:
    return answer.headers.get("cache-status", "").startswith("redis-mw;hit")


def is_stored(answer: Any) -> bool:
    return "stored" in answer.headers.get("cache-status", "")


@pytest.fixture(autouse=True)
def _own_memory(settings: Any) -> Any:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "together"}}
    yield
    cache.clear()


def test_encoded_responses_are_variants_of_a_page(visit: Any, pages_site: Any, settings: Any) -> None:
    settings.MIDDLEWARE = [settings.MIDDLEWARE[0], GZIP, *settings.MIDDLEWARE[1:]]
    packed = [visit.get("/compressible/", {"Accept-Encoding": "gzip"}) for _ in range(2)]
    plain = [visit.get("/compressible/", {"Accept-Encoding": "identity"}) for _ in range(2)]
    assert [each.headers.get("content-encoding") for each in packed + plain] == ["gzip", "gzip", None, None]
    assert [is_hit(each) for each in packed + plain] == [False, True, False, True]
    assert {each.text[:1] for each in packed} == {"1"}
    assert {each.text[:1] for each in plain} == {"2"}


@pytest.mark.parametrize("language", ["de", "fr"])
def test_languages_are_variants_of_a_page(visit: Any, pages_site: Any, settings: Any, language: str) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, LOCALE]
    for accepts in (language, "en", language):
        answer = visit.get("/in_some_language/", {"Accept-Language": accepts})
        assert answer.json()["language"] == accepts
    assert is_hit(answer)
    assert len(pages_site.ran) == 2


def test_a_language_that_a_cookie_chooses_counts_where_the_policy_names_the_cookie(
    visit: Any, pages_site: Any, settings: Any
) -> None:
    """A cookie that no policy names is hidden: ``cookies=["django_language"]`` gives each language its page."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, LOCALE]
    for language in ("de", "fr", "de"):
        answer = visit.get("/in_language/", django_language=language)
        assert answer.json()["language"] == language
    assert is_hit(answer)
    assert visit.get("/in_some_language/", django_language="de").json()["language"] == "en"


def test_conditional_get_middleware_below_and_ours_answer_alike(visit: Any, pages_site: Any, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, CONDITIONAL, COMMON]
    first = visit.get("/above/", {"If-None-Match": '"nothing"'})
    assert (first.status_code, is_stored(first)) == (200, True)
    again = visit.get("/above/", {"If-None-Match": first.headers["etag"]})
    assert (again.status_code, is_hit(again), len(pages_site.ran)) == (304, True, 1)


def test_the_condition_decorator_below_is_asked_for_the_whole_page(visit: Any, pages_site: Any) -> None:
    answer = visit.get("/tagged/", {"If-None-Match": '"mine"'})
    assert (answer.status_code, is_stored(answer), len(pages_site.ran)) == (304, True, 1)
    other = visit.get("/tagged/")
    assert (other.status_code, is_hit(other), other.headers["etag"]) == (200, True, '"mine"')


@pytest.mark.parametrize("stale", [0, 60])
def test_a_view_that_says_its_stale_page_is_still_right_does_not_make_it_anew(
    visit: Any, pages_site: Any, rule: Any, stale: int
) -> None:
    """At once, or behind the visitor's back."""
    rule(Rule("/checked/", cache=Cached(60, tags=["checked"], stale=stale, stale_if_error=600)))
    first = visit.get("/checked/")
    assert first.headers["etag"] == '"v1"'
    mw.cache.drop_tag("checked", soft=True)
    again = visit.get("/checked/")
    assert (again.status_code, again.json(), is_hit(again)) == (200, first.json(), bool(stale))
    visit.settle()
    fresh = visit.get("/checked/")
    assert (is_hit(fresh), "ttl=-" in fresh.headers["cache-status"], len(pages_site.ran)) == (True, False, 1)
    mw.cache.drop_tag("checked", soft=True)
    pages_site.hooks["etag"] = '"v2"'
    _ = visit.get("/checked/")
    visit.settle()
    until(lambda: visit.get("/checked/").headers["etag"] == '"v2"', "the new one is served")
    assert len(pages_site.ran) == 2


@pytest.mark.parametrize("path", ["/never/", "/private/"])
def test_what_djangos_decorators_forbid_is_not_kept(visit: Any, pages_site: Any, path: str) -> None:
    for _ in range(2):
        assert not is_stored(visit.get(path))
    assert len(pages_site.ran) == 2


def test_a_view_may_say_itself_how_long_its_page_lives(visit: Any, pages_site: Any) -> None:
    first = visit.get("/by_its_own_word/")
    assert (is_stored(first), first.headers["cache-control"]) == (True, "max-age=60")
    assert is_hit(visit.get("/by_its_own_word/"))


def test_cache_page_below_fills_two_caches_that_do_not_disturb_each_other(visit: Any, pages_site: Any) -> None:
    first = visit.get("/twice/")
    assert (is_stored(first), "max-age=60" in first.headers["cache-control"]) == (True, True)
    assert is_hit(visit.get("/twice/"))
    mw.cache.purge("http://testserver/twice/")
    again = visit.get("/twice/")
    assert (again.json(), is_hit(again), len(pages_site.ran)) == (first.json(), False, 1)


def test_djangos_cache_middleware_below_does_not_disturb(visit: Any, pages_site: Any, settings: Any) -> None:
    settings.MIDDLEWARE = [settings.MIDDLEWARE[0], UPDATE, *settings.MIDDLEWARE[1:], FETCH]
    first = visit.get("/above/")
    assert is_stored(first)
    assert is_hit(visit.get("/above/"))
    assert visit.get("/bare/").json() == visit.get("/bare/").json()


def test_a_view_that_another_middleware_chooses_makes_no_page_of_the_one_that_was_expected(
    visit: Any, pages_site: Any, settings: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "site_of_pages.elsewhere"]
    for path in ("/above/", "/below/"):
        pages_site.ran.clear()
        for _ in range(2):
            answer = visit.get(path)
            assert (answer.status_code, is_stored(answer), is_hit(answer)) == (200, False, False)
        assert len(pages_site.ran) == 2


def test_messages_that_wait_for_a_visitor_are_shown_to_nobody_else(visit: Any, pages_site: Any) -> None:
    cookie = visit.get("/start/").headers["set-cookie"].partition(";")[0].partition("=")[2]
    said = visit.get("/said/?say", sessionid=cookie)
    assert (said.json()["messages"], is_stored(said)) == (["well done"], False)
    assert visit.get("/said/?say").json()["messages"] == ["well done"]


def test_what_a_view_does_with_the_url_of_its_request_stays_right(visit: Any, pages_site: Any) -> None:
    built: list[str] = []
    pages_site.hooks["inside"] = lambda request: built.append(request.build_absolute_uri())
    _ = visit.get("/above/?a=1", {"X-Forwarded-Host": "evil.example"}, junk="1")
    assert built == ["http://testserver/above/?a=1"]
