"""Pages that are made anew behind the visitors' backs: within bounds, and never for ever."""

import asyncio
import threading
from typing import Any

import pytest
from by_hand import until
from django.core.signals import request_finished

from redis_mw_django import behind, mw
from redis_mw_django.application import application


def path_of(visit: Any) -> str:
    return "/aproduct/7/" if visit.is_async else "/product/7/"


def make_stale(visit: Any) -> Any:
    first = visit.get(path_of(visit))
    mw.cache.drop_tag("product:7", soft=True)
    return first


def test_where_too_much_goes_on_already_the_stale_page_is_served_and_made_anew_later(
    visit: Any, pages_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_stale(visit)
    with monkeypatch.context() as patch:
        patch.setattr(behind, "MOST_THREADS", 0)
        patch.setattr(behind, "MOST_TASKS", 0)
        for _ in range(2):
            assert visit.get(path_of(visit)).json() == first.json()
        visit.settle()
        assert len(pages_site.ran) == 1

    def is_made() -> bool:  # the lease that was not used is given back in the background
        _ = visit.get(path_of(visit))
        visit.settle()
        return len(pages_site.ran) == 2

    until(is_made, "the page is made anew")


def test_what_takes_too_long_gives_the_page_free_for_others(
    visit: Any, pages_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = make_stale(visit)
    for name in ("behind", "middleware", "outside"):
        monkeypatch.setattr(f"redis_mw_django.{name}.WITHIN_S", 0.3)
    hangs, seen = threading.Event(), []

    def inside(request: Any) -> None:
        seen.append(request)
        if len(seen) == 1:
            assert hangs.wait(20)

    async def ainside(request: Any) -> None:
        if not seen:
            seen.append(request)
            await asyncio.Event().wait()

    pages_site.hooks["ainside" if visit.is_async else "inside"] = ainside if visit.is_async else inside
    _ = visit.get(path_of(visit))
    until(lambda: len(seen) == 1, "it is begun")

    def is_made() -> bool:
        return visit.get(path_of(visit)).json()["runs"] > 1

    until(is_made, "somebody else has made it")
    hangs.set()


@pytest.mark.parametrize("visit", ["wsgi", "wsgi outermost"], indirect=True)
def test_a_view_that_fails_behind_the_back_leaves_the_stale_page_and_no_lease(visit: Any, pages_site: Any) -> None:
    first = make_stale(visit)
    pages_site.hooks["status"] = 500
    assert visit.get(path_of(visit)).json() == first.json()
    visit.settle()
    pages_site.hooks["status"] = 200
    until(lambda: visit.get(path_of(visit)).json()["runs"] > 1, "it is made after all")


def test_django_hears_once_that_a_request_is_over(visit: Any, pages_site: Any) -> None:
    heard: list[object] = []

    def hear(**_: object) -> None:
        heard.append(1)

    request_finished.connect(hear)
    try:
        _ = visit.get("/product/7/", {"If-None-Match": '"a"', "Range": "bytes=0-3"})  # its response is replaced
        until(lambda: len(heard) == 1, "it is over")
        _ = visit.get("/streamed/?etag", {"If-None-Match": '"of-a-stream"'})
        visit.settle()
        assert len(heard) == 2
    finally:
        request_finished.disconnect(hear)


def test_each_application_has_its_own_bounds() -> None:
    assert application().behind.has_thread
    assert application().behind.has_task
