"""What is somebody's own is never anybody else's, and nobody can put words into a page that others get."""

import asyncio
import json
from typing import Any

import pytest
import redis
from by_hand import soon
from changes import begun, changed
from other_caches import told_by_vary
from pages_site import status_of
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from redis_mw import Cache, Cached, Lock, Rule
from redis_mw.keys import digest

pytestmark = pytest.mark.asyncio
Serve = Any


def ruled(**policy: Any) -> list[Rule]:
    return [Rule("/page", cache=Cached(60, **policy)), Rule("/in")]


async def login(request: Any) -> Response:
    request.session.login(request.query_params["user"])
    request.session["lang"] = "de"
    return PlainTextResponse("in")


IN = Route("/in", login, methods=["POST"])
MADE_OF_A_SESSION = "fwd=uri-miss;detail=session"


@pytest.mark.parametrize(
    "says",
    [
        *("private", "no-store", "PRIVATE", "No-Store", 'private="x-a"', "max-age=60;private", "max-age=60, private"),
        *("no-cache", "public, no-store", "private=1", '"private', "max-age=60 , NO-STORE"),
        "must-understand=1, no-store",
    ],
)
async def test_what_says_that_it_is_private_is_not_kept_however_it_says_so(serve: Serve, says: str) -> None:
    async with serve(PlainTextResponse("x", headers={"cache-control": says})) as site:
        _ = await site.get()
        assert status_of(await site.get()) != "hit" and len(site.made) == 2


async def test_every_line_of_cache_control_counts(serve: Serve) -> None:
    answer = PlainTextResponse("x")
    answer.raw_headers += [(b"cache-control", b"max-age=60"), (b"Cache-Control", b"Private")]
    async with serve(answer) as site:
        _ = await site.get()
        assert status_of(await site.get()) == "fwd=uri-miss;detail=private"


@pytest.mark.parametrize("vary", ["*", " * ", "accept, *", "Cookie", "accept-language,COOKIE", "authorization", "a b"])
async def test_what_varies_by_somebody_or_by_nobody_knows_what_is_not_kept(serve: Serve, vary: str) -> None:
    async with serve(PlainTextResponse("x", headers={"vary": vary})) as site:
        _ = await site.get()
        assert status_of(await site.get()) == "fwd=uri-miss;detail=vary"


async def test_a_cookie_of_the_application_keeps_its_response_out_unless_that_is_wanted(serve: Serve) -> None:
    answer = PlainTextResponse("x", headers={"set-cookie": "a=1; Path=/"})
    async with serve(answer) as site:
        _ = await site.get()
        assert status_of(await site.get()) == "fwd=uri-miss;detail=set-cookie"
    async with serve(answer, cache=Cache(l1_bytes=0, store_set_cookie=True)) as site:
        _ = await site.get()
        again = await site.get()
        assert status_of(again) == "hit" and again.headers["set-cookie"] == "a=1; Path=/"


