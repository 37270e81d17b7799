"""What is kept of what the application answers, and what its visitors get of that."""

from typing import Any

import pytest
from pages_site import PAGE, status_of
from redis import Redis
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from redis_mw import Cache, Cached, Rule, cached, current
from redis_mw.testing import count_round_trips, outage

pytestmark = pytest.mark.asyncio
Serve = Any


async def test_a_page_is_made_once_and_then_sent_in_one_trip(serve: Serve) -> None:
    async with serve("hello") as site:
        with count_round_trips() as trips:
            first = await site.get()
        assert trips.awaited == 2 and status_of(first) == "fwd=uri-miss;stored"
        with count_round_trips() as trips:
            second = await site.get()
        assert trips.awaited == 1 and len(trips.commands) == 1
        assert status_of(second) == "hit" and second.text == first.text == "hello"
        assert second.headers["etag"] == first.headers["etag"] and second.headers["age"] == "0"
        assert second.headers["content-length"] == "5" and len(site.made) == 1
        assert site.outcomes("cache.hit") == [""] and site.outcomes("cache.store") == [""]


async def test_without_a_rule_nothing_is_asked(serve: Serve) -> None:
    async with serve(PlainTextResponse("hello", headers={"cache-control": "max-age=60"}), rules=()) as site:
        assert await site.trips() == 0 and await site.trips() == 0 and len(site.made) == 2


async def test_a_page_that_this_process_has_in_its_memory_costs_no_trip(serve: Serve) -> None:
    async with serve("hello", cache=Cache()) as site:
        _ = await site.get()
        _ = await site.until(lambda answer: status_of(answer) == "hit", trips=0)
        assert len(site.made) == 1
        assert await site.mw.cache.purge("http://site/page")
        _ = await site.until(lambda answer: "stored" in status_of(answer))  # another connection tells of it
        assert len(site.made) == 2


async def test_a_rule_without_a_lifetime_keeps_only_what_says_how_long_it_lives(serve: Serve) -> None:
    async def says(request: Any) -> Response:
        return PlainTextResponse("x", headers={"cache-control": request.query_params["says"]})

    async with serve(says, rules=[Rule("/page", cache=Cached(0))]) as site:
        assert status_of(await site.get("/page?says=")) == "fwd=uri-miss;detail=no-lifetime"
        assert status_of(await site.get("/page?says=max-age=60")) == "fwd=uri-miss;stored"
        assert status_of(await site.get("/page?says=max-age=60")) == "hit"


async def test_a_client_that_has_the_page_is_told_so_without_its_body(serve: Serve) -> None:
    async with serve("hello") as site:
        etag = (await site.get()).headers["etag"]
        answer = await site.get(if_none_match=f'W/{etag}, "other"')
        assert (answer.status_code, answer.content, status_of(answer)) == (304, b"", "hit")
        assert "content-length" not in answer.headers and answer.headers["etag"] == etag
        assert (await site.get(if_none_match='"other"')).text == "hello"
        assert len(site.made) == 1


async def test_a_client_that_has_the_page_already_is_told_so_when_it_is_made(serve: Serve) -> None:
    async with serve("hello") as site:
        etag = (await site.get()).headers["etag"]
        await site.mw.cache.purge("http://site/page")
        answer = await site.get(if_none_match=etag)
        assert (answer.status_code, answer.content) == (304, b"") and len(site.made) == 2
        assert site.made[1].headers.get("if-none-match") is None, "the view makes the whole for all"
        assert status_of(await site.get()) == "hit"


async def test_a_part_of_a_page_is_cut_from_the_whole(serve: Serve) -> None:
    async with serve("0123456789") as site:
        for _ in range(2):
            answer = await site.get(range="bytes=2-4")
            assert (answer.status_code, answer.text) == (206, "234")
            assert answer.headers["content-range"] == "bytes 2-4/10" and answer.headers["content-length"] == "3"
        assert len(site.made) == 1
        answer = await site.get(range="bytes=10-")
        assert answer.status_code == 416 and answer.headers["content-range"] == "bytes */10"


async def test_head_is_answered_by_what_get_has_left(serve: Serve) -> None:
    async with serve("hello") as site:
        before = await site.send("HEAD")
        assert before.status_code == 200 and status_of(before) == "fwd=uri-miss"
        assert status_of(await site.get()) == "fwd=uri-miss;stored", "HEAD is never kept"
        after = await site.send("HEAD")
        assert (status_of(after), after.content, after.headers["content-length"]) == ("hit", b"", "5")
        assert len(site.made) == 2


