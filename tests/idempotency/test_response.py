"""What is kept of a response, and that what is stored is read back or known to be damaged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.idempotency.response import Recorder, Stored, decode, encode, is_stored, stored, stored_fields

anything = st.text(st.characters(exclude_categories=()), max_size=20)
responses = st.builds(
    Stored,
    st.integers(200, 599),
    st.lists(st.tuples(anything, anything), max_size=4).map(tuple),
    st.none() | st.binary(max_size=50),
)


@pytest.mark.parametrize("status", [200, 201, 204, 301, 303, 400, 401, 403, 404, 410, 422])
def test_an_answer_is_stored(status: int) -> None:
    assert is_stored(status, store_5xx=False)


@pytest.mark.parametrize("status", [101, 408, 409, 425, 429])
def test_not_now_is_no_answer(status: int) -> None:
    assert not is_stored(status, store_5xx=True)


@pytest.mark.parametrize("status", [500, 502, 503, 599])
def test_a_failure_is_stored_only_where_the_settings_say_so(status: int) -> None:
    assert is_stored(status, store_5xx=True)
    assert not is_stored(status, store_5xx=False)


def test_what_belongs_to_one_connection_or_one_delivery_is_not_kept() -> None:
    kept = [("Content-Type", "text/plain"), ("Location", "/orders/1"), ("Link", "<a>"), ("Link", "<b>")]
    dropped = [
        *[("Set-Cookie", "a=1"), ("set-cookie2", "a=1"), ("Date", "now"), ("Content-Length", "3")],
        *[("Connection", "close, X-Hop"), ("connection", "x-other"), ("Keep-Alive", "5"), ("Transfer-Encoding", "c")],
        *[("X-Hop", "1"), ("X-OTHER", "1"), ("Upgrade", "h2c"), ("TE", "t"), ("Trailer", "x"), ("Retry-After", "3")],
        *[("RateLimit", '"a";r=1'), ("RateLimit-Policy", '"a";q=1'), ("X-RateLimit-Limit", "1")],
        ("Idempotency-Replayed", "true"),
    ]
    mixed = [pair for two in zip(dropped, kept * 5, strict=False) for pair in two]
    assert stored_fields(201, mixed) == tuple(pair for pair in mixed if pair in kept)


@pytest.mark.parametrize(("status", "kept"), [(503, True), (302, True), (413, True), (200, False), (422, False)])
def test_retry_after_is_kept_where_it_belongs_to_the_status(status: int, kept: bool) -> None:
    assert bool(stored_fields(status, [("Retry-After", "3")])) is kept


def test_of_a_response_without_its_body_only_the_way_to_it_is_kept() -> None:
    headers = [("Content-Type", "text/plain"), ("Location", "/orders/1")]
    assert stored(201, headers, None) == Stored(201, (("Location", "/orders/1"),), None)
    assert stored(201, headers, b"x") == Stored(201, tuple(headers), b"x")


@given(responses)
def test_what_is_stored_is_read_back(response: Stored) -> None:
    assert decode(encode(response)) == response


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda data: b"\x01" + data))
def test_nothing_that_is_stored_is_an_exception(data: bytes) -> None:
    found = decode(data)
    assert found is None or found == decode(encode(found))


@given(responses, st.data())
def test_what_was_cut_is_damaged(response: Stored, data: st.DataObject) -> None:
    whole = encode(response)
    assert decode(whole[: data.draw(st.integers(0, len(whole) - 1))]) is None


def test_another_version_and_a_status_that_is_none_are_damaged() -> None:
    whole = encode(Stored(200))
    assert decode(b"\x02" + whole[1:]) is None
    assert decode(encode(Stored(100))) is None


@given(st.lists(st.binary(max_size=5), max_size=8), st.integers(0, 20))
def test_a_body_is_kept_whole_or_not_at_all(chunks: list[bytes], most: int) -> None:
    recorder = Recorder(most)
    for chunk in chunks:
        recorder.add(chunk)
    body = b"".join(chunks)
    assert recorder.is_over is (len(body) > most)
    assert recorder.body == (None if recorder.is_over else body)


@pytest.mark.parametrize(
    ("headers", "over_at"),
    [
        ([("Content-Length", "4")], 4),
        ([("content-length", "0")], 0),
        ([("Content-Length", "4"), ("Content-Length", "5")], None),
        ([("Content-Length", "4, 4")], None),
        ([("Content-Length", "\u0664")], None),
        ([("Content-Length", "9" * 400)], None),
        ([], None),
    ],
)
def test_a_body_is_over_with_the_last_byte_that_was_announced(
    headers: list[tuple[str, str]], over_at: int | None
) -> None:
    recorder = Recorder(100, headers)
    seen = [recorder.is_over]
    for _ in range(6):
        recorder.add(b"x")
        seen.append(recorder.is_over)
    assert seen == [over_at is not None and size >= over_at for size in range(7)]
    assert recorder.body == b"x" * 6