async def test_a_page_made_of_a_session_is_not_kept_and_one_made_beside_it_is(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        if "look" in request.query_params:
            return PlainTextResponse(f"hello {request.session.user_id}")
        return PlainTextResponse("hello all")

    async with serve(view, IN) as site:
        assert (await site.send("POST", "/in?user=ann")).status_code == 200
        assert (await site.get("/page?look")).text == "hello ann"
        assert status_of(await site.get("/page?look")) == "fwd=uri-miss;detail=session"
        site.http.cookies.clear()
        assert (await site.get("/page?look")).text == "hello None"
        _ = await site.send("POST", "/in?user=bob")
        assert status_of(await site.get()) == "fwd=uri-miss;stored", "that he is logged in is nothing to the page"
        site.http.cookies.clear()
        answer = await site.get()
        assert status_of(answer) == "hit" and "set-cookie" not in answer.headers
        _ = await site.send("POST", "/in?user=eve")
        assert status_of(await site.get()) == "hit", "a visitor's cookie alone keeps no page from him"


async def test_a_session_that_is_looked_at_while_the_body_is_sent_counts_too(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        async def parts() -> Any:
            yield "hello "
            yield str(request.session.user_id)

        return StreamingResponse(parts())

    async with serve(view, IN) as site:
        _ = await site.send("POST", "/in?user=ann")
        assert (await site.get()).text == "hello ann"
        site.http.cookies.clear()
        assert (await site.get()).text == "hello None"


async def test_pages_for_each_visitor_only_where_the_key_tells_them_apart(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse(f"made {len(site.made)}")

    async with serve(view, IN, rules=ruled(key="{user}")) as site:
        assert (await site.get()).text == (await site.get()).text[:-1] + "1", "who has no user has no page"
        assert len(site.made) == 2
        texts = {}
        for user in ("ann", "bob"):
            site.http.cookies.clear()
            _ = await site.send("POST", f"/in?user={user}")
            texts[user] = (await site.get()).text
            assert (await site.get()).text == texts[user]
        assert texts["ann"] != texts["bob"]
        await site.mw.cache.purge("http://site/page")
        assert (await site.get()).text != texts["bob"], "a URL is purged for everybody"


@pytest.mark.parametrize("key", ["{user}", "{user}:{session}"])
async def test_a_page_of_each_user_may_say_who_he_is_and_other_caches_are_told(serve: Serve, key: str) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse(f"{request.session.user_id}")

    async with serve(view, IN, rules=ruled(key=key)) as site:
        for user in ("ann", "bob"):
            site.http.cookies.clear()
            _ = await site.send("POST", f"/in?user={user}")
            made, given = await site.get(), await site.get()
            assert (status_of(made), made.text) == ("fwd=uri-miss;stored", user)
            assert (status_of(given), given.text) == ("hit", made.text)
            assert made.headers["vary"] == given.headers["vary"] == "Cookie"
        site.http.cookies.clear()
        assert (await site.get()).text == "None" and status_of(await site.get()) == ""


@pytest.mark.parametrize("cache", [Cache(l1_bytes=0), Cache()])
async def test_the_session_is_read_before_a_page_of_a_user_is_given(serve: Serve, cache: Cache) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse(request.session.user_id or "")

    async with serve(view, IN, rules=ruled(key="{user}"), cache=cache) as site:
        _ = await site.send("POST", "/in?user=ann")
        _ = await site.get()
        given = await site.until(lambda answer: status_of(answer) == "hit", trips=2)
        assert given.text == "ann" and len(site.made) == 1


async def test_a_page_of_a_user_is_given_to_no_session_that_has_ended(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse(str(request.session.user_id))

    async with serve(view, IN, rules=ruled(key="{user}"), cache=Cache()) as site:
        _ = await site.send("POST", "/in?user=ann")
        cookies = dict(site.http.cookies)
        assert (await site.get()).text == (await site.get()).text == "ann" and len(site.made) == 1
        assert await site.mw.sessions.revoke_user("ann") == 1
        site.http.cookies.update(cookies)
        assert (await site.get()).text == "None"


async def test_a_session_that_ends_while_its_request_waits_for_a_lock_has_no_page(serve: Serve) -> None:
    inside, goes_on = asyncio.Event(), asyncio.Event()

    async def view(request: Any) -> Response:
        inside.set()
        await goes_on.wait()
        return PlainTextResponse(str(request.session.user_id))

    rules = [Rule("/page", cache=Cached(60, key="{user}"), lock=Lock("page", wait=20)), Rule("/in")]
    async with serve(view, IN, rules=rules) as site:
        _ = await site.send("POST", "/in?user=ann")
        first = asyncio.create_task(site.get())
        await inside.wait()
        second = asyncio.create_task(site.get())
        with redis.Redis.from_url(site.mw.settings.url_of("locks")) as server:
            line = f"{site.mw.settings.prefix}:k1:{{{digest('page')}}}:q"
            await soon(lambda: server.zcard(line) == 1, "the second waits")
        assert await site.mw.sessions.revoke_user("ann") == 1
        await site.mw.cache.purge("http://site/page")  # nor is what the first one makes kept
        goes_on.set()
        assert ((await first).text, (await second).text) == ("ann", "None")
        site.http.cookies.clear()
        _ = await site.send("POST", "/in?user=ann")
        assert (await site.get()).text == "ann", "what was made for nobody is not hers"


@changed
async def test_a_page_that_has_changed_its_session_is_for_once(serve: Serve, change: Any) -> None:
    async def view(request: Any) -> Response:
        change(request.session)
        return PlainTextResponse(str(request.session.user_id))

    async def begin(request: Any) -> Response:
        begun(request.session)
        return PlainTextResponse("in")

    async with serve(view, Route("/begin", begin), rules=ruled(key="{user}:{session}")) as site:
        _ = await site.get("/begin")
        assert status_of(await site.get()) == "fwd=uri-miss;detail=session"


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("{user}", "fwd=uri-miss;detail=session"),
        ("{session}", "fwd=uri-miss;detail=session"),
        ("{user}:{session}", "hit"),
    ],
)
@pytest.mark.parametrize("how", ["get", "in", "all", "since"])
async def test_what_else_a_session_holds_may_be_in_a_page_of_that_session_only(
    serve: Serve, key: str, status: str, how: str
) -> None:
    async def view(request: Any) -> Response:
        session = request.session
        seen = {
            "get": lambda: session.get("verified"),
            "in": lambda: "verified" in session,
            "all": lambda: json.dumps(session),
            "since": lambda: session.created,
        }
        return PlainTextResponse(f"{session.user_id} {seen[how]()}")

    async with serve(view, IN, rules=ruled(key=key)) as site:
        _ = await site.send("POST", "/in?user=ann")
        _ = await site.get()
        assert status_of(await site.get()) == status
        site.http.cookies.clear()
        _ = await site.send("POST", "/in?user=ann")
        assert status_of(await site.get()) != "hit", "another session of hers"


async def test_what_is_called_user_in_the_path_tells_no_visitors_apart(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse(f"{request.path_params['user']} for {request.session.user_id}")

    rules = [Rule("/of/{user}", cache=Cached(60, key="{user}:{session}"))]
    async with serve(Route("/of/{user}", view), IN, rules=rules) as site:
        _ = await site.send("POST", "/in?user=ann")
        assert (await site.get("/of/eve")).text == "eve for ann"
        site.http.cookies.clear()
        assert (await site.get("/of/eve")).text == "eve for None"


@told_by_vary
@pytest.mark.parametrize("cache", [Cache(), Cache(l1_bytes=0)])
async def test_other_caches_are_told_what_a_page_varies_by(
    serve: Serve, policy: Any, own: str | None, told: str | None, cache: Cache
) -> None:
    answer = PlainTextResponse("x", headers={} if own is None else {"vary": own})
    async with serve(answer, rules=ruled(**policy), cache=cache) as site:
        made = await site.get()
        answers = [made, await site.get(), await site.get(if_none_match=made.headers["etag"])]
        assert [each.status_code for each in answers] == [200, 200, 304]
        assert [each.headers.get("vary") for each in answers] == [told] * 3


async def test_authorization_is_nobody_elses_unless_the_response_allows_it(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        says = request.query_params.get("says")
        text = f"for {request.headers.get('authorization')}"
        return PlainTextResponse(text, headers={"cache-control": says} if says else {})

    async with serve(view) as site:
        assert (await site.get(authorization="Bearer a")).text == "for Bearer a"
        assert (await site.get()).text == "for None" and status_of(await site.get()) == "hit"
        assert (await site.get(authorization="Bearer b")).text == "for Bearer b", "nor is a public page for him"
        for says in ("public, max-age=60", "s-maxage=60", "max-age=60, must-revalidate"):
            path = f"/page?says={says.replace(' ', '')}"
            assert (await site.get(path, authorization="Bearer a")).text == "for Bearer a"
            assert (await site.get(path, authorization="Bearer b")).text == "for Bearer a"
            assert (await site.get(path)).text == "for Bearer a"
    async with serve(view, rules=ruled(public=True)) as site:
        assert (await site.get("/page?q=2", authorization="Bearer a")).text == "for Bearer a"
        assert (await site.get("/page?q=2")).text == "for Bearer a"


async def test_a_view_sees_no_cookie_that_its_page_is_not_told_apart_by(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse(",".join(sorted(request.cookies)))

    cookies = "theme=dark; lang=de; tracker=1; bare; =odd"
    async with serve(view, rules=ruled(cookies=["lang"])) as site:
        assert (await site.get(cookie=cookies)).text == "lang"
        assert (await site.get(cookie="lang=de")).text == "lang" and len(site.made) == 1
        assert (await site.get(cookie="lang=en")).text == "lang" and len(site.made) == 2
        assert (await site.get()).text == "" and len(site.made) == 3
    async with serve(view, rules=ruled(cookies="all")) as site:
        assert (await site.get(cookie="theme=dark; a=1")).text == "a,theme"
        assert (await site.get(cookie="theme=dark; a=2")).text == "a,theme" and len(site.made) == 2


@pytest.mark.parametrize(
    "field",
    [
        *("x-forwarded-host", "x-forwarded-proto", "x-forwarded-for", "forwarded", "x-original-url", "x-rewrite-url"),
        *("x-forwarded-prefix", "x-host", "x-http-method-override", "x-forwarded-scheme", "x-forwarded-server"),
    ],
)
async def test_nobody_can_write_into_a_page_by_fields_that_its_key_leaves_out(serve: Serve, field: str) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse(f"link to {request.headers.get(field, 'here')}")

    async with serve(view) as site:
        assert (await site.get(**{field: "evil.example"})).text == "link to here"
    async with serve(view, rules=ruled(vary=[field])) as site:
        assert (await site.get("/page?v", **{field: "a"})).text == "link to a"
        assert (await site.get("/page?v", **{field: "b"})).text == "link to b"


async def test_the_proxy_that_is_believed_may_say_more(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse(request.headers.get("x-forwarded-host", "here"))

    async with serve(view, trusted_proxies=["127.0.0.1/32"]) as site:
        assert (await site.get(x_forwarded_host="shop.example")).text == "shop.example"


async def test_hosts_have_pages_of_their_own_and_others_than_those_allowed_have_none(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse(f"at {request.headers['host']}")

    async with serve(view) as site:
        for host in ("a.example", "b.example"):
            assert (await site.get(host=host)).text == f"at {host}"
        assert (await site.get(host="A.Example:80")).text == "at a.example", "one host, however it is written"
    async with serve(view, allowed_hosts=["a.example", ".c.example"]) as site:
        for host in ("evil.example", "c.example.evil", "evil.example:80"):
            answer = await site.get("/page?q", host=host)
            assert answer.text == f"at {host}" and "cache-status" not in answer.headers
        for host in ("a.example", "www.c.example", "c.example"):
            assert status_of(await site.get("/page?q", host=host)) == "fwd=uri-miss;stored"
    async with serve(PlainTextResponse("same"), rules=ruled(host_any=True)) as site:
        _ = await site.get("/page?any", host="a.example")
        assert status_of(await site.get("/page?any", host="b.example")) == "hit"


@pytest.mark.parametrize("path", ["/account/x.css", "/account/%2e%2e/x.js", "/account;x.css", "/account/x.css?y"])
async def test_a_page_is_never_kept_for_what_its_path_looks_like(serve: Serve, path: str) -> None:
    async def account(request: Any) -> Response:
        return PlainTextResponse("secrets")

    async with serve(Route("/{rest:path}", account), rules=[Rule("/static/*", cache=Cached(60))]) as site:
        for _ in range(2):
            assert "cache-status" not in (await site.get(path)).headers


async def test_the_body_of_a_get_is_no_part_of_a_page(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse(f"echo {(await request.body()).decode()}")

    async def chunks() -> Any:
        yield b"evil"

    async with serve(view) as site:
        for content in (b"evil", chunks()):
            answer = await site.http.request("GET", "/page", content=content)
            assert answer.text == "echo evil" and "cache-status" not in answer.headers
        assert (await site.get(content_length="0")).text == "echo " and status_of(await site.get()) == "hit"


async def test_what_a_client_asks_for_itself_changes_nothing_for_others(serve: Serve) -> None:
    async with serve("hello") as site:
        _ = await site.get()
        assert status_of(await site.get(cache_control="no-cache")) == "hit", "or anybody could run the application"
        assert status_of(await site.get(pragma="no-cache")) == "hit"
        assert status_of(await site.get("/page?n", cache_control="no-store")) == "fwd=uri-miss"
        assert status_of(await site.get(cache_control="no-store")) == "hit", "what is stored may be sent all the same"
    async with serve("hello", cache=Cache(l1_bytes=0, honour_client_no_cache=True)) as site:
        assert status_of(await site.get()) == "hit"
        assert status_of(await site.get(cache_control="no-cache")) == "fwd=request;stored"
        assert status_of(await site.get(cache_control="max-age=60")) == "hit"


async def test_limits_and_session_cookies_are_those_of_who_asks(serve: Serve) -> None:
    async def view(request: Any) -> Response:
        return PlainTextResponse("x", headers={"x-ratelimit-left": "7", "connection": "x-hop", "x-hop": "1"})

    rules = [Rule("/page", cache=Cached(60), limits=["5/minute"]), Rule("/in")]
    async with serve(view, rules=rules) as site:
        left = []
        for _ in range(3):
            answer = await site.get()
            left.append(answer.headers["ratelimit"].partition("r=")[2].partition(";")[0])
        assert left == ["4", "3", "2"] and status_of(answer) == "hit"
        assert "x-ratelimit-left" not in answer.headers and "x-hop" not in answer.headers
        for _ in range(2):
            _ = await site.get()
        assert (await site.get()).status_code == 429


async def test_one_trip_for_limit_session_and_page(serve: Serve) -> None:
    rules = [Rule("/page", cache=Cached(60), limits=["50/minute"]), Rule("/in")]
    async with serve("x", IN, rules=rules) as site:
        _ = await site.send("POST", "/in?user=ann")
        assert await site.trips() == 2 and await site.trips() == 1


async def test_locks_and_pages_of_one_route_get_along(serve: Serve) -> None:
    async with serve("x", rules=[Rule("/page", cache=Cached(60), lock=Lock("page"))]) as site:
        assert await site.trips() == 2 and await site.trips() == 1
