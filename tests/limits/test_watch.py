"""Mistakes with proxies are told once each, and only where they are made."""

import logging
from typing import Any

import pytest

from redis_mw.http.address import Proxies
from redis_mw.http.request import Fields, Request
from redis_mw.limits.watch import ENOUGH, ProxyWatch


def request(**headers: str) -> Request:
    return Request("GET", "/", headers=Fields(tuple((name.replace("_", "-"), each) for name, each in headers.items())))


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.WARNING, "redis_mw.limits")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("name", ["x_forwarded_for", "forwarded"])
def test_a_forwarding_header_that_nobody_believes_is_told_once(said: Any, name: str) -> None:
    watch = ProxyWatch(Proxies())
    for number in range(5):
        watch.saw(request(), f"192.0.2.{number}")
    assert said() == []
    for number in range(5):
        watch.saw(request(**{name: "198.51.100.7"}), f"192.0.2.{number}")
    (message,) = said()
    assert name.replace("_", "-") in message and "trusted_proxies is empty" in message and "198.51" not in message


@pytest.mark.parametrize("trusted", [1, ["10.0.0.0/8"]], ids=["hops", "networks"])
def test_where_proxies_are_trusted_their_headers_are_no_mistake(said: Any, trusted: Any) -> None:
    watch = ProxyWatch(Proxies.of(trusted))
    for number in range(5):
        watch.saw(request(x_forwarded_for="198.51.100.7"), f"198.51.100.{number}")
    assert said() == []


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_to_trust_everybody_is_told_at_the_start(said: Any, network: str) -> None:
    _ = ProxyWatch(Proxies.of([network, "10.0.0.0/8"]))
    (message,) = said()
    assert "everybody may say who they are" in message


def test_one_private_address_for_everybody_is_told_once(said: Any) -> None:
    watch = ProxyWatch(Proxies())
    for _ in range(3 * ENOUGH):
        watch.saw(request(), "10.0.0.7")
    (message,) = said()
    assert "all came from one private address" in message and "10.0.0.7" not in message


@pytest.mark.parametrize(
    "addresses",
    [["10.0.0.7", "10.0.0.8"], ["127.0.0.1"], ["8.8.8.8"], ["::1"], [None], ["a socket"]],
    ids=str,
)
def test_several_local_or_public_addresses_are_no_proxy(said: Any, addresses: list[str | None]) -> None:
    watch = ProxyWatch(Proxies())
    for number in range(2 * ENOUGH):
        watch.saw(request(), addresses[number % len(addresses)])
    assert said() == []