async def test_who_wants_a_stored_answer_only_gets_504_where_there_is_none(serve: Serve) -> None:
    async with serve("hello") as site:
        assert (await site.get(cache_control="only-if-cached")).status_code == 504 and not site.made
        _ = await site.get()
        assert (await site.get(cache_control="only-if-cached")).text == "hello"


async def test_a_stream_is_sent_as_it_comes_and_kept_before_its_end(serve: Serve) -> None:
    async def streamed(request: Any) -> Response:
        async def parts() -> Any:
            yield "one "
            yield "two "
            yield "three"

        return StreamingResponse(parts())

    async with serve(streamed) as site:
        first = await site.get()
        assert first.text == "one two three" and "content-length" not in first.headers
        second = await site.get()
        assert status_of(second) == "hit" and second.text == first.text and len(site.made) == 1


async def test_an_endless_stream_is_no_page(serve: Serve) -> None:
    async def events(request: Any) -> Response:
        async def parts() -> Any:
            yield "data: 1\n\n"

        return StreamingResponse(parts(), media_type="text/event-stream")

    async with serve(events) as site:
        assert status_of(await site.get()) == "fwd=uri-miss;detail=event-stream"


async def test_what_is_too_large_passes_and_in_parts_it_is_kept(serve: Serve) -> None:
    large = bytes(range(256)) * 4096  # 1 MiB
    answer = Response(large + b"!", media_type="image/png")
    async with serve(answer, cache=Cache(l1_bytes=0)) as site:
        for _ in range(2):
            assert (await site.get()).content == large + b"!"
        assert len(site.made) == 2
    async with serve(answer, cache=Cache(l1_bytes=0, chunks=True)) as site:
        for _ in range(2):
            assert (await site.get()).content == large + b"!"
        assert len(site.made) == 1
        assert (await site.get(range="bytes=1048570-")).content == large[1048570:] + b"!"


async def test_large_text_is_compressed_and_comes_back_whole(serve: Serve) -> None:
    text = "all work and no play " * 20_000
    async with serve(text) as site:
        for _ in range(2):
            assert (await site.get()).text == text
        assert len(site.made) == 1


async def test_statuses_and_fields_come_back_as_they_were(serve: Serve) -> None:
    answers = {
        "moved": RedirectResponse("/elsewhere", 301),
        "made": JSONResponse({"a": 1}, headers={"x-one": "1", "link": "<a>"}),
        "empty": Response(status_code=204, headers={"cache-control": "max-age=60"}),
    }

    async def view(request: Any) -> Response:
        return answers[request.path_params["name"]]

    async with serve(Route("/{name}", view), rules=[Rule("/{name}", cache=Cached(60))]) as site:
        for name in answers:
            first, second = await site.get(f"/{name}"), await site.get(f"/{name}")
            assert status_of(second) == "hit" and second.status_code == first.status_code
            for field, value in first.headers.items():
                if field not in ("cache-status", "date", "etag"):
                    assert second.headers[field] == value


