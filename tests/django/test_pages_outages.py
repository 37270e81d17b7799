"""Redis away, slow or back: pages are a help, never a need."""

from typing import Any

import pytest

from redis_mw import Settings
from redis_mw.settings import replace
from redis_mw.testing import outage
from redis_mw_django import mw


def is_hit(answer: Any) -> bool:
    return answer.headers.get("cache-status", "").startswith("redis-mw;hit")


@pytest.fixture
def nowhere(settings: Any, redis_mw_settings: Settings) -> None:
    """A server that refuses every connection."""
    settings.REDIS_MW = replace(redis_mw_settings, url="redis://127.0.0.1:1/0", warm_up=0.2)


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("path", ["/product/7/", "/aproduct/7/", "/limited_page/", "/hidden/", "/file/"])
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_with_redis_away_views_answer_as_if_nothing_was_cached(visit: Any, pages_site: Any, path: str) -> None:
    for _ in range(2):
        answer = visit.get(path)
        assert (answer.status_code, is_hit(answer)) == (200, False)
    assert len(pages_site.ran) == 2


@pytest.mark.usefixtures("nowhere")
def test_with_redis_away_a_post_is_answered_and_what_is_wrong_is_forgotten_later(visit: Any, pages_site: Any) -> None:
    assert visit.post("/thing/").status_code == 200


@pytest.mark.usefixtures("nowhere")
def test_with_redis_away_many_at_once_are_all_answered(visit: Any, pages_site: Any) -> None:
    path = "/aproduct/9/" if visit.is_async else "/product/9/"
    answers = [each.result(60) for each in [visit.begin("GET", path) for _ in range(20)]]
    assert {each.status_code for each in answers} == {200}


@pytest.mark.parametrize("visit", ["wsgi", "wsgi outermost"], indirect=True)
def test_an_outage_in_the_middle_of_it_all_is_an_error_to_nobody(visit: Any, pages_site: Any) -> None:
    first = visit.get("/product/7/")
    with outage(mw):
        during = visit.get("/product/7/")
        assert (during.status_code, during.json()["id"]) == (200, 7)
    after = visit.get("/product/7/")
    assert (after.status_code, after.json()["id"]) == (200, first.json()["id"])
