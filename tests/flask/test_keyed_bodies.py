"""The body of a request with an idempotency key: compared whole, and read by the view as if nobody had."""

import io
import re

import pytest
from flask import request, stream_with_context
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.test import EnvironBuilder, run_wsgi_app

from redis_mw import Idempotency, PolicyError, idempotent
from redis_mw.testing import count_round_trips

KEY = {"Idempotency-Key": '"one"'}


@pytest.fixture
def idempotency():
    """The settings of the idempotency."""
    return Idempotency(patience=10, max_body=1000)


@pytest.fixture
def app(make_app, idempotency):
    return make_app(settings={"idempotency": idempotency})


@pytest.fixture
def client(app):
    return app.test_client()


def foreign(view):
    """A decorator that drops what others wrote on a function."""

    def wrapper(*args, **kwargs):
        return view(*args, **kwargs)

    return wrapper


def reading(app, read, before=None):
    """Views at /seen and /late that answer with what they read; ``before`` is done before a late mark is found."""
    keyed = idempotent()(lambda: {"read": read()})
    app.add_url_rule("/seen", "seen", keyed, methods=["POST"])

    def late():
        if before is not None:
            before()
        return keyed()

    app.add_url_rule("/late", "late", late, methods=["POST"])


def in_lines():
    return [line.decode() for line in request.stream]


def in_parts():
    parts = []
    while part := request.stream.read(3):
        parts.append(part.decode())
    return "".join(parts)


def of_form():
    files = {name: each.read().decode() for name, each in request.files.items()}
    return [request.form.to_dict(), files]


FORM = {"data": {"a": "1", "b": "ä"}}
FILES = {"data": {"a": "1", "file": (lambda: io.BytesIO(b"line\nanother"), "a.txt")}}
LINES = {"data": "line\nanother\n", "content_type": "text/plain"}

READS = [
    (lambda: request.get_json(), {"json": {"a": [1]}}, {"a": [1]}),
    (lambda: request.json, {"json": 1}, 1),
    (lambda: request.get_data(as_text=True), LINES, "line\nanother\n"),
    (lambda: request.data.decode(), LINES, "line\nanother\n"),
    (lambda: request.stream.read().decode(), LINES, "line\nanother\n"),
    (lambda: request.input_stream.readline().decode(), LINES, "line\n"),
    (in_lines, LINES, ["line\n", "another\n"]),
    (in_parts, LINES, "line\nanother\n"),
    (of_form, FORM, [{"a": "1", "b": "ä"}, {}]),
    (of_form, FILES, [{"a": "1"}, {"file": "line\nanother"}]),
    (lambda: request.values.to_dict(), FORM, {"a": "1", "b": "ä"}),
    (lambda: request.get_data(as_text=True), {}, ""),
]


def sending(sent):
    """Arguments for the client, with fresh files."""
    data = sent.get("data")
    if isinstance(data, dict):
        data = {name: (each[0](), each[1]) if isinstance(each, tuple) else each for name, each in data.items()}
    return {**sent, "data": data} if data is not None else sent


def as_chunks(app, path, sent, **environ):
    """Send it without saying how long it is, by a server that knows its end."""
    builder = EnvironBuilder(path=path, method="POST", headers=KEY, **sending(sent))
    overrides = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked", **environ}
    made = {**builder.get_environ(), **overrides}
    _ = made.pop("CONTENT_LENGTH", None)
    body, status, _ = run_wsgi_app(app, made, buffered=True)
    return int(status[:3]), b"".join(body).decode()


@pytest.mark.parametrize("path", ["/seen", "/late"])
@pytest.mark.parametrize(("read", "sent", "expected"), READS, ids=range(len(READS)))
def test_the_view_reads_it_as_ever_and_another_one_is_another_request(app, client, path, read, sent, expected):
    reading(app, read)
    for replayed in (None, "true"):
        answer = client.post(path, headers=KEY, **sending(sent))
        assert (answer.json["read"], answer.headers.get("Idempotency-Replayed")) == (expected, replayed)
    assert client.post(path, headers=KEY, data="another").status_code == 422


@pytest.mark.parametrize("path", ["/seen", "/late"])
@pytest.mark.parametrize(("read", "sent", "expected"), READS[:-1], ids=range(len(READS) - 1))
def test_so_does_one_of_a_body_that_comes_in_chunks(app, path, read, sent, expected):
    reading(app, read)
    (status, first), again = as_chunks(app, path, sent), as_chunks(app, path, sent)
    assert status == 200 and app.json.loads(first)["read"] == expected and again == (200, first)
    assert as_chunks(app, path, {"data": "another"})[0] == 422


USES = [
    lambda: request.get_json(),
    lambda: request.get_data(),
    lambda: request.form.to_dict(),
    lambda: request.stream.read(),
    lambda: request.stream.read(5),
    lambda: request.input_stream.read(5),
]


@pytest.mark.parametrize("use", USES, ids=range(len(USES)))
def test_a_late_mark_compares_what_was_read_before_it(app, client, use):
    reading(app, lambda: "read", before=use)
    data = b'{"a": 1}'
    for replayed in (None, "true"):
        answer = client.post("/late", headers=KEY, data=data, content_type="application/json")
        assert (answer.status_code, answer.headers.get("Idempotency-Replayed")) == (200, replayed)
    assert client.post("/late", headers=KEY, data=b'{"a": 2}', content_type="application/json").status_code == 422


