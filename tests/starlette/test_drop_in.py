"""What users of Starlette's own SessionMiddleware rely on."""

import copy
import json
import pickle
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from redis_mw import Cookie, Sessions, Settings, SettingsError, replace
from redis_mw_starlette import RedisMiddleware

SECRET = "a secret of the tests, long enough"


def without_secret(settings: Settings, **changes: object) -> Settings:
    return replace(settings, secret="", **changes)


def test_a_session_is_kept_and_cleared(client: TestClient) -> None:
    assert client.get("/show").json() == {}
    assert client.post("/put", json={"some": "data"}).json() == {"some": "data"}
    assert client.get("/show").json() == {"some": "data"}
    assert client.post("/clear").json() == {}
    assert client.get("/show").json() == {}
    assert "session" not in client.cookies


def test_the_cookie_holds_no_data_and_its_id_stands_nowhere_in_the_store(
    client: TestClient, stored: Callable[[], list[str]]
) -> None:
    _ = client.post("/put", json={"some": "data"})
    id = client.cookies["session"].partition(".")[0]
    (key,) = stored()
    assert id not in key and len(id) == 47


def test_the_cookie_has_starlettes_attributes(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    client = client_of(settings=without_secret(redis_mw_settings), secret_key=SECRET, max_age=600)
    header = client.post("/put", json={"a": 1}).headers["set-cookie"]
    assert re.fullmatch(r"session=[\w-]{47}\.[\w-]{43}; Max-Age=600; Path=/; HttpOnly; SameSite=Lax", header)


def test_a_secure_cookie_is_sent_over_https_only_and_gets_the_host_prefix(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    arguments = {"settings": without_secret(redis_mw_settings), "secret_key": SECRET, "https_only": True}
    client = client_of(base_url="https://testserver", **arguments)
    header = client.post("/put", json={"a": 1}).headers["set-cookie"]
    assert header.startswith("__Host-session=") and "; Secure" in header
    assert client.get("/show").json() == {"a": 1}
    plain = client_of(base_url="http://testserver", **arguments)
    _ = plain.post("/put", json={"a": 1})
    assert plain.get("/show").json() == {}


@pytest.mark.parametrize(
    "arguments",
    [
        {"session_cookie": "session"},
        {"session_cookie": "shop"},
        {"path": "/shop"},
        {"domain": "testserver.local"},
        {"settings_cookie": Cookie(host_prefix=False)},
        {"settings_cookie": Cookie(name="session")},
    ],
)
def test_the_host_prefix_is_for_starlettes_own_name_on_the_whole_host(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings, arguments: dict[str, object]
) -> None:
    cookie = arguments.pop("settings_cookie", Cookie())
    settings = replace(redis_mw_settings, sessions=Sessions(cookie=cookie))
    client = client_of(base_url="https://testserver.local", settings=settings, https_only=True, **arguments)
    header = client.post("/put", json={"a": 1}).headers["set-cookie"]
    assert header.startswith(("session=", "shop="))


def test_max_age_none_makes_a_cookie_that_ends_with_the_browser(client_of: Callable[..., TestClient]) -> None:
    header = client_of(max_age=None).post("/put", json={"a": 1}).headers["set-cookie"]
    assert "max-age" not in header.lower() and "expires" not in header.lower()


def test_a_given_max_age_is_the_idle_time(
    client_of: Callable[..., TestClient], stored: Callable[[], list[str]], redis_mw_settings: Settings
) -> None:
    from redis import Redis

    client = client_of(max_age=7200)
    _ = client.post("/put", json={"a": 1})
    with Redis.from_url(str(redis_mw_settings.url)) as redis:
        assert 7100 < redis.ttl(stored()[0]) <= 7200


def test_starlettes_default_max_age_is_not_a_lifetime_that_anybody_asked_for(
    client: TestClient, stored: Callable[[], list[str]], redis_mw_settings: Settings
) -> None:
    from redis import Redis

    header = client.post("/put", json={"a": 1}).headers["set-cookie"]
    assert "Max-Age=43200" in header
    with Redis.from_url(str(redis_mw_settings.url)) as redis:
        assert 800 < redis.ttl(stored()[0]) <= 900


def test_the_cookies_path_and_domain_and_flags_are_as_told(client_of: Callable[..., TestClient]) -> None:
    header = (
        client_of(
            session_cookie="other",
            path="/put",
            domain="testserver.local",
            same_site="none",
            https_only=True,
            partitioned=True,
            base_url="https://testserver.local",
        )
        .post("/put", json={"a": 1})
        .headers["set-cookie"]
    )
    assert header.startswith("other=")
    for attribute in ("; Path=/put", "; Domain=testserver.local", "; SameSite=None", "; Secure", "; Partitioned"):
        assert attribute in header


def test_a_cookie_is_deleted_with_the_attributes_it_was_given(client_of: Callable[..., TestClient]) -> None:
    client = client_of(path="/", same_site="strict", https_only=True, base_url="https://testserver")
    _ = client.post("/put", json={"a": 1})
    header = client.post("/clear").headers["set-cookie"]
    assert header.startswith("__Host-session=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Strict")


@pytest.mark.parametrize("cookie", ["invalid", "", "a.b", "x" * 5000, "%%%", '"quoted"', "..", "\u20ac"])
def test_a_cookie_that_is_none_is_an_empty_session(client: TestClient, cookie: str) -> None:
    response = client.get("/show", headers={"cookie": f"session={cookie}".encode()})
    assert response.status_code == 200 and response.json() == {}
    assert "set-cookie" not in response.headers


def test_an_id_that_nobody_stored_is_never_taken_over(
    client_of: Callable[..., TestClient], stored: Callable[[], list[str]]
) -> None:
    client = client_of()
    _ = client.post("/put", json={"a": 1})
    before = client.cookies["session"]
    _ = client.post("/logout")
    client.cookies["session"] = before
    assert client.get("/show").json() == {}
    _ = client.post("/put", json={"b": 2})
    assert client.cookies.get("session", domain="testserver.local") not in (None, before)
    assert len(stored()) == 1


def test_a_cookie_under_an_old_key_is_good_and_signed_anew(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    settings = without_secret(redis_mw_settings)
    old = client_of(settings=settings, secret_key="the old key, which is long enough too")
    _ = old.post("/put", json={"a": 1})
    new = client_of(settings=settings, secret_key=SECRET, old_secret_keys=["the old key, which is long enough too"])
    new.cookies.update(old.cookies)
    response = new.get("/show")
    assert response.json() == {"a": 1}
    assert response.headers["set-cookie"].partition(".")[0] == f"session={old.cookies['session'].partition('.')[0]}"
    assert client_of(settings=settings, secret_key=SECRET).get("/show").json() == {}


def test_the_cookie_is_sent_only_when_there_is_a_new_one(client: TestClient) -> None:
    assert "set-cookie" in client.post("/put", json={"a": 1}).headers
    assert "set-cookie" not in client.get("/show").headers
    assert "set-cookie" not in client.get("/untouched").headers
    assert "set-cookie" not in client.post("/put", json={"a": 2}).headers
    assert "set-cookie" in client.post("/regenerate").headers


def test_vary_is_sent_when_the_session_was_accessed(client: TestClient) -> None:
    assert "vary" not in client.get("/untouched").headers
    assert client.get("/show").headers["vary"] == "Cookie"
    _ = client.post("/put", json={"a": 1})
    assert "vary" not in client.get("/untouched").headers


@pytest.mark.parametrize(
    ("given", "sent"),
    [("Accept", ["Accept", "Cookie"]), ("cookie", ["cookie"]), ("Accept, Cookie", ["Accept, Cookie"]), ("*", ["*"])],
)
def test_a_vary_of_the_application_is_kept(client_of: Callable[..., TestClient], given: str, sent: list[str]) -> None:
    async def varied(request: Request) -> Response:
        return JSONResponse(request.session, headers={"vary": given})

    assert client_of(Route("/", varied)).get("/").headers.get_list("vary") == sent


def test_a_set_cookie_of_the_application_is_kept_but_for_one_of_our_name(client_of: Callable[..., TestClient]) -> None:
    async def cookies(request: Request) -> Response:
        request.session["a"] = 1
        response = JSONResponse({})
        response.set_cookie("session", "mine")
        response.set_cookie("session2", "kept")
        return response

    headers = client_of(Route("/", cookies)).get("/").headers.get_list("set-cookie")
    assert [header.partition("=")[0] for header in headers] == ["session2", "session"]
    assert "mine" not in headers[1]


def test_the_session_is_a_dict_that_json_can_write(client_of: Callable[..., TestClient]) -> None:
    async def dumped(request: Request) -> Response:
        assert isinstance(request.session, dict)
        plain = {**request.session}
        assert type(plain) is dict and plain == request.session == dict(request.session)
        return Response(json.dumps(request.session))

    client = client_of(Route("/", dumped))
    _ = client.post("/put", json={"a": {"b": [1]}})
    assert client.get("/").json() == {"a": {"b": [1]}}


WRITES: dict[str, tuple[Callable[[dict[str, int]], object], dict[str, int]]] = {
    "put": (lambda session: session.__setitem__("b", 2), {"a": 1, "b": 2}),
    "delete": (lambda session: session.__delitem__("a"), {}),
    "pop": (lambda session: session.pop("a"), {}),
    "popitem": (lambda session: session.popitem(), {}),
    "clear": (lambda session: session.clear(), {}),
    "update by name": (lambda session: session.update(b=2), {"a": 1, "b": 2}),
    "update": (lambda session: session.update({"b": 2}), {"a": 1, "b": 2}),
    "setdefault": (lambda session: session.setdefault("b", 2), {"a": 1, "b": 2}),
    "|=": (lambda session: session.__ior__({"b": 2}), {"a": 1, "b": 2}),
}


@pytest.mark.parametrize(("change", "left"), WRITES.values(), ids=WRITES)
def test_every_way_to_change_a_dict_is_a_write(
    client_of: Callable[..., TestClient], change: Callable[[dict[str, int]], object], left: dict[str, int]
) -> None:
    async def changed(request: Request) -> Response:
        assert not request.session.modified
        _ = change(request.session)
        return JSONResponse({"modified": request.session.modified})

    client = client_of(Route("/change", changed))
    _ = client.post("/put", json={"a": 1})
    assert client.get("/change").json() == {"modified": True}
    assert client.get("/show").json() == left


READS: dict[str, Callable[[dict[str, int]], object]] = {
    "get": lambda session: session.get("a"),
    "[]": lambda session: session["a"],
    "in": lambda session: "a" in session,
    "len": lambda session: len(session),
    "pop of nothing": lambda session: session.pop("none", None),
    "setdefault": lambda session: session.setdefault("a", 5),
    "|": lambda session: session | {"b": 2},
    "| from the right": lambda session: {"b": 2} | session,
    "copy": lambda session: session.copy(),
    "views": lambda session: [*session.keys(), *session.values(), *session.items()],
    "==": lambda session: session == {"a": 1},
    "!=": lambda session: session != {"a": 1},
    "for": lambda session: list(session),
    "reversed": lambda session: list(reversed(session)),
    "bool": lambda session: bool(session),
}


@pytest.mark.parametrize("look", READS.values(), ids=READS)
def test_every_way_to_read_a_dict_is_an_access_and_no_write(
    client_of: Callable[..., TestClient], look: Callable[[dict[str, int]], object]
) -> None:
    async def read(request: Request) -> Response:
        session = request.scope["session"]
        assert not session.accessed
        _ = look(session)
        return JSONResponse({"accessed": session.accessed, "modified": session.modified})

    client = client_of(Route("/read", read))
    _ = client.post("/put", json={"a": 1})
    assert client.get("/read").json() == {"accessed": True, "modified": False}
    assert client.get("/show").json() == {"a": 1}


def test_popping_from_an_empty_session_is_a_key_error_and_no_write(client_of: Callable[..., TestClient]) -> None:
    async def popped(request: Request) -> Response:
        with pytest.raises(KeyError):
            _ = request.session.popitem()
        return JSONResponse({"modified": request.session.modified})

    assert client_of(Route("/", popped)).get("/").json() == {"modified": False}


def test_a_change_deep_inside_a_value_is_written(client_of: Callable[..., TestClient]) -> None:
    async def add(request: Request) -> Response:
        request.session["cart"]["lines"].append(request.path_params["line"])
        return JSONResponse({})

    client = client_of(Route("/add/{line}", add))
    _ = client.post("/put", json={"cart": {"lines": []}})
    _ = client.get("/add/one")
    _ = client.get("/add/two")
    assert client.get("/show").json() == {"cart": {"lines": ["one", "two"]}}


def test_values_that_json_has_no_word_for_come_back_as_they_were(client_of: Callable[..., TestClient]) -> None:
    values = {"t": (1, 2), "d": datetime(2026, 1, 2, 3, tzinfo=UTC), "n": Decimal("1.10"), "b": b"\0", "s": {1, 2}}

    async def write(request: Request) -> Response:
        request.session.update(values)
        return JSONResponse({})

    async def read(request: Request) -> Response:
        return JSONResponse({"same": request.session == values})

    client = client_of(Route("/write", write), Route("/read", read))
    _ = client.get("/write")
    assert client.get("/read").json() == {"same": True}


def test_a_mounted_application_shares_the_session_also_under_a_middleware_of_its_own(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    from redis_mw.testing import count_round_trips

    async def inner(request: Request) -> Response:
        request.session["inner"] = request.session.get("outer")
        return JSONResponse(request.session)

    plain = Starlette(routes=[Route("/x", inner)])
    wrapped = RedisMiddleware(plain, redis_mw_settings)
    client = client_of(Mount("/plain", plain), Mount("/wrapped", wrapped))
    _ = client.post("/put", json={"outer": 1})
    assert client.get("/plain/x").json() == {"outer": 1, "inner": 1}
    _ = client.post("/put", json={"outer": 2})
    with count_round_trips() as trips:
        assert client.get("/wrapped/x").json() == {"outer": 2, "inner": 2}
    assert trips.awaited == 2
    assert client.get("/show").json() == {"outer": 2, "inner": 2}


@pytest.mark.parametrize("which", ["settings", "arguments"])
def test_a_middleware_inside_another_that_says_something_else_is_an_error_and_not_ignored(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings, which: str
) -> None:
    async def show(request: Request) -> Response:
        return JSONResponse(request.session)

    other = replace(redis_mw_settings, sessions=Sessions(idle=3600)) if which == "settings" else redis_mw_settings
    arguments: dict[str, Any] = {"session_cookie": "admin"} if which == "arguments" else {}
    wrapped = RedisMiddleware(Starlette(routes=[Route("/x", show)]), other, **arguments)
    client = client_of(Mount("/wrapped", wrapped))
    with pytest.raises(SettingsError, match="RedisMiddleware around it"):
        _ = client.get("/wrapped/x")
    assert client.get("/show").json() == {}


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda session: pickle.loads(pickle.dumps(session))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_of_the_session_is_a_plain_dict(
    client_of: Callable[..., TestClient], copied: Callable[[Any], Any]
) -> None:
    async def view(request: Request) -> Response:
        taken = copied(request.session)
        assert type(taken) is dict and request.session.accessed and not request.session.modified
        taken["b"] = 2
        return JSONResponse([taken, taken["deep"] is dict.__getitem__(request.session, "deep")])

    client = client_of(Route("/view", view))
    _ = client.post("/put", json={"deep": [1]})
    assert client.get("/view").json() == [{"deep": [1], "b": 2}, copied is copy.copy]
    assert client.get("/show").json() == {"deep": [1]}


def test_a_middleware_inside_a_mount_alone_works_with_the_path_below_the_mount(redis_mw_settings: Settings) -> None:
    async def show(request: Request) -> Response:
        request.session["a"] = 1
        return JSONResponse(request.session)

    settings = replace(redis_mw_settings, sessions=Sessions(skip=["/skipped"]))
    inner = RedisMiddleware(Starlette(routes=[Route("/x", show), Route("/skipped", show)]), settings)
    with TestClient(Starlette(routes=[Mount("/app", inner)]), raise_server_exceptions=False) as client:
        assert client.get("/app/x").json() == {"a": 1}
        assert client.get("/app/skipped").status_code == 500  # a write where sessions are off is a mistake
