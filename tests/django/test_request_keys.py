"""Idempotency keys under Django: what runs once, what a repeat is told, and what may be read and sent meanwhile."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from by_hand import until
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory

from redis_mw import Idempotency, PolicyError
from redis_mw.testing import count_round_trips, outage
from redis_mw_django import amw, mw

pytestmark = [
    pytest.mark.usefixtures("requests_site"),
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]

KEY = {"Idempotency-Key": '"8e03978e"'}
OTHER = {"Idempotency-Key": '"another"'}
FORM = "application/x-www-form-urlencoded"
BOUNDARY = "multipart/form-data; boundary="


def body_of(response: Any) -> bytes:
    return b"".join(response)


async def abody_of(response: Any) -> bytes:
    if not response.streaming:
        return bytes(response.content)
    return b"".join([part async for part in response])


def fields(response: Any) -> dict[str, str]:
    """What a response says, but for what belongs to one delivery."""
    return {name: value for name, value in response.items() if name not in ("Content-Length", "Idempotency-Replayed")}


# The answer of a repeat


@pytest.mark.parametrize("path", ["/keyed/", "/akeyed/", "/stream/", "/astream/", "/file/", "/linked/", "/empty/"])
def test_a_repeat_is_given_the_first_answer_in_one_trip(requests_site: Any, path: str) -> None:
    client = Client()
    with count_round_trips() as counted:
        first: Any = client.post(path, {"a": "b"}, headers=KEY)
        body = body_of(first)
    assert counted.awaited == 2, counted
    assert "Idempotency-Replayed" not in first.headers
    with count_round_trips() as counted:
        again: Any = client.post(path, {"a": "b"}, headers=KEY)
    assert counted.awaited == 1, counted
    assert (again.status_code, again.content) == (first.status_code, body)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers.get("Content-Length") == (None if first.status_code == 204 else str(len(body)))
    expected = fields(first)
    assert fields(again) == ({**expected, "Link": "</a>; rel=prev, </b>; rel=next"} if "Link" in expected else expected)
    assert not again.cookies
    assert len(requests_site.ran) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/keyed/", "/akeyed/", "/stream/", "/astream/", "/file/", "/linked/", "/empty/"])
async def test_so_it_is_under_asgi(requests_site: Any, path: str) -> None:
    client = AsyncClient()
    with count_round_trips() as counted:
        first: Any = await client.post(path, {"a": "b"}, headers=KEY)
        body = await abody_of(first)
    assert counted.awaited == 2, counted
    with count_round_trips() as counted:
        again: Any = await client.post(path, {"a": "b"}, headers=KEY)
    assert counted.awaited == 1, counted
    assert (again.status_code, again.content) == (first.status_code, body)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert not again.cookies
    assert len(requests_site.ran) == 1


def test_both_fields_of_one_name_were_sent_and_are(requests_site: Any) -> None:
    first = Client().post("/linked/", headers=KEY)
    assert [value for name, value in first.items() if name == "Link"] == ["</a>; rel=prev", "</b>; rel=next"]
    assert Client().post("/linked/", headers=KEY).headers["Link"] == "</a>; rel=prev, </b>; rel=next"


def test_a_request_without_a_key_costs_nothing_and_runs_as_often_as_it_is_sent(requests_site: Any) -> None:
    with count_round_trips() as counted:
        assert [Client().post("/keyed/").status_code for _ in range(2)] == [201, 201]
        assert Client().get("/keyed/", headers=KEY).status_code == 201  # no method that is kept from running twice
    assert (counted.total, len(requests_site.ran)) == (0, 3)


@pytest.mark.parametrize("path", ["/writes/", "/awrites/"])
def test_a_session_that_was_changed_costs_a_trip_of_its_own(path: str) -> None:
    """Django saves it before its outer middleware is done with the response, so it cannot leave together with that."""
    client = Client()
    _ = client.get("/start/")
    with count_round_trips() as counted:
        assert client.post(path, headers=KEY).status_code == 200
    assert counted.awaited == 3, counted
    with count_round_trips() as counted:
        again = client.post(path, headers=KEY)
    assert (again.headers["Idempotency-Replayed"], counted.awaited) == ("true", 1), counted


@pytest.mark.asyncio
async def test_so_it_does_under_asgi() -> None:
    client = AsyncClient()
    _ = await client.get("/start/")
    for trips in (3, 1):
        with count_round_trips() as counted:
            assert (await client.post("/awrites/", headers=KEY)).status_code == 200
        assert counted.awaited == trips, counted


def test_a_late_mark_replays_past_the_view_and_the_limits_go_on(limit: Any, requests_site: Any) -> None:
    limit("100/minute")
    for left in (99, 98):
        answer = Client().post("/hidden/7/", headers=KEY)
        assert f"r={left};" in answer.headers["RateLimit"]
        requests_site.until_free("order:7")
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert len(requests_site.ran) == 1


# What is refused


@pytest.mark.parametrize(
    ("path", "key", "status", "reason"),
    [
        ("/required/", {}, 400, "missing"),
        ("/keyed/", {"Idempotency-Key": '"half'}, 400, "malformed"),
        ("/keyed/", {"Idempotency-Key": '"a", "b"'}, 400, "malformed"),
        ("/late_form/", {}, 400, "missing"),
    ],
)
def test_a_key_that_is_none_is_told_so_and_costs_no_trip(
    requests_site: Any, path: str, key: dict[str, str], status: int, reason: str
) -> None:
    with count_round_trips() as counted:
        answer = Client().post(path, headers=key)
    assert (answer.status_code, answer.json()["reason"], counted.total) == (status, reason, 0)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert requests_site.ran == []


@pytest.mark.parametrize("path", ["/keyed/", "/akeyed/", "/hidden/7/"])
def test_another_request_with_the_same_key_is_refused(requests_site: Any, path: str) -> None:
    assert Client().post(path, {"a": "b"}, headers=KEY).status_code in (200, 201)
    requests_site.until_free("order:7")
    for changed in (path, f"{path}?q=1"):
        answer = Client().post(changed, {"a": "c"}, headers=KEY)
        assert (answer.status_code, answer.json()["reason"]) == (422, "reused")
        requests_site.until_free("order:7")
    assert len(requests_site.ran) == 1


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused(rule: Any, requests_site: Any, announced: bool) -> None:
    rule(idempotency=Idempotency(max_body=1000))
    for size, status in ((1000, 201), (1001, 413)):
        length = str(size) if announced else ""
        answer = Client().post(
            "/keyed/", b"x" * size, content_type="text/plain", headers={**KEY, "Idempotency-Key": f'"{size}"'},
            CONTENT_LENGTH=length or str(size),
        )  # fmt: skip
        assert answer.status_code == status
    assert answer.json()["reason"] == "too-large"
    assert len(requests_site.ran) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(("size", "status"), [(1000, 201), (1001, 413), (300_000, 413)])
async def test_so_it_is_where_no_length_was_announced(rule: Any, size: int, status: int) -> None:
    rule(idempotency=Idempotency(max_body=1000))
    sent, _ = await asked("/akeyed/", b"x" * size)
    assert sent[0]["status"] == status


def test_one_that_is_running_is_told_and_one_may_wait_for_it(requests_site: Any) -> None:
    for path, key in (("/keyed/", KEY), ("/waiting/", OTHER)):
        inside, leave = Event(), Event()

        def wait(inside: Event = inside, leave: Event = leave) -> None:
            inside.set()
            assert leave.wait(20)

        requests_site.hooks["inside"] = wait
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(lambda path=path, key=key: Client().post(path, headers=key))
            assert inside.wait(20)
            if path == "/keyed/":
                busy = Client().post(path, headers=KEY)
                assert (busy.status_code, busy.json()["reason"], busy.headers["Retry-After"]) == (
                    409,
                    "in-progress",
                    "1",
                )
                leave.set()
            else:
                second = pool.submit(lambda path=path, key=key: Client().post(path, headers=key))
                leave.set()
                assert second.result(20).content == first.result(20).content
            assert first.result(20).status_code in (200, 201)
    assert len(requests_site.ran) == 2


@pytest.mark.asyncio
async def test_sent_many_times_at_once_it_runs_once(requests_site: Any) -> None:
    async def pause() -> None:
        await asyncio.sleep(0.01)

    requests_site.hooks["ainside"] = pause
    answers: list[Any] = await asyncio.gather(*(AsyncClient().post("/awaiting/", headers=KEY) for _ in range(8)))
    assert len({answer.content for answer in answers}) == 1
    assert {answer.status_code for answer in answers} == {200}
    assert len(requests_site.ran) == 1


def test_with_redis_away_nothing_with_a_key_runs_unless_the_settings_say_so(rule: Any, requests_site: Any) -> None:
    with outage(mw):
        answer = Client().post("/keyed/", headers=KEY)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert Client().post("/keyed/").status_code == 201  # without a key nothing was promised
    assert len(requests_site.ran) == 1
    rule(idempotency=Idempotency(on_outage="open"))
    with outage(mw):
        assert Client().post("/keyed/", headers=KEY).status_code == 201


# What is kept


@pytest.mark.parametrize("path", ["/keyed/?status=500", "/akeyed/?status=503", "/raises/", "/araises/"])
def test_what_failed_is_not_kept_so_a_repeat_runs(requests_site: Any, path: str) -> None:
    client = Client(raise_request_exception=False)
    for _ in range(2):
        with count_round_trips() as counted:
            assert client.post(path, headers=KEY).status_code >= 500
        assert counted.awaited == 2
    assert len(requests_site.ran) == 2


@pytest.mark.parametrize("path", ["/keyed/?status=503", "/raises/"])
def test_where_the_settings_say_so_it_is(rule: Any, requests_site: Any, path: str) -> None:
    rule(idempotency=Idempotency(store_5xx=True))
    client = Client(raise_request_exception=False)
    first, again = (client.post(path, headers=KEY) for _ in range(2))
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(requests_site.ran) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/keyed/", "/stream/", "/astream/", "/file/", "/endless/"])
def test_a_response_too_large_is_not_kept_and_its_request_does_not_run_again(
    rule: Any, requests_site: Any, path: str
) -> None:
    rule(idempotency=Idempotency(max_response=5))
    first: Any = Client().post(path, headers=KEY)
    if path == "/endless/":
        _ = next(iter(first.streaming_content))
        # told at once, while it goes on
        assert Client().post(path, headers=KEY).json()["reason"] == "not-kept"
        first.close()
    else:
        _ = body_of(first)
    again = Client().post(path, headers=KEY)
    assert (again.status_code, again.json()["reason"]) == (409, "not-kept")
    assert len(requests_site.ran) == 1


@pytest.mark.parametrize("path", ["/stream/?length=10", "/astream/?length=10"])
def test_a_stream_is_kept_before_the_last_byte_that_was_announced_is_sent(requests_site: Any, path: str) -> None:
    first: Any = Client().post(path, headers=KEY)
    parts = iter(first)
    assert [next(parts), next(parts)] == [b"first ", b"last"]
    again = Client().post(path, headers=KEY)
    assert (again.content, again.headers["Idempotency-Replayed"]) == (b"first last", "true")


@pytest.mark.django_db
def test_of_a_stream_whose_reader_has_gone_no_repeat_runs(requests_site: Any) -> None:
    for key, part in ((KEY, False), (OTHER, True)):
        requests_site.ran.clear()
        request = RequestFactory().post("/stream/", headers=key)
        response: Any = WSGIHandler()(request.environ, lambda *_: None)
        if part:
            assert next(iter(response)) == b"first "
        response.close()
        answers: list[Any] = []

        def told(answers: list[Any] = answers, key: dict[str, str] = key) -> bool:
            answers.append(Client().post("/stream/", headers=key))
            return bool(answers[-1].json()["reason"] == "not-kept")

        until(told, "it was completed")
        assert len(requests_site.ran) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("on_disk", [True, False])
def test_a_file_is_kept_although_the_server_could_send_it_by_itself(
    requests_site: Any, tmp_path: Path, on_disk: bool
) -> None:
    (tmp_path / "order").write_bytes(b"the file")
    if on_disk:
        requests_site.hooks["file"] = tmp_path / "order"

    taken: list[Any] = []

    def wrapper(file: Any, size: int) -> Any:
        taken.append(file)
        return file

    environ = {**RequestFactory().post("/file/", headers=KEY).environ, "wsgi.file_wrapper": wrapper}
    response: Any = WSGIHandler()(environ, lambda *_: None)
    assert b"".join(response) == b"the file"
    response.close()
    again = Client().post("/file/", headers=KEY)
    assert (again.content, again.headers["Idempotency-Replayed"]) == (b"the file", "true")
    assert again.headers["Content-Disposition"] == 'attachment; filename="order.txt"'
    assert taken == []
    del environ["HTTP_IDEMPOTENCY_KEY"]
    environ["wsgi.input"] = BytesIO()
    WSGIHandler()(environ, lambda *_: None).close()
    assert len(taken) == 1  # without a key it does


@pytest.mark.asyncio
async def test_a_client_that_hangs_up_in_the_view_may_ask_again(requests_site: Any) -> None:
    inside, left = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        inside.set()
        await asyncio.sleep(60)

    requests_site.hooks["ainside"] = pause
    task = asyncio.create_task(asked("/akeyed/", b"", left))
    _ = await inside.wait()
    left.set()
    sent, _ = await task
    assert sent == []
    requests_site.hooks.clear()
    for _ in range(4000):
        sent, _ = await asked("/akeyed/", b"")
        if sent[0]["status"] == 201:
            break
        assert sent[0]["status"] == 409
        await asyncio.sleep(0.005)
    assert len(requests_site.ran) == 1


async def asked(path: str, body: bytes, left: asyncio.Event | None = None) -> tuple[list[Any], Any]:
    """What the ASGI application sends for a body whose length nobody says; its client may hang up."""
    sent, messages = list[Any](), [{"type": "http.request", "body": body[:500], "more_body": True}]
    messages.append({"type": "http.request", "body": body[500:]})

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        _ = await (left or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = AsyncRequestFactory()._base_scope(path=path, method="POST")
    scope["headers"] = [(b"host", b"testserver"), (b"idempotency-key", b'"8e03978e"'), (b"content-type", b"text/plain")]
    return sent, await ASGIHandler()(scope, receive, send)


# The body in the view


def multipart(boundary: str) -> bytes:
    def part(head: str, value: str) -> str:
        return f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n"

    return (part('name="a"', "b") + part('name="f"; filename="f.txt"', "file") + f"--{boundary}--\r\n").encode()


@pytest.mark.parametrize("path", ["/form/", "/aform/"])
def test_forms_and_files_are_read_in_the_view_as_if_nobody_had_looked(requests_site: Any, path: str) -> None:
    upload = {"a": "b", "f": SimpleUploadedFile("f.txt", b"file")}
    assert Client().post(path, upload, headers=KEY).json() == {"post": {"a": "b"}, "files": {"f": "file"}}
    answer = Client().post(path, "a=b", content_type=FORM, headers=OTHER)
    assert answer.json() == {"post": {"a": "b"}, "files": {}}
    third = {"Idempotency-Key": "third"}
    assert Client().post("/read/", b"abcdef", content_type="text/plain", headers=third).content == b"abc|def"
    assert len(requests_site.ran) == 3


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/form/", "/aform/"])
async def test_so_they_are_under_asgi(path: str) -> None:
    upload = {"a": "b", "f": SimpleUploadedFile("f.txt", b"file")}
    answer: Any = await AsyncClient().post(path, upload, headers=KEY)
    assert answer.json() == {"post": {"a": "b"}, "files": {"f": "file"}}
    answer = await AsyncClient().post("/read/", b"abcdef", content_type="text/plain", headers=OTHER)
    assert answer.content == b"abc|def"


def test_a_new_boundary_is_the_same_request(requests_site: Any) -> None:
    for boundary in ("one", "two"):
        answer = Client().post(
            "/form/", multipart(boundary), content_type=f"{BOUNDARY}{boundary}", headers=KEY
        )  # fmt: skip
        assert answer.json() == {"post": {"a": "b"}, "files": {"f": "file"}}
    assert len(requests_site.ran) == 1


def test_djangos_own_bound_holds_as_ever(settings: Any, requests_site: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    large = "a=" + "b" * 20
    assert Client().post("/form/", large, content_type=FORM, headers=KEY).status_code == 400
    third = {"Idempotency-Key": "third"}
    assert Client().post("/stream/", large, content_type=FORM, headers=third).status_code == 200  # reads nothing
    upload = {"f": SimpleUploadedFile("f.txt", b"f" * 100)}  # files are not counted
    assert Client().post("/form/", upload, headers=OTHER).status_code == 200


def test_csrf_protection_works_with_it(settings: Any, requests_site: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.csrf.CsrfViewMiddleware"]
    client = Client(enforce_csrf_checks=True)
    assert client.post("/form/", {"a": "b"}, headers=OTHER).status_code == 403
    token = client.get("/token/").content.decode()
    for _ in range(2):
        answer = client.post("/form/", {"a": "b", "csrfmiddlewaretoken": token}, headers=KEY)
        assert json.loads(answer.content)["post"]["a"] == "b"
    assert len(requests_site.ran) == 1
    late = {"path": "/late_form/", "data": f"a=b&csrfmiddlewaretoken={token}", "content_type": FORM}
    late = client.post(**late, headers={"Idempotency-Key": "late"})
    assert (late.status_code, late.json()["a"]) == (200, "b")


@pytest.mark.parametrize("path", ["/form/", "/aform/", "/late_form/"])
def test_a_request_that_never_reached_its_view_runs_when_it_is_let_pass(
    settings: Any, requests_site: Any, path: str
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.csrf.CsrfViewMiddleware"]
    client = Client(enforce_csrf_checks=True)
    token = client.get("/token/").content.decode()
    statuses = []

    def passed() -> bool:
        for each in ({}, {"X-CSRFToken": token}):
            statuses.append(client.post(path, "a=b", content_type=FORM, headers={**KEY, **each}).status_code)
        return statuses[-1] == 200

    until(passed, "the key was given back")
    assert set(statuses) <= {403, 409, 200}
    assert statuses[0] == 403
    assert len(requests_site.ran) == 1


def test_what_the_view_itself_forbids_is_kept(requests_site: Any) -> None:
    assert [Client().post("/keyed/?status=403", headers=KEY).status_code for _ in range(2)] == [403, 403]
    assert len(requests_site.ran) == 1


@pytest.mark.parametrize("path", ["/late_form/"])
def test_a_late_mark_compares_what_a_form_parser_has_kept(requests_site: Any, path: str) -> None:
    for body, status in (("a=b", 200), ("a=b", 200), ("a=c", 422)):
        answer = Client().post(path, body, content_type=FORM, headers=KEY)
        assert answer.status_code == status
    assert len(requests_site.ran) == 1


def test_a_late_mark_whose_body_is_gone_never_runs_unprotected(requests_site: Any) -> None:
    with pytest.raises(PolicyError, match="RedisMiddleware first"):
        _ = Client().post("/consumed/", {"a": "b"}, headers=KEY)
    assert Client(raise_request_exception=False).post("/consumed/", {"a": "b"}, headers=KEY).status_code == 500
    assert requests_site.ran == []
    assert Client().post("/consumed/", headers={}).status_code == 200  # nothing to compare


# Whose key it is


def test_callers_with_the_same_key_never_meet(requests_site: Any) -> None:
    first, second = Client(), Client()
    for client in (first, second):
        _ = client.get("/start/")
    ways: list[tuple[str, Any, Any]] = [
        ("/keyed/", lambda path: first.post(path, headers=KEY), lambda path: second.post(path, headers=KEY)),
        (
            "/keyed/",
            lambda path: Client().post(path, headers={**KEY, "Authorization": "Bearer a"}),
            lambda path: Client().post(path, headers={**KEY, "Authorization": "Bearer b"}),
        ),
        (
            "/by_client/",
            lambda path: Client(REMOTE_ADDR="192.0.2.1").post(path, headers=KEY),
            lambda path: Client(REMOTE_ADDR="192.0.2.2").post(path, headers=KEY),
        ),
    ]
    for path, ask, ask_as_another in ways:
        requests_site.ran.clear()
        assert ask(path).content == ask(path).content
        assert "Idempotency-Replayed" not in ask_as_another(path).headers
        assert len(requests_site.ran) == 2


def test_a_scope_by_user_costs_a_trip_and_one_by_a_callable_none(requests_site: Any) -> None:
    ada, at_home, grace = Client(), Client(), Client()
    for client, user in ((ada, 1), (at_home, 1), (grace, 2)):
        _ = client.get(f"/bind/?user={user}")
    for client, trips in ((ada, 3), (at_home, 2), (grace, 3)):
        with count_round_trips() as counted:
            assert client.post("/by_user/", headers=KEY).status_code == 200
        assert counted.awaited == trips, counted
    assert len(requests_site.ran) == 2
    for trips in (2, 1):
        with count_round_trips() as counted:
            _ = Client().post("/by_callable/?name=x", headers=KEY)
        assert counted.awaited == trips, counted


@pytest.mark.asyncio
async def test_with_redis_away_it_is_refused_under_asgi_too(requests_site: Any) -> None:
    with outage(amw):
        assert (await AsyncClient().post("/akeyed/", headers=KEY)).status_code == 503
    assert requests_site.ran == []
