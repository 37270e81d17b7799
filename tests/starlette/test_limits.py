"""Rate limits of requests under Starlette: what is counted, of whom, in how many round trips, and how it is told."""

import threading
from collections.abc import Callable
from typing import Any

import http_sf
import pytest
from redis import Redis
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from redis_mw import AsyncRedisMW, Limit, LimitExceeded, Limits, Rule, Settings, Strikes, current, limited, replace
from redis_mw.testing import count_round_trips, outage

Make = Callable[..., TestClient]


async def page(request: Request) -> Response:
    return PlainTextResponse("a page")


async def login(request: Request) -> Response:
    good = (await request.body()) == b"good"
    return PlainTextResponse("", 200 if good else 401)


@pytest.fixture
def limited_client(client_of: Make, redis_mw_settings: Settings) -> Make:
    """``limited_client(*limits, **of Limits)``: a client of pages at ``/page`` and ``/page/{rest}``, limited so."""

    def make(*limits: Limit | str, routes: Any = (), secret: str = "", **of_limits: Any) -> TestClient:
        rules = [Rule("/page", limits=limits), Rule("/page/{rest}", limits=limits)]
        settings = replace(redis_mw_settings, rules=rules, limits=Limits(**of_limits))
        pages = [Route("/page", page, methods=["GET", "POST", "OPTIONS"]), Route("/page/{rest}", page)]
        return client_of(*routes, *pages, settings=settings)

    return make


def statuses(client: TestClient, count: int, path: str = "/page", **given: Any) -> list[int]:
    return [client.get(path, **given).status_code for _ in range(count)]


def test_a_burst_is_cut_at_the_limit(limited_client: Make) -> None:
    client = limited_client("3/minute")
    assert statuses(client, 5) == [200, 200, 200, 429, 429]


def test_any_number_of_limits_costs_one_trip(limited_client: Make) -> None:
    client = limited_client("30/minute", Limit("20/hour", by="global"), Limit("10/day", algorithm="fixed", by="route"))
    with count_round_trips() as trips:
        _ = client.get("/page")
    assert (trips.awaited, trips.total) == (1, 1) and trips.commands == ["EVALSHA"]


def test_a_session_rides_along_in_the_same_trip(limited_client: Make) -> None:
    client = limited_client("30/minute")
    _ = client.post("/put", json={"a": 1})
    with count_round_trips() as trips:
        assert client.get("/page").status_code == 200
    assert trips.awaited == 1 and trips.commands == ["EVALSHA", "EVALSHA"]


def test_a_denied_repeat_costs_no_trip(limited_client: Make) -> None:
    client = limited_client("1/minute")
    assert statuses(client, 2) == [200, 429]
    with count_round_trips() as trips:
        again = client.get("/page")
    assert again.status_code == 429 and trips.total == 0
    assert int(again.headers["retry-after"]) >= 1


def test_a_denied_request_burns_nothing_of_the_other_limits(limited_client: Make) -> None:
    client = limited_client(Limit("10/minute", by="global"), "2/minute")
    answers = [client.get("/page") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429, 429, 429]
    assert '"10-per-m";r=8' in answers[2].headers["ratelimit"]


def test_a_denied_repeat_is_charged_where_a_limit_says_so(limited_client: Make) -> None:
    client = limited_client("1/minute", Limit("4/minute", name="attempts", by="global", on_deny="charge"))
    left = [client.get("/page").headers["ratelimit"].partition('"attempts";r=')[2][0] for _ in range(5)]
    assert left == ["3", "2", "1", "0", "0"]


def test_every_answer_tells_of_all_its_limits_in_fields_that_parse(limited_client: Make) -> None:
    client = limited_client("3/minute", Limit("100/day", name="daily", by="global"), Limit("5 in flight", by="global"))
    answer = client.get("/page")
    policies = http_sf.parse(answer.headers["ratelimit-policy"].encode(), tltype="list")
    left = http_sf.parse(answer.headers["ratelimit"].encode(), tltype="list")
    assert [(name, dict(of)) for name, of in policies] == [
        ("3-per-m", {"q": 3, "w": 60}),
        ("daily", {"q": 100, "w": 86400}),
        ("5-in-flight", {"q": 5, "qu": "concurrent-requests"}),
    ]
    assert [(name, of["r"]) for name, of in left] == [("3-per-m", 2), ("daily", 99), ("5-in-flight", 4)]


