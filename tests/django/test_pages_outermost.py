"""``outermost``: the same as the middleware alone does, before Django runs, and nothing twice."""

from typing import Any

import pytest
from both_servers import Visiting
from by_hand import until
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_started
from django.core.wsgi import get_wsgi_application

from redis_mw import Cached, Limit, Rule
from redis_mw_django import outermost
from redis_mw_django.application import application

OUTERMOST = pytest.mark.parametrize("visit", ["wsgi outermost", "asgi outermost"], indirect=True)


def is_hit(answer: Any) -> bool:
    return answer.headers.get("cache-status", "").startswith("redis-mw;hit")


@pytest.fixture
def handled() -> Any:
    """The requests that Django's handler was given."""
    seen: list[object] = []

    def note(**_: object) -> None:
        seen.append(1)

    request_started.connect(note)
    yield seen
    request_started.disconnect(note)


@OUTERMOST
def test_a_hit_never_reaches_djangos_handler(visit: Any, pages_site: Any, handled: list[object]) -> None:
    first = visit.get("/product/7/")
    assert len(handled) == 1
    hit = visit.get("/product/7/")
    assert (is_hit(hit), hit.json(), len(handled)) == (True, first.json(), 1)
    assert visit.get("/product/7/", {"If-None-Match": hit.headers["etag"]}).status_code == 304
    assert visit.head("/product/7/").headers["content-length"] == str(len(hit.content))
    assert len(handled) == 1


@OUTERMOST
def test_a_page_that_this_process_has_in_its_memory_costs_no_trip(
    visit: Any, pages_site: Any, handled: list[object]
) -> None:
    whole = visit.get("/product/7/")
    until(lambda: is_hit(visit.get("/product/7/")) and visit.trips == 0, "it is not kept here")
    hit = visit.get("/product/7/", sessionid="junk", theme="dark")
    assert (is_hit(hit), visit.trips, hit.content) == (True, 0, whole.content)
    assert (hit.headers["age"], hit.headers["content-type"]) == ("0", whole.headers["content-type"])
    assert "set-cookie" not in hit.headers
    same = visit.get("/product/7/", {"If-None-Match": hit.headers["etag"]})
    assert (same.status_code, visit.trips, same.content) == (304, 0, b"")
    part = visit.get("/product/7/", {"Range": "bytes=1-3"})
    assert (part.status_code, visit.trips, part.content) == (206, 0, whole.content[1:4])
    head = visit.head("/product/7/")
    assert (head.headers["content-length"], visit.trips, head.content) == (str(len(whole.content)), 0, b"")
    assert len(handled) == 1
    assert application().sync.cache.purge("http://testserver/product/7/")
    until(lambda: not is_hit(visit.get("/product/7/")), "it is kept though it was purged")
    assert len(handled) == 2


@OUTERMOST
def test_a_page_in_memory_is_sent_only_after_a_limit_has_been_asked(visit: Any, pages_site: Any, rule: Any) -> None:
    rule(Rule("/bare/", limits=["3/minute"], cache=Cached(60)))
    answers = [visit.get("/bare/") for _ in range(3)]
    assert [is_hit(each) for each in answers] == [False, True, True]
    assert visit.get("/bare/").status_code == 429


@OUTERMOST
def test_a_refusal_goes_on_into_django_and_was_asked_once(
    visit: Any, pages_site: Any, rule: Any, handled: list[object]
) -> None:
    rule(Rule("/bare/", limits=["2/minute"], cache=Cached(60)))
    assert [visit.get("/bare/").status_code for _ in range(2)] == [200, 200]
    assert len(handled) == 1
    refused = visit.get("/bare/")
    assert (refused.status_code, refused.json()["status"]) == (429, 429)
    assert (visit.trips, len(handled)) == (1, 2)


def by_agent(request: Any) -> str:
    return str(request.headers["User-Agent"])


def key_of(request: Any) -> str | None:
    return request.GET.get("who")


