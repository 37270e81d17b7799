import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.http.problems import problem


def test_a_problem_is_json_as_rfc_9457_has_it():
    content_type, body = problem(503, "Service Unavailable", detail="The session store is unavailable.")
    assert content_type == "application/problem+json"
    assert json.loads(body) == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "The session store is unavailable.",
    }


def test_a_reader_gets_a_text():
    content_type, body = problem(429, "Too Many Requests", detail="Wait.", accept="text/html,*/*;q=0.8")
    assert content_type == "text/plain; charset=utf-8" and body == b"429 Too Many Requests\nWait.\n"
    assert problem(409, "Conflict", accept="text/plain")[1] == b"409 Conflict\n"


@pytest.mark.parametrize(
    ("accept", "text"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/problem+json, text/plain;q=0.9", False),
        ("application/json;q=0.5, text/plain", True),
        ("text/*", True),
        ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", True),
        ("text/plain;q=0", False),
        ("image/png", False),
        ("TEXT/HTML", True),
        ("text/html;q=x, application/json;q=0.1", True),
    ],
)
def test_json_unless_text_is_preferred(accept, text):
    assert problem(503, "x", accept=accept)[0].startswith("text/plain") is text


@given(st.text() | st.text(",;=/*q.0159 texhmljson"))
def test_any_accept_field_gets_one_of_the_two(accept):
    assert problem(503, "x", accept=accept)[0] in ("application/problem+json", "text/plain; charset=utf-8")
