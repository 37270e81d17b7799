"""Whose key it is: callers never share one, and what is a credential never stands anywhere in clear."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw import Idempotency, Idempotent, PolicyError, Settings
from redis_mw.events import Events
from redis_mw.http.request import Fields
from redis_mw.idempotency.entry import Entry
from redis_mw.idempotency.room import Room, idempotency_of
from redis_mw.idempotency.scope import Names, Scope, default_scope
from redis_mw.policy.caller import Caller
from redis_mw.policy.templates import Template

texts = st.text(st.characters(exclude_categories=()), max_size=20)
scopes = st.builds(Scope, st.sampled_from(["session", "client", "user"]), texts)

AUTHORIZED = Caller(address="192.0.2.7", headers=Fields((("Authorization", "Bearer abc"),)))


def test_a_caller_is_told_by_session_else_authorization_else_address() -> None:
    assert default_scope(Caller("192.0.2.7", AUTHORIZED.headers, "42", "s1")) == Scope("session", "s1")
    assert default_scope(AUTHORIZED) == Scope("authorization", "Bearer abc", credential=True)
    assert default_scope(Caller(address="192.0.2.7")) == Scope("client", "192.0.2.7")
    assert default_scope(Caller()) == Scope("client", "")


def scope(caller: Caller, fill: Any = None, **policy: Any) -> Scope:
    return Entry(Idempotent(**policy), "here").scope(caller, fill or (lambda template: template.fill({})))


def test_a_policy_may_tell_them_in_another_way_and_falls_back_where_it_cannot() -> None:
    session = Caller("192.0.2.7", AUTHORIZED.headers, "42", "s1")
    assert scope(session, scope="user") == Scope("user", "42")
    assert scope(AUTHORIZED, scope="user") == default_scope(AUTHORIZED)
    assert scope(session, scope="client") == Scope("client", "192.0.2.7")
    assert scope(AUTHORIZED, scope="session") == default_scope(AUTHORIZED)
    for nothing in (None, ""):
        assert scope(session, scope=lambda native, nothing=nothing: nothing) == default_scope(session)


def test_a_callable_gets_the_frameworks_own_request() -> None:
    native = object()
    asked: list[Any] = []

    def tenant(request: Any) -> str:
        asked.append(request)
        return "acme"

    assert scope(Caller(native=native), scope=tenant) == Scope("call", "acme", credential=True)
    assert asked == [native]


def test_what_is_no_text_is_a_mistake_of_the_policy() -> None:
    with pytest.raises(PolicyError, match="the scope at here gave a int"):
        _ = scope(Caller(), scope=lambda native: 42)


def test_a_template_is_filled_for_the_request_and_without_a_value_it_counts_for_nothing() -> None:
    def filled(template: Template) -> str | None:
        return template.fill({"tenant": "acme", "shop": None})

    assert scope(AUTHORIZED, filled, scope="tenant:{tenant}") == Scope("name", "tenant:acme", credential=True)
    assert scope(AUTHORIZED, filled, scope="shop:{shop}") == default_scope(AUTHORIZED)
    with pytest.raises(PolicyError, match=r"no \{shop\}"):
        _ = scope(AUTHORIZED, scope="shop:{shop}")
    assert scope(AUTHORIZED, scope="everybody") == Scope("name", "everybody", credential=True)


@pytest.mark.parametrize(
    ("policy", "needs"), [("user", True), ("a:{user}", True), (None, False), ("client", False), ("{session}", False)]
)
def test_it_is_known_whether_the_session_must_be_read_first(policy: str | None, needs: bool) -> None:
    assert Entry(Idempotent(scope=policy), "here").needs_user() is needs


@given(scopes, scopes, texts, texts)
def test_two_callers_or_two_keys_never_have_one_name(a: Scope, b: Scope, x: str, y: str) -> None:
    names = Names("s" * 32)
    assert (names.of(a, x) == names.of(b, y)) == ((a, x) == (b, y))


@given(texts, texts)
def test_a_name_is_short_and_tells_nothing(value: str, key: str) -> None:
    name = Names("s" * 32).of(Scope("authorization", value, credential=True), key)
    assert len(name) == 32 and set(name) <= set("0123456789abcdef")


def test_a_credential_is_hashed_with_the_secret_and_others_survive_a_new_one() -> None:
    credential, session = Scope("authorization", "Bearer abc", credential=True), Scope("session", "s1")
    old, new = Names("o" * 32), Names(b"n" * 32)
    assert old.of(credential, "k") != new.of(credential, "k")
    assert old.of(session, "k") == new.of(session, "k")


def test_without_a_secret_only_the_address_can_tell_callers() -> None:
    room = idempotency_of(Settings(), Events((), lambda: 0.0))
    assert room is not None
    assert room.entry(Idempotent(scope="client"), "here").place == "here"
    with pytest.raises(PolicyError, match="with a secret"):
        _ = room.entry(Idempotent(), "here")
    assert idempotency_of(Settings(), Events((), lambda: 0.0), "of the framework").entry(Idempotent(), "here")  # type: ignore[union-attr]


def test_it_may_be_turned_off() -> None:
    assert idempotency_of(Settings(idempotency=None), Events((), lambda: 0.0)) is None


def test_an_owner_is_nobody_else() -> None:
    rooms = [Room(Settings(), Idempotency(), Events((), lambda: 0.0)) for _ in range(2)]
    owners = [room.memory.new_owner() for room in rooms for _ in range(50)]
    assert len(set(owners)) == 100