@OUTERMOST
def test_callables_get_a_request_of_djangos(visit: Any, pages_site: Any, rule: Any, handled: list[object]) -> None:
    rule(
        Rule(
            "/bare/",
            limits=[Limit("2/minute", by=by_agent)],
            cache=Cached(60, key=key_of),
        )
    )
    _ = visit.get("/bare/?who=ada", {"User-Agent": "one"})
    assert is_hit(visit.get("/bare/?who=ada", {"User-Agent": "two"}))
    assert (visit.trips, len(handled)) == (1, 1)
    assert not is_hit(visit.get("/bare/?who=bob", {"User-Agent": "three"}))
    assert visit.get("/bare/?who=ada", {"User-Agent": "one"}).status_code == 200
    assert visit.get("/bare/?who=ada", {"User-Agent": "one"}).status_code == 429


def broken(request: Any) -> str:
    raise LookupError("no key today")


def test_what_a_callable_raises_is_djangos_to_tell(
    visit: Any, pages_site: Any, rule: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rule(Rule("/bare/", cache=Cached(60, key=broken)))
    assert visit.get("/bare/").status_code == 500
    assert "no key today" in caplog.text
    assert pages_site.ran == []


@pytest.mark.parametrize("path", ["/shelf/%C3%A9t%C3%A9", "/shelf/a%20b", "/product/7/?q=%FF"])
def test_paths_of_any_characters_are_read_alike(visit: Any, pages_site: Any, path: str) -> None:
    first = visit.get(path)
    second = visit.get(path)
    assert (first.status_code, second.json(), is_hit(second)) == (200, first.json(), True)


def test_what_one_way_stores_the_others_serve(pages_site: Any) -> None:
    ways = ["wsgi", "asgi", "wsgi outermost", "asgi outermost"]
    for path, headers in (("/product/7/?a=b", {}), ("/flavoured/", {"X-Flavour": "mint"}), ("/shelf/%C3%A9", {})):
        answers = []
        for way in ways:
            site = Visiting(way)
            answers.append(site.get(path, headers))
            site.close()
        assert [is_hit(each) for each in answers] == [False, True, True, True], path
        assert len({each.content for each in answers}) == 1


@pytest.mark.parametrize("make", [get_wsgi_application, get_asgi_application])
def test_without_the_middleware_outermost_says_so(settings: Any, make: Any) -> None:
    settings.MIDDLEWARE = settings.MIDDLEWARE[1:]
    app = make()
    with pytest.raises(ImproperlyConfigured, match="RedisMiddleware"):
        _ = outermost(app)


@OUTERMOST
def test_what_was_asked_is_given_back_where_the_middleware_is_never_reached(
    visit: Any, pages_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody between the two answers for himself: nobody waits for a page that is not made."""
    app, turned = visit.app, []
    inner = app._app

    def answers(environ: Any, start_response: Any) -> Any:
        if not turned:
            turned.append(1)
            start_response("204 No Content", [])
            return []
        return inner(environ, start_response)

    async def aanswers(scope: Any, receive: Any, send: Any) -> None:
        if not turned:
            turned.append(1)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await inner(scope, receive, send)

    monkeypatch.setattr(app, "_app", aanswers if visit.is_async else answers)
    assert visit.get("/product/7/").status_code == 204
    second = visit.get("/product/7/")
    assert "stored" in second.headers["cache-status"]
    assert is_hit(visit.get("/product/7/"))


@OUTERMOST
def test_a_get_with_a_body_is_djangos_alone(visit: Any, pages_site: Any, handled: list[object]) -> None:
    _ = visit.get("/product/7/")
    answer = visit.ask("GET", "/product/7/", {"Content-Length": "2"})
    assert (answer.status_code, len(handled)) == (200, 2)


@pytest.mark.parametrize("visit", ["asgi outermost"], indirect=True)
def test_other_scopes_pass(visit: Any) -> None:
    async def scene() -> None:
        with pytest.raises(ValueError, match="lifespan"):
            await visit.app({"type": "lifespan"}, None, None)

    visit.do(scene)