def test_a_refusal_says_what_was_violated_and_when_to_come_back(limited_client: Make) -> None:
    client = limited_client(Limit("1/minute", name="tight"))
    _ = client.get("/page")
    answer = client.get("/page")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "Too many requests.",
        "violated-policies": ["tight"],
    }
    assert 1 <= int(answer.headers["retry-after"]) <= 64
    assert answer.headers["ratelimit"].startswith('"tight";r=0;t=')
    plain = client.get("/page", headers={"accept": "text/html"})
    assert plain.headers["content-type"].startswith("text/plain") and plain.text.startswith("429 Too Many Requests")


def test_fields_are_told_in_the_older_way_or_not_at_all(limited_client: Make) -> None:
    legacy = limited_client("3/minute", headers="legacy").get("/page")
    assert (legacy.headers["x-ratelimit-limit"], legacy.headers["x-ratelimit-remaining"]) == ("3", "2")
    assert "ratelimit" not in legacy.headers
    assert not [name for name in limited_client("3/minute", headers="none").get("/page").headers if "ratelimit" in name]
    both = limited_client("3/minute", Limit("100/hour", by="global"), headers="both", one_header=True).get("/page")
    assert both.headers["ratelimit"].startswith('"3-per-m"') and "," not in both.headers["ratelimit"]
    assert "x-ratelimit-reset" in both.headers


def test_errors_missing_pages_and_not_modified_carry_the_fields_too(
    client_of: Make, redis_mw_settings: Settings
) -> None:
    async def crash(request: Request) -> Response:
        raise HTTPException(500, "no")

    async def same(request: Request) -> Response:
        return Response(status_code=304)

    settings = replace(redis_mw_settings, limits=Limits(default=["100/minute"]))
    client = client_of(Route("/crash", crash), Route("/same", same), settings=settings)
    for path, status in (("/crash", 500), ("/same", 304), ("/nowhere", 404)):
        answer = client.get(path)
        assert answer.status_code == status and "ratelimit" in answer.headers


