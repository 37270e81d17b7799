"""Whose the pages of a route are, and what other caches are told of that."""

import pytest

from redis_mw import Cached
from redis_mw.caching.pages.entry import Entry, Whose


@pytest.mark.parametrize(
    ("key", "parameters", "whose"),
    [
        (None, (), "anybody"),
        ("{id}", ("id",), "anybody"),
        ("{session}", (), "anybody"),  # known from the cookie: nobody has looked whether it lives
        ("{user}", (), "user"),
        ("{user}", ("id",), "user"),
        ("{user}", ("user",), "anybody"),
        ("{user}:{session}", (), "session"),
        ("{session} of {user} at {id}", ("id",), "session"),
        ("{user}:{session}", ("session",), "user"),
        ("{user}:{session}", ("user",), "anybody"),
        ("call:builtins.id", (), "anybody"),
    ],
)
def test_a_page_is_of_whom_its_key_tells_apart(key: str | None, parameters: tuple[str, ...], whose: Whose) -> None:
    assert Entry(Cached(60, key=key), "here", jitter=0.0).whose(parameters) == whose


def test_tags_make_a_page_nobodys_own() -> None:
    assert Entry(Cached(60, tags=["of:{user}"]), "here", jitter=0.0).whose() == "anybody"


@pytest.mark.parametrize(
    ("policy", "whose", "varies"),
    [
        (Cached(60), "anybody", ()),
        (Cached(60), "user", ("Cookie",)),
        (Cached(60, vary=["Accept"]), "anybody", ("Accept",)),
        (Cached(60, vary=["Accept"]), "session", ("Accept", "Cookie")),
        (Cached(60, cookies=["lang"]), "anybody", ("Cookie",)),
        (Cached(60, cookies="all", vary=["Accept"]), "user", ("Accept", "Cookie")),
    ],
)
def test_other_caches_are_told_of_fields_and_cookies(policy: Cached, whose: Whose, varies: tuple[str, ...]) -> None:
    assert Entry(policy, "here", jitter=0.0).varies(whose) == varies
