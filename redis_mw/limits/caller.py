"""Who is counted: the client of a request, by each of the ways in which a limit may tell clients apart.

A client that a limit cannot tell by what it asks for (nobody is logged in, the header is missing, a callable returned
None) is told by its address, so that leaving something out gains nothing.
"""

from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any, TypeAlias

import msgspec

from redis_mw.errors import PolicyError
from redis_mw.http.address import parsed
from redis_mw.keys import Secret, SecretKey
from redis_mw.limits.quota import digest
from redis_mw.policy.caller import Caller

By: TypeAlias = "str | Callable[[Any], str | None]"
NO_SECRET = "counts by what may be a credential, which is hashed with a secret: set one of 32 random characters or more"

LISTED = ("client", "user", "session", "call")
REMEMBERED = 4096
TAG = 12
V4_NETWORKS = (32, 24, 16)
V6_NETWORKS = (48, 32)


class Client(msgspec.Struct, frozen=True, gc=False):
    """A client told in one way: its ``text``, the hash of it that stands in keys, and its names in the lists."""

    text: str
    tag: str
    names: tuple[str, ...]


class Clients:
    """Tells clients apart; ``secret`` keys the hash of what may be a credential (headers, callables)."""

    def __init__(self, ipv6_prefix: int, secret: Secret = b"") -> None:
        self._ipv6_prefix = ipv6_prefix
        self.secret_key = SecretKey(secret)
        self._by_address: dict[str, Client] = {}

    def of(self, caller: Caller, by: tuple[By, ...]) -> Client:
        """The client that a limit counts for this request."""
        if by == ("client",):
            return self.at(caller.address)
        parts = [self._part(caller, each) for each in by]
        if len(parts) == 1:
            return parts[0]
        text = "".join(f"{len(part.text)}:{part.text}" for part in parts)
        return Client(text, digest(text, size=TAG), tuple(name for part in parts for name in part.names))

    def named(self, by: tuple[By, ...], keys: tuple[str, ...]) -> Client:
        """The client that application code names: for each thing a limit counts by, its value."""
        if len(by) == 1:
            return self._named(by[0], keys[0])
        parts = [self._named(each, key) for each, key in zip(by, keys, strict=True)]
        text = "".join(f"{len(part.text)}:{part.text}" for part in parts)
        return Client(text, digest(text, size=TAG), tuple(name for part in parts for name in part.names))

    def at(self, address: str | None) -> Client:
        """The client at an address: IPv4 as it is, IPv6 by its network; all whose address nobody knows are one."""
        found = self._by_address.get(address or "")
        if found is None:
            found = self._met(address or "")
            if len(self._by_address) >= REMEMBERED:
                self._by_address.clear()
            self._by_address[address or ""] = found
        return found

    def member(self, by: str, key: str) -> str:
        """The name of a client in the lists. A network must be one that requests look for; ValueError says which."""
        if by not in LISTED and not by.startswith("header:"):
            raise ValueError(f"clients are listed by {', '.join(LISTED)} or header:<name>, not by {by!r}")
        if by == "client" and "/" in key:
            network = ip_network(key, strict=False)
            lengths = V4_NETWORKS if network.version == 4 else (self._ipv6_prefix, *V6_NETWORKS)
            if network.prefixlen not in lengths:
                known = ", ".join(f"/{length}" for length in lengths)
                raise ValueError(f"{key} cannot be listed while the application runs: networks of {known} can")
            return f"client:{network if network.prefixlen < 32 or network.version == 6 else network.network_address}"
        return self._named(by, key).names[0]

    def _part(self, caller: Caller, by: By) -> Client:
        if not isinstance(by, str):
            value = by(caller.native)
            return self.at(caller.address) if value is None else self._named("call", _text(value))
        match by:
            case "client":
                return self.at(caller.address)
            case "user":
                return self._named(by, caller.user) if caller.user else self.at(caller.address)
            case "session":
                return self._named(by, caller.session) if caller.session else self.at(caller.address)
            case "route":
                return self._named(by, caller.route)
            case "global":
                return GLOBAL
            case _:
                value = caller.headers.get(by.removeprefix("header:"))
                return self._named(by, value) if value else self.at(caller.address)

    def _named(self, by: By, key: str) -> Client:
        if by == "client":
            return self.at(key)
        if by == "global":
            return GLOBAL
        if not isinstance(by, str) or by == "call" or by.startswith("header:"):
            kind = by.lower() if isinstance(by, str) else "call"
            key = digest(key, self.secret_key.reveal(f"a limit {NO_SECRET}")[:32], TAG)
        else:
            kind = by
        text = f"{kind}:{key}"
        # A route is no client that somebody would put on a list.
        return Client(text, digest(text, size=TAG), () if kind == "route" else (_bounded(text),))

    def _met(self, address: str) -> Client:
        found = parsed(address)
        if found is None:
            text = f"client:{address}"
            return Client(text, digest(text, size=TAG), (_bounded(text),))
        if found.version == 4:
            text = f"client:{found}"
            names = [text, *(f"client:{ip_network((found, length), strict=False)}" for length in V4_NETWORKS[1:])]
        else:
            own = ip_network((found, self._ipv6_prefix), strict=False)
            text = f"client:{own}"
            names = [text, *(f"client:{ip_network((found, length), strict=False)}" for length in V6_NETWORKS)]
        return Client(text, digest(text, size=TAG), tuple(names))


GLOBAL = Client("global", digest("global", size=TAG), ())


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise PolicyError(f"what a limit counts by is a text or None, not {type(value).__name__}")


def _bounded(name: str) -> str:
    """Names stand in Redis as they are, for people to read, unless they are long or hold what no terminal likes."""
    return name if len(name) <= 100 and name.isprintable() else digest(name, size=TAG)


def credentials(by: Mapping[str, Any] | tuple[By, ...]) -> bool:
    """Whether what a limit counts by may be a credential, which is hashed with a secret."""
    return any(not isinstance(each, str) or each.startswith("header:") for each in by)
