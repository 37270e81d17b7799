"""Who is counted: whatever a client sends, its key is bounded, nobody else's, and tells nothing of it in clear."""

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw import Limit, PolicyError, Settings, SettingsError
from redis_mw.http.address import parsed
from redis_mw.http.request import Fields
from redis_mw.limits.caller import Client, Clients
from redis_mw.limits.entry import by_of
from redis_mw.limits.room import Room
from redis_mw.policy.caller import Caller

SECRET = "s" * 32
CLIENTS = Clients(64, SECRET)
TAG = re.compile(r"[0-9a-f]{24}")

v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6)
texts = st.text(max_size=300) | st.text(st.characters(codec=None, categories=["Cs", "Cc", "L"]), max_size=40)
ways = st.sampled_from(["client", "user", "session", "route", "global", "header:X-Api-Key", "call"])


def by(*ways: str) -> tuple[Any, ...]:
    return tuple((lambda native: native) if way == "call" else way for way in ways)


def caller(**given: str | None) -> Caller:
    header = given.get("header")
    fields = Fields((("x-api-key", header),)) if header is not None else Fields()
    return Caller(given.get("address"), fields, given.get("user"), given.get("session"), given.get("route") or "",
                  given.get("native"))  # fmt: skip


callers = st.builds(
    caller,
    address=st.none() | v4.map(str) | v6.map(str) | texts,
    header=st.none() | texts,
    user=st.none() | texts,
    session=st.none() | st.text("0123456789abcdef", min_size=8, max_size=64),
    route=texts,
    native=st.none() | texts,
)