def test_a_new_boundary_is_the_same_request(app, client):
    reading(app, of_form)
    answers = []
    for boundary in ("one", "another"):
        environ = EnvironBuilder(path="/seen", method="POST", headers=KEY, **sending(FILES)).get_environ()
        drawn = re.search("boundary=(.*)", environ["CONTENT_TYPE"])[1].strip('"')
        body = environ["wsgi.input"].read().replace(drawn.encode(), boundary.encode())
        kind = f"multipart/form-data; boundary={boundary}"
        answers.append(client.post("/seen", headers=KEY, data=body, content_type=kind))
    assert [answer.json for answer in answers] == [{"read": [{"a": "1"}, {"file": "line\nanother"}]}] * 2
    assert answers[1].headers["Idempotency-Replayed"] == "true"


# Large ones


@pytest.mark.parametrize("path", ["/seen", "/late"])
@pytest.mark.parametrize("size", [1000, 1001])
def test_one_that_may_not_be_compared_is_refused_and_asks_nothing(app, client, path, size):
    reading(app, lambda: len(request.get_data()))
    with count_round_trips() as trips:
        answer = client.post(path, headers=KEY, data=b"x" * size)
        chunked = as_chunks(app, path, {"data": b"x" * size})
    if size == 1000:
        assert (answer.status_code, chunked[0]) == (200, 200)
    else:
        assert (answer.status_code, answer.json["reason"], chunked[0], trips.total) == (413, "too-large", 413, 0)


class Endless:
    """A body that never ends; how much of it was read."""

    def __init__(self):
        self.given = 0

    def read(self, size=-1):
        assert size > 0
        self.given += size
        return b"x" * size


def test_of_a_body_without_end_no_more_is_read_than_may_be_compared(app):
    reading(app, lambda: "never")
    for path in ("/seen", "/late"):
        endless = Endless()
        assert as_chunks(app, path, {}, **{"wsgi.input": endless})[0] == 413
        assert endless.given <= 100_000


def test_what_was_read_of_a_body_that_is_too_large_is_not_lost_to_whoever_reads_on(app):
    def view():
        try:
            return keyed()
        except RequestEntityTooLarge:
            return str(len(request.get_data()))

    keyed = idempotent()(lambda: "never")
    app.post("/x")(view)
    assert as_chunks(app, "/x", {"data": b"x" * 150_000}) == (200, "150000")


def test_without_a_key_a_body_may_be_as_large_as_ever(app, client):
    reading(app, lambda: len(request.get_data()))
    assert client.post("/seen", data=b"x" * 9999).json == {"read": 9999}


def test_the_applications_own_limit_gives_its_own_answer(app, client):
    app.config["MAX_CONTENT_LENGTH"] = 10
    seen = []

    @app.errorhandler(413)
    def too_large(error):
        seen.append(type(error))
        return "the application's own", 413

    def more():
        request.max_content_length = 100
        return str(len(request.get_data()))

    reading(app, lambda: len(request.get_data()))
    app.post("/more")(idempotent()(more))
    answers = [client.post("/seen", headers=KEY, data=b"x" * 20) for _ in range(2)]
    assert [answer.text for answer in answers] == ["the application's own"] * 2 and seen == [RequestEntityTooLarge]
    assert as_chunks(app, "/late", {"data": b"x" * 20, "content_type": "x/y"})[1] != "20"
    assert client.post("/more", headers={"Idempotency-Key": "two"}, data=b"x" * 20).text == "20"


# Somebody was there before


@pytest.mark.parametrize(
    ("read", "status"),
    [
        (lambda: request.get_data(), 200),
        (lambda: request.get_json(), 200),
        (lambda: request.stream.read(), 500),
        (lambda: request.form.to_dict(), 500),
    ],
    ids=["data", "json", "stream", "form"],
)
def test_before_redis_mw_has_seen_the_request_what_is_kept_is_compared_and_else_nothing_runs(
    make_app, idempotency, read, status
):
    app = make_app(settings={"idempotency": idempotency, "sessions": None})
    ran = []
    app.url_value_preprocessor(lambda endpoint, values: read() and None)

    @app.post("/x")
    @idempotent()
    def view():
        ran.append(1)
        return "done"

    client = app.test_client()
    kind = "application/x-www-form-urlencoded" if status == 500 else "application/json"
    sent = {"headers": KEY, "data": b'{"a":1}', "content_type": kind}
    answers = [client.post("/x", **sent) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [status] * 2 and len(ran) == (status == 200)
    app.testing = True
    if status == 500:
        with pytest.raises(PolicyError, match="get_data"):
            client.post("/x", **sent)


def test_a_body_that_the_client_did_not_send_to_its_end_is_a_400_and_runs_nothing(app):
    ran = []
    reading(app, lambda: ran.append(1))
    environ = EnvironBuilder(path="/seen", method="POST", headers=KEY, data=b"half").get_environ()
    with count_round_trips() as trips:
        _, status, _ = run_wsgi_app(app, {**environ, "CONTENT_LENGTH": "8"}, buffered=True)
    assert (status, ran, trips.total) == ("400 BAD REQUEST", [], 0)


def test_a_stream_that_reads_the_body_as_it_answers_has_it(app, client):
    @app.post("/x")
    @idempotent()
    def view():
        def body():
            yield request.get_data()

        return app.response_class(stream_with_context(body()))

    assert [client.post("/x", headers=KEY, data=b"abc", buffered=True).text for _ in range(2)] == ["abc", "abc"]
