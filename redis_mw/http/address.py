"""Whose request it is: the client's address, believed from trusted proxies only, and its shortened form.

Each proxy adds at the right end the address it was called from. So the walk starts at the right, with the peer of the
connection, and goes one to the left as long as who told us is trusted. What stands further left anybody may have
written.
"""

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import msgspec

from redis_mw.http.request import Headers

Address: TypeAlias = IPv4Address | IPv6Address

_PORT = re.compile(r"\d{1,5}|_[A-Za-z0-9._-]+", re.ASCII)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|[^,;"]', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Proxies(msgspec.Struct, frozen=True):
    """The proxies in front of the application: those in ``networks``, or the nearest ``hops``."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    hops: int = 0

    @classmethod
    def of(cls, trusted: Sequence[str] | int) -> "Proxies":
        """From the setting ``trusted_proxies``: CIDRs, or how many proxies there are."""
        if isinstance(trusted, int):
            return cls(hops=trusted)
        return cls(tuple(_plain_network(ip_network(text)) for text in trusted))

    def __bool__(self) -> bool:
        return bool(self.networks) or self.hops > 0

    def trusts(self, address: Address | None, distance: int) -> bool:
        """Whether to believe who stands ``distance`` steps away; the peer of the connection is at 0."""
        if self.hops:
            return distance < self.hops
        return address is not None and any(address in network for network in self.networks)


def client_address(peer: str | None, headers: Headers, proxies: Proxies) -> str | None:
    """The address of the client, in canonical form; the peer's where no trusted proxy says otherwise.

    Reads ``Forwarded`` (RFC 7239) and ``X-Forwarded-For``. Where both are there and lead to different clients, one of
    them was not written by the proxies and neither is believed. A peer that is no address (a test client, a Unix
    socket) is given back as it is.
    """
    address = parsed(peer) if peer else None
    own = str(address) if address is not None else peer or None
    if not proxies or not proxies.trusts(address, 0):
        return own
    chains = [chain for chain in (_forwarded(headers), _x_forwarded_for(headers)) if chain]
    found = {_walk(address, chain, proxies) for chain in chains}
    client = found.pop() if len(found) == 1 else None
    return str(client) if client is not None else own


def _walk(peer: Address | None, chain: list[str], proxies: Proxies) -> Address | None:
    """From the peer to the left; stops at the first that is not trusted, or before what cannot be read."""
    address, distance = peer, 0
    while chain and proxies.trusts(address, distance):
        further = parsed(chain.pop())
        if further is None:
            break
        address, distance = further, distance + 1
    return address


def parsed(node: str) -> Address | None:
    """The address in a text, or None. Quotes, brackets and a port may stand around it; IPv4 in IPv6 is unwrapped."""
    text = node.strip(" \t")
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = _ESCAPED.sub(r"\1", text[1:-1])
    port = None
    if text.startswith("["):
        text, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in text or (rest and not rest.startswith(":")):
            return None
        port = rest[1:] if rest else None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
    if "%" in text or (port is not None and not _PORT.fullmatch(port)):
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _x_forwarded_for(headers: Headers) -> list[str]:
    values = headers.get_all("x-forwarded-for")
    return ",".join(values).split(",") if values else []


def _forwarded(headers: Headers) -> list[str]:
    """The ``for`` of each element of Forwarded, from left to right; an element without one gives an empty text."""
    value = ",".join(headers.get_all("forwarded"))
    return [_for(element) for element in _split(value, ",")] if value else []


def _for(element: str) -> str:
    for pair in _split(element, ";"):
        name, _, value = pair.partition("=")
        if name.strip(" \t").lower() == "for":
            return value
    return ""


def _split(text: str, separator: str) -> Iterator[str]:
    """Split where the separator stands outside quotes; a quote that never ends is one part to the end."""
    start = position = 0
    while position < len(text):
        if text[position] == separator:
            yield text[start:position]
            start = position = position + 1
        else:
            quoted = _QUOTED.match(text, position)
            position = quoted.end() if quoted else position + 1 if text[position] in ",;" else len(text)
    yield text[start:]


def _plain_network(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """``::ffff:10.0.0.0/104`` as ``10.0.0.0/8``, since addresses are unwrapped too."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


def shortened(address: str) -> str:
    """The network an address lives in, for lists that people read: IPv4 /24, IPv6 /48; empty for what is no address."""
    found = parsed(address)
    if found is None:
        return ""
    return str(ip_network((int(found), 24) if found.version == 4 else (found, 48), strict=False))