def network_of(address: IPv4Address | IPv6Address, prefix: int) -> Any:
    """Whom an address is counted as, by the ``ipaddress`` module."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        return ip_network((address, prefix), strict=False)
    return address


@given(v4 | v6, v4 | v6, st.integers(1, 128))
def test_addresses_are_one_client_where_their_networks_are_one(one: Any, other: Any, prefix: int) -> None:
    clients = Clients(prefix)
    same = network_of(one, prefix) == network_of(other, prefix)
    assert (clients.at(str(one)).tag == clients.at(str(other)).tag) == same


@given(v6, st.integers(0, 2**64 - 1), st.integers(0, 63))
def test_who_has_a_network_of_addresses_is_one_client(address: Any, host: int, bit: int) -> None:
    sibling = IPv6Address(int(address) >> 64 << 64 | host)
    if address.ipv4_mapped is None and sibling.ipv4_mapped is None:
        assert CLIENTS.at(str(address)) == CLIENTS.at(str(sibling)) == CLIENTS.at(address.exploded.upper())
    stranger = IPv6Address(int(address) ^ 1 << 64 + bit)
    assert CLIENTS.at(str(address)) != CLIENTS.at(str(stranger))


@given(v4)
def test_an_ipv4_address_is_itself_however_it_is_written(address: IPv4Address) -> None:
    mapped = IPv6Address(0xFFFF << 32 | int(address))
    written = [str(mapped), mapped.exploded, f"::ffff:{address}", f"[::ffff:{address}]:443"]
    written += [f"{address}:8080", f'"{address}"']
    assert {CLIENTS.at(text) for text in written} == {CLIENTS.at(str(address))}
    assert CLIENTS.at(str(address)).text == f"client:{address}"


@given(v4 | v6)
def test_an_address_is_called_by_the_networks_that_can_be_listed(address: Any) -> None:
    client = CLIENTS.at(str(address))
    found = network_of(address, 64)
    lengths = (32, 24, 16) if isinstance(found, IPv4Address) else (64, 48, 32)
    first = found if isinstance(found, IPv4Address) else address
    networks = [found, *(ip_network((first, length), strict=False) for length in lengths[1:])]
    assert client.names == tuple(f"client:{network}" for network in networks)
    for length in lengths:
        assert CLIENTS.member("client", f"{first}/{length}") in client.names
    assert CLIENTS.member("client", str(address)) == client.names[0]


@given(callers, st.lists(ways, min_size=1, max_size=4))
def test_whatever_is_sent_makes_a_bounded_client(caller: Caller, chosen: list[str]) -> None:
    client = CLIENTS.of(caller, by(*chosen))
    assert TAG.fullmatch(client.tag)
    assert all(len(name) <= 110 and name.isprintable() for name in client.names)
    assert len(client.names) <= 3 * len(chosen)
    assert client == CLIENTS.of(caller, by(*chosen)) or "call" in chosen


def identity(caller: Caller, way: str) -> Any:
    """Whom this way takes the caller for, plainly."""
    value = {
        "user": caller.user,
        "session": caller.session,
        "header:X-Api-Key": caller.headers.get("x-api-key"),
        "call": caller.native,
    }.get(way)
    if way == "global":
        return way
    if way == "route":
        return way, caller.route
    if value or (way == "call" and value is not None):
        return way, value
    found = parsed(caller.address or "")
    return "client", (caller.address or "") if found is None else network_of(found, 64)


@given(callers, callers, st.lists(ways, min_size=1, max_size=3), st.lists(ways, min_size=1, max_size=3))
def test_nobody_gets_somebody_elses_bucket(one: Caller, other: Caller, ways: list[str], others: list[str]) -> None:
    same = [identity(one, way) for way in ways] == [identity(other, way) for way in others]
    assert (CLIENTS.of(one, by(*ways)).tag == CLIENTS.of(other, by(*others)).tag) == same


@given(st.text("ab:1|", max_size=12), st.text("ab:1|", max_size=12))
def test_values_of_several_things_never_run_into_each_other(one: str, other: str) -> None:
    ways = by("user", "header:X-Api-Key")
    clients = {CLIENTS.named(ways, keys).tag for keys in ((one, other), (one + "a", other), (one, "a" + other))}
    assert len(clients) == 3


@given(st.text("abcdefXYZ0123456789-_=.", min_size=8, max_size=200), st.sampled_from(["header:X-Api-Key", "call"]))
def test_a_credential_is_nowhere_in_clear_and_hashed_with_the_secret(value: str, way: str) -> None:
    found = CLIENTS.of(caller(header=value, native=value), by(way))
    assert value not in found.text and not any(value in name for name in found.names)
    other = Clients(64, "another secret of thirty-two letters").of(caller(header=value, native=value), by(way))
    assert other.tag != found.tag


@given(callers)
def test_who_leaves_something_out_is_counted_by_address(caller: Caller) -> None:
    bare = Caller(caller.address)
    for way in ("user", "session", "header:X-Api-Key", "call"):
        assert CLIENTS.of(bare, by(way)) == CLIENTS.at(caller.address)


@given(callers, st.lists(ways, min_size=1, max_size=3))
def test_code_names_a_client_as_its_requests_are(caller: Caller, chosen: list[str]) -> None:
    keys = {"client": caller.address or "", "user": caller.user, "session": caller.session, "route": caller.route,
            "global": "", "header:X-Api-Key": caller.headers.get("x-api-key"), "call": caller.native}  # fmt: skip
    if all(keys[way] or way in ("client", "route", "global") for way in chosen):
        named = CLIENTS.named(by(*chosen), tuple(keys[way] or "" for way in chosen))
        assert named == CLIENTS.of(caller, by(*chosen))


def test_names_of_headers_compare_without_case() -> None:
    one = CLIENTS.of(caller(header="k"), ("header:X-Api-Key",))
    assert one == CLIENTS.of(caller(header="k"), ("header:x-api-key",))
    assert one != CLIENTS.of(caller(header="K"), ("header:x-api-key",)), "values do not"


@pytest.mark.parametrize("value", [b"bytes", 42, ["a"], object()], ids=["bytes", "a number", "a list", "an object"])
def test_a_callable_says_a_text_or_none(value: Any) -> None:
    with pytest.raises(PolicyError, match="is a text or None"):
        CLIENTS.of(Caller(native=value), (lambda native: native,))


def test_who_is_met_often_is_remembered_within_bounds() -> None:
    clients = Clients(64)
    for number in range(10_000):
        assert isinstance(clients.at(f"10.{number >> 8}.{number & 255}.1"), Client)
    assert len(clients._by_address) <= 4096


@pytest.mark.parametrize(
    ("by", "known"),
    [
        ("client", True), ("user", True), ("session", True), ("route", True), ("global", True), ("header:X-Key", True),
        (["user", "route"], True), ("call:json.dumps", True), (lambda request: None, True),
        ("header:", False), ("header:a b", False), ("usr", False), ("", False), ([], False), (["user", "usr"], False),
        ("call:", False), (5, False),
    ],
)  # fmt: skip
def test_what_a_limit_counts_by_is_checked(by: Any, known: bool) -> None:
    limit = Limit("5/minute", by=by)
    if known:
        assert len(by_of(limit.checked("here"))) == (len(by) if isinstance(by, list) else 1)
        return
    with pytest.raises(SettingsError) as caught:
        limit.checked("here")
    assert all(problem.path.startswith("here.by") and problem.remedy for problem in caught.value.problems)


@pytest.mark.parametrize(("by", "secret"), [("user", False), ("header:X-Key", True), (["route", "header:X-Key"], True),
                                            (str, True), ("call:json.dumps", True)])  # fmt: skip
def test_what_may_be_a_credential_needs_a_secret(make_room: Callable[..., Room], by: Any, secret: bool) -> None:
    assert make_room().entry(Limit("5/minute", by=by), "here").limit.by == by
    if not secret:
        assert make_room("").entry(Limit("5/minute", by=by), "here")
        return
    with pytest.raises(PolicyError, match=r"the limit at here .* credential, which is hashed with a secret"):
        make_room("").entry(Limit("5/minute", by=by), "here")


def test_settings_list_networks_and_clients() -> None:
    settings = Settings(limits={"allow": ["10.0.0.0/8", "user:42"], "deny": ["2001:db8::/32", "session:abc"]})
    assert settings.limits is not None and len(settings.limits.allow) == 2