def test_failed_requests_only_are_counted_and_parallel_ones_cannot_all_pass(
    client_of: Make, redis_mw_settings: Settings
) -> None:
    gate, waiting = threading.Event(), threading.Semaphore(0)

    def slow(request: Request) -> Response:
        waiting.release()
        assert gate.wait(20)
        return PlainTextResponse("", 401)

    rules = [Rule("/{any}", limits=[Limit("5/minute", name="login", count="failed", by="global")])]
    client = client_of(
        Route("/login", login, methods=["POST"]),
        Route("/slow", slow),
        settings=replace(redis_mw_settings, rules=rules),
    )
    with client:
        assert {client.post("/login", content=b"good").status_code for _ in range(12)} == {200}
        found: list[int] = []
        threads = [threading.Thread(target=lambda: found.append(client.get("/slow").status_code)) for _ in range(9)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            assert waiting.acquire(timeout=20)
        refused = client.post("/login", content=b"good")
        gate.set()
        for thread in threads:
            thread.join(20)
    assert refused.status_code == 429
    assert sorted(found) == [401] * 5 + [429] * 4


def test_a_cost_that_only_the_response_knows_is_corrected(client_of: Make, redis_mw_settings: Settings) -> None:
    def size(response: Response) -> int:
        return int(response.headers["content-length"])

    rule = Rule("/page", limits=[Limit("10/minute", name="bytes", count=size)])
    with client_of(Route("/page", page), settings=replace(redis_mw_settings, rules=[rule])) as client:
        assert client.get("/page").status_code == 200
        _eventually(lambda: '"bytes";r=3' in client.get("/page").headers.get("ratelimit", ""))


def test_a_view_charges_more(client_of: Make, redis_mw_settings: Settings) -> None:
    async def heavy(request: Request) -> Response:
        current().limits.charge(5)
        return PlainTextResponse(str([verdict.remaining for verdict in current().verdicts]))

    rule = Rule("/heavy", limits=["10/minute"])
    with client_of(Route("/heavy", heavy), settings=replace(redis_mw_settings, rules=[rule])) as client:
        assert client.get("/heavy").text == "[9]"
        _eventually(lambda: "r=3" in client.get("/heavy").headers["ratelimit"], tries=1)


def _eventually(true: Callable[[], bool], tries: int = 50) -> None:
    """What is settled after the response is settled soon; each look counts, so few are taken where that matters."""
    pause = threading.Event()
    for _ in range(tries):
        _ = pause.wait(0.2 if tries == 1 else 0.05)
        if true():
            return
    raise AssertionError("it never came true")


def test_a_slot_is_held_while_a_response_streams_and_freed_at_its_end(
    app_of: Callable[..., Starlette], redis_mw_settings: Settings
) -> None:
    opened, close = threading.Event(), threading.Event()

    async def stream(request: Request) -> Response:
        def parts() -> Any:
            yield b"first"
            opened.set()
            assert close.wait(20)
            yield b"last"

        return StreamingResponse(parts())

    settings = replace(redis_mw_settings, rules=[Rule("/stream", limits=[Limit("1 in flight", status=503)])])
    with TestClient(app_of(Route("/stream", stream), settings=settings)) as client:
        found: list[bytes] = []
        thread = threading.Thread(target=lambda: found.append(client.get("/stream").content))
        thread.start()
        assert opened.wait(20)
        busy = client.get("/stream")
        close.set()
        thread.join(20)
        assert busy.status_code == 503 and busy.json()["type"].endswith("#temporary-reduced-capacity")
        assert found == [b"firstlast"]
        _eventually(lambda: client.get("/stream").status_code == 200)


def test_a_slot_is_freed_when_the_view_crashes(client_of: Make, redis_mw_settings: Settings) -> None:
    async def crash(request: Request) -> Response:
        raise RuntimeError("crash")

    settings = replace(redis_mw_settings, rules=[Rule("/crash", limits=["1 in flight"])])
    with client_of(Route("/crash", crash), settings=settings) as client, Redis.from_url(str(settings.url)) as redis:
        with pytest.raises(RuntimeError, match="crash"):
            _ = client.get("/crash")
        _eventually(lambda: not list(redis.scan_iter(f"{settings.prefix}:l1:*")))


class TestWhoIsCounted:
    def test_a_forged_address_is_not_believed_without_a_trusted_proxy(self, limited_client: Make) -> None:
        client = limited_client("1/minute")
        found = [client.get("/page", headers={"x-forwarded-for": f"203.0.113.{n}"}).status_code for n in range(3)]
        assert found == [200, 429, 429]

    def test_behind_a_trusted_proxy_each_client_has_its_own(self, client_of: Make, redis_mw_settings: Settings) -> None:
        rules = [Rule("/untouched", limits=["1/minute"])]
        client = client_of(settings=replace(redis_mw_settings, rules=rules, trusted_proxies=1))
        found = [
            client.get("/untouched", headers={"x-forwarded-for": address}).status_code
            for address in ("203.0.113.1", "203.0.113.2", "::ffff:203.0.113.1", "2001:db8::1", "2001:db8::2")
        ]
        assert found == [200, 200, 429, 200, 429]

    def test_an_api_key_counts_apart_and_leaving_it_out_counts_by_the_address(self, limited_client: Make) -> None:
        client = limited_client(Limit("1/minute", by="header:X-Api-Key"))
        found = [client.get("/page", headers={"x-api-key": key}).status_code for key in ("a", "b", "a")]
        assert found == [200, 200, 429]
        assert statuses(client, 2) == [200, 429]

    def test_a_user_is_counted_wherever_he_comes_from_for_one_trip_more(self, limited_client: Make) -> None:
        first, second = (limited_client(Limit("2/minute", by="user")) for _ in range(2))
        for client in (first, second):
            _ = client.post("/login/42")
        with count_round_trips() as trips:
            assert first.get("/page").status_code == 200
        assert trips.awaited == 2
        assert second.get("/page").status_code == 200
        assert second.get("/page").status_code == 429
        assert limited_client(Limit("2/minute", by="user")).get("/page").status_code == 200

    def test_a_session_is_counted_for_no_trip_more(self, limited_client: Make) -> None:
        client = limited_client(Limit("1/minute", by="session"))
        _ = client.post("/put", json={"a": 1})
        with count_round_trips() as trips:
            assert statuses(client, 1) == [200]
        assert trips.awaited == 1
        assert statuses(client, 1) == [429]
        client.cookies.clear()
        assert statuses(client, 2) == [200, 429]

    def test_a_callable_says_who_and_how_much(self, limited_client: Make) -> None:
        def plan(request: Request) -> str | None:
            return {"gold": "3/minute", "free": "1/minute"}.get(request.headers.get("plan", ""))

        limit = Limit(plan, by=lambda request: request.headers.get("who"), name="plan")
        client = limited_client(limit)
        ask = lambda **of: client.get("/page", headers=of).status_code  # noqa: E731
        assert [ask(plan="gold", who="a") for _ in range(4)] == [200, 200, 200, 429]
        assert [ask(plan="free", who="b") for _ in range(2)] == [200, 429]
        assert [ask(who="b") for _ in range(5)] == [200] * 5

    def test_the_lists_of_the_settings_come_first(self, limited_client: Make, redis_mw_settings: Settings) -> None:
        client = limited_client(
            Limit("1/minute", by="global"), allow=["10.0.0.0/8"], deny=["10.1.0.0/16", "192.0.2.0/24"]
        )
        client = TestClient(client.app, client=("10.1.2.3", 5))
        with count_round_trips() as trips:
            assert statuses(client, 3) == [200] * 3
        assert trips.total == 0
        refused = TestClient(client.app, client=("192.0.2.7", 5)).get("/page")
        assert refused.status_code == 403 and "retry-after" not in refused.headers


def test_a_client_is_banned_for_longer_each_time(limited_client: Make) -> None:
    client = limited_client(Limit("1/minute", strikes=Strikes(after=3, ban=100, factor=10, cap=5000)))
    answers = [client.get("/page") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200, 429, 429, 429, 429, 429]
    assert [answer.json()["type"].rpartition("#")[2] for answer in answers[1:]] == [
        *["quota-exceeded"] * 2,
        *["abnormal-usage-detected"] * 3,
    ]
    assert 90 <= int(answers[-1].headers["retry-after"]) <= 100


def test_a_shadow_limit_is_asked_and_told_to_nobody_but_events(client_of: Make, redis_mw_settings: Settings) -> None:
    heard: list[Any] = []
    settings = replace(
        redis_mw_settings,
        on_event=[heard.append],
        rules=[Rule("/untouched", limits=[Limit("1/minute", shadow=True, name="trial"), "100/minute"])],
    )
    client = client_of(settings=settings)
    answers = [client.get("/untouched") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert all("trial" not in str(answer.headers) for answer in answers)
    assert [(event.name, event.policy) for event in heard if event.policy == "trial"] == [
        ("limit.allowed", "trial"), ("limit.shadow", "trial"), ("limit.shadow", "trial"),
    ]  # fmt: skip


def test_everything_can_be_in_shadow(limited_client: Make) -> None:
    assert statuses(limited_client("1/minute", shadow=True), 3) == [200] * 3


def test_a_preflight_is_no_request_of_anybodys(limited_client: Make) -> None:
    client = limited_client("1/minute")
    for _ in range(3):
        asked = client.options("/page", headers={"origin": "https://x.example", "access-control-request-method": "GET"})
        assert asked.status_code == 200
    assert [client.options("/page").status_code for _ in range(2)] == [200, 429]


class TestRedisAway:
    @pytest.fixture
    def away(self, client_of: Make, redis_mw_settings: Settings) -> Callable[..., tuple[TestClient, AsyncRedisMW]]:
        def make(limit: Limit, **of: Any) -> tuple[TestClient, AsyncRedisMW]:
            mw = AsyncRedisMW(replace(redis_mw_settings, rules=[Rule("/page", limits=[limit])], **of))
            return client_of(Route("/page", page), mw=mw), mw

        return make

    def test_each_process_counts_its_share(self, away: Any) -> None:
        client, mw = away(Limit("6/minute"), workers=3)
        with client, outage(mw):
            answers = [client.get("/page") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert all("ratelimit" not in answer.headers for answer in answers)

    def test_an_open_limit_lets_pass(self, away: Any) -> None:
        client, mw = away(Limit("1/minute", on_outage="open"))
        with client, outage(mw):
            assert statuses(client, 3) == [200] * 3

    def test_a_closed_one_refuses(self, away: Any) -> None:
        client, mw = away(Limit("1/minute", on_outage="closed"))
        with client, outage(mw):
            answer = client.get("/page")
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
        assert answer.json()["type"].endswith("#temporary-reduced-capacity")

    def test_slots_are_counted_here_and_freed(self, away: Any) -> None:
        client, mw = away(Limit("1 in flight"))
        with client, outage(mw):
            assert statuses(client, 3) == [200] * 3


def test_a_hook_may_answer_for_what_is_refused(client_of: Make, redis_mw_settings: Settings) -> None:
    def answer(request: Request, refusal: Exception) -> Response | None:
        assert isinstance(refusal, LimitExceeded)
        return JSONResponse({"later": refusal.retry_after > 0, "left": refusal.verdicts[0].remaining}, 420)  # type: ignore[operator]

    settings = replace(redis_mw_settings, rules=[Rule("/untouched", limits=["1/minute"])])
    client = client_of(settings=settings, on_refuse=answer)
    _ = client.get("/untouched")
    refused = client.get("/untouched")
    assert (refused.status_code, refused.json()) == (420, {"later": True, "left": 0})
    assert "ratelimit" in refused.headers


def test_limits_work_without_sessions(client_of: Make, redis_mw_settings: Settings) -> None:
    settings = replace(redis_mw_settings, sessions=None, rules=[Rule("/untouched", limits=["1/minute"])])
    client = client_of(settings=settings)
    assert statuses(client, 2, "/untouched") == [200, 429]


def test_a_middleware_around_another_counts_once(app_of: Callable[..., Starlette], redis_mw_settings: Settings) -> None:
    from starlette.middleware import Middleware
    from starlette.routing import Mount

    from redis_mw_starlette import RedisMiddleware

    @limited("10/minute")
    async def inside(request: Request) -> Response:
        return PlainTextResponse("a page")

    settings = replace(redis_mw_settings, rules=[Rule("/in/page", limits=["2/minute"])])
    inner = Starlette(
        routes=[Route("/page", inside)],
        middleware=[Middleware(RedisMiddleware, settings=settings)],
    )
    client = TestClient(app_of(Mount("/in", inner), settings=settings))
    answer = client.get("/in/page")
    assert answer.status_code == 200
    assert '"2-per-m";r=1' in answer.headers["ratelimit"] and '"10-per-m";r=9' in answer.headers["ratelimit"]


def test_a_request_is_explained_without_being_counted(client_of: Make, redis_mw_settings: Settings) -> None:
    async def why(request: Request) -> Response:
        found = await current().mw.limits.explain(request)
        return JSONResponse([(each.name, each.place, each.by, each.client, each.verdict.remaining) for each in found])

    settings = replace(redis_mw_settings, rules=[Rule("/why", limits=["5/minute"])])
    client = client_of(Route("/why", limited("3/minute", by="global")(why)), settings=settings)
    place = f"{why.__module__}.{why.__qualname__}#1 /why"
    expected = [["5-per-m", "* /why#0", "client", "client:testclient", 4], ["3-per-m", place, "global", "global", 2]]
    assert client.get("/why").json() == expected