async def test_missing_things_are_missing_for_a_short_time_and_failures_not_at_all(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse("no", int(request.path_params["status"]))

    async with serve(Route("/{status}", view), rules=[Rule("/{status}", cache=Cached(60, jitter=0))]) as site:
        for status, ttl in (("404", 10), ("410", 60)):
            assert status_of(await site.get(f"/{status}")) == "fwd=uri-miss;stored"
            again = await site.get(f"/{status}")
            assert status_of(again) == "hit" and again.status_code == int(status)
            assert ttl - 2 <= int(again.headers["cache-status"].rpartition("ttl=")[2]) <= ttl
        for status in ("400", "401", "403", "500", "503"):
            assert status_of(await site.get(f"/{status}")) == "fwd=uri-miss;detail=no-lifetime"


async def test_which_failures_are_kept_may_be_said(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse("no", int(request.path_params["status"]))

    rules = [Rule("/a/*", cache=Cached(60, negative={500: 2})), Rule("/b/*", cache=Cached(60, negative=0))]
    async with serve(Route("/{rule}/{status}", view), rules=rules) as site:
        paths = ("/a/500", "/a/404", "/b/404")
        kept = [path for path in paths for _ in "12" if status_of(await site.get(path)) == "hit"]
        assert kept == ["/a/500"], "only what is named"


async def test_variants_are_told_apart_by_what_the_response_says(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse(request.headers.get("accept-language", "-"), headers={"vary": "Accept-Language"})

    async with serve(view) as site:
        assert (await site.get(accept_language="de")).text == "de"
        assert (await site.get(accept_language="en")).text == "en"
        with count_round_trips() as trips:
            assert (await site.get(accept_language="de")).text == "de"
            assert (await site.get(accept_language="en")).text == "en"
        assert trips.awaited == 2 and len(site.made) == 2


async def test_whoever_does_not_know_what_a_page_varies_by_asks_once_more(serve: Serve, redis_mw_settings: Any) -> None:
    def view(name: str) -> Any:
        async def answer(request: Any) -> Response:
            return PlainTextResponse(request.headers.get("x-a", "-"), headers={"vary": "x-a"})

        return answer

    async with serve(view("one")) as one, serve(view("two")) as two:
        assert await one.trips(x_a="1") == 2
        assert await two.trips(x_a="1") == 2, "wrong once, then found"
        assert await two.trips(x_a="1") == 1
        assert await two.trips(x_a="2") == 2 and not one.made[1:]


async def test_more_variants_than_are_allowed_pass(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse(request.headers["x-a"], headers={"vary": "x-a"})

    async with serve(view, cache=Cache(l1_bytes=0, variants=2)) as site:
        for value in ("1", "2", "3", "3"):
            assert (await site.get(x_a=value)).text == value
        assert len(site.made) == 4 and status_of(await site.get(x_a="1")) == "hit"


async def test_the_query_counts_as_it_stands(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse(request.url.query)

    async with serve(view) as site:
        for query in ("", "?a=1&b=2", "?b=2&a=1", "?a=1"):
            assert status_of(await site.get(f"/page{query}")) == "fwd=uri-miss;stored"
            assert (await site.get(f"/page{query}")).text == query[1:]


async def test_tags_take_along_what_hangs_on_them(serve: Serve) -> None:
    @cached(60, tags=["all", "product:{id}"])
    async def view(request: Any) -> Response:
        current().cache.tag(f"shelf:{request.path_params['id'] % 2}")
        return PlainTextResponse("x", headers={"cache-groups": '"group"'})

    async with serve(Route("/p/{id:int}", view), rules=()) as site:
        cache = site.mw.cache

        async def hits() -> list[int]:
            answers = [await site.get(f"/p/{number}") for number in range(4)]
            return [number for number, answer in enumerate(answers) if status_of(answer) == "hit"]

        assert await hits() == [] and await hits() == [0, 1, 2, 3]
        assert await site.get("/p/01") is not None
        await cache.drop_tag("product:1")
        assert await hits() == [0, 2, 3]
        await cache.drop_tag("shelf:0")
        assert await hits() == [1, 3]
        await cache.drop_tag("group")
        assert await hits() == []
        await cache.drop_tag("all")
        assert await hits() == []


async def test_what_was_dropped_while_it_was_made_is_not_kept(serve: Serve) -> None:
    dropping: list[Any] = []

    async def view(request: Any) -> Response:
        current().cache.tag("late")
        for drop in dropping:
            await drop()
        return PlainTextResponse("old")

    rule = Rule("/page", cache=Cached(60, tags=["known"]))
    async with serve(view, rules=[rule]) as site:
        cache = site.mw.cache
        for drop in (
            lambda: cache.drop_tag("known"),
            lambda: cache.drop_tag("late"),
            lambda: cache.drop_tag("known", soft=True),
            lambda: cache.drop_tag("late", soft=True),
            lambda: cache.purge("http://site/page"),
        ):
            dropping[:] = [drop]
            before = len(site.made)
            _ = await site.get()
            dropping[:] = []
            assert status_of(await site.get()) == "fwd=miss;stored" or len(site.made) == before + 2
            assert status_of(await site.get()) == "hit"
            await cache.purge("http://site/page")


async def test_a_view_may_have_its_response_not_kept(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        current().cache.skip()
        return PlainTextResponse("x")

    async with serve(view) as site:
        assert status_of(await site.get()) == "fwd=uri-miss;detail=no-store"


async def test_unsafe_requests_forget_what_they_make_wrong(serve: Serve) -> None:
    async def change(request: Any) -> Response:
        return PlainTextResponse("done", request.query_params.get("status", 200), headers={"location": "/other"})

    async def show(request: Any) -> Response:
        return PlainTextResponse("x")

    routes = [
        Route("/page", show),
        Route("/other", show),
        Route("/third", show),
        Route("/page", change, methods=["POST", "DELETE"]),
    ]
    rules = [Rule(path, cache=Cached(60)) for path in ("/page", "/other", "/third")]

    async with serve(*routes, rules=rules) as site:

        async def hits() -> list[str]:
            return [path for path in ("/page", "/other", "/third") if status_of(await site.get(path)) == "hit"]

        assert await hits() == [] and await hits() == ["/page", "/other", "/third"]
        assert (await site.send("POST")).text == "done"
        assert await hits() == ["/third"]
        _ = await hits(), await site.send("DELETE")
        assert await hits() == ["/third"]


async def test_an_unsafe_request_that_failed_forgets_nothing(serve: Serve) -> None:
    async def fails(request: Any) -> Response:
        return PlainTextResponse("no", 422)

    async def show(request: Any) -> Response:
        return PlainTextResponse("x")

    async with serve(Route("/page", show), Route("/page", fails, methods=["POST"])) as site:
        _ = await site.get(), await site.send("POST")
        assert status_of(await site.get()) == "hit"


async def test_a_group_may_be_forgotten_by_a_response(serve: Serve) -> None:
    async def change(request: Any) -> Response:
        return PlainTextResponse("done", headers={"cache-group-invalidation": '"shelf"'})

    async def show(request: Any) -> Response:
        return PlainTextResponse("x", headers={"cache-groups": '"shelf"'})

    async with serve(Route("/page", show), Route("/change", change, methods=["POST"])) as site:
        _ = await site.get(), await site.send("POST", "/change")
        assert status_of(await site.get()) == "fwd=miss;stored"


async def test_purging_takes_every_variant_of_a_url_whatever_its_scheme(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse(request.headers.get("x-a", "-"), headers={"vary": "x-a"})

    async with serve(view) as site:
        for value in "12":
            _ = await site.get("/page?q=1", x_a=value)
        with count_round_trips() as trips:
            assert await site.mw.cache.purge("https://SITE:443/page?q=1")
        assert trips.awaited == 1
        for value in "12":
            assert status_of(await site.get("/page?q=1", x_a=value)) != "hit"
        with pytest.raises(ValueError, match="no absolute URL"):
            await site.mw.cache.purge("/page")


async def test_the_application_is_asked_whether_a_page_is_still_right(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        fields = {"etag": '"v1"', "cache-control": "max-age=0, stale-if-error=60"}
        fields["x-age"] = request.headers.get("x-n", "")
        if request.headers.get("if-none-match") == '"v1"':
            return Response(status_code=304, headers={**fields, "cache-control": "max-age=60"})
        return PlainTextResponse("hello", headers=fields)

    async with serve(view) as site:
        first = await site.get(x_n="1")
        assert status_of(first) == "fwd=uri-miss;stored"
        second = await site.get(x_n="2")
        assert (second.status_code, second.text) == (200, "hello")
        assert status_of(second) == "fwd=stale;fwd-status=304;stored" and second.headers["x-age"] == "2"
        third = await site.get(x_n="3")
        assert (status_of(third), third.text, third.headers["x-age"]) == ("hit", "hello", "2")
        assert [request.headers.get("if-none-match") for request in site.made] == [None, '"v1"']


async def test_mounted_applications_have_pages_of_their_own(serve: Serve) -> None:
    def app(name: str) -> Any:
        async def view(request: Any) -> Response:
            return PlainTextResponse(name)

        return Mount(f"/{name}", routes=[Route("/page", cached(60)(view))])

    async with serve(app("a"), app("b"), rules=()) as site:
        for _ in range(2):
            assert (await site.get("/a/page")).text == "a" and (await site.get("/b/page")).text == "b"
        assert status_of(await site.get("/a/page")) == "hit"


async def test_with_redis_away_the_application_answers(serve: Serve) -> None:
    async with serve("hello") as site:
        _ = await site.get()
        with outage(site.mw):
            for _ in range(3):
                answer = await site.get()
                assert answer.status_code == 200 and answer.text == "hello" and status_of(answer) == "fwd=uri-miss"
            assert (await site.send("POST")).status_code == 405
        assert status_of(await site.get()) == "hit" and PAGE.cache is not None


async def test_a_page_of_this_process_stands_in_while_redis_is_away(serve: Serve) -> None:
    async with serve("hello", cache=Cache()) as site:
        _ = await site.get()
        _ = await site.until(lambda answer: status_of(answer) == "hit", trips=0)
        with outage(site.mw):
            answer = await site.get()
            assert status_of(answer) == "hit" and answer.text == "hello"


async def test_damaged_things_in_redis_are_a_miss_and_an_event(serve: Serve, redis_mw_settings: Any) -> None:
    redis_client: Any = Redis.from_url(str(redis_mw_settings.url))
    async with serve("hello") as site:
        _ = await site.get()
        (key,) = redis_client.keys(f"{redis_mw_settings.prefix}:h1:*")
        redis_client.hset(key, mapping={name: b"\x01nonsense" for name in redis_client.hkeys(key) if name[:1] == b"m"})
        assert status_of(await site.get()) == "fwd=miss;stored" and "cache.damaged" in {e.name for e in site.heard}
        assert status_of(await site.get()) == "hit"
        redis_client.delete(key)
        redis_client.set(key, "not a hash", ex=60)
        assert (await site.get()).text == "hello"
        assert status_of(await site.get()) == "hit"
