"""Fields that belong to one connection, not to the message (RFC 9110 section 7.6.1)."""

from collections.abc import Iterable

from redis_mw.http.lists import elements

HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("proxy-authenticate", "proxy-authentication-info", "proxy-authorization"),
    }
)
"""Always; Connection names others."""


def end_to_end(fields: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The fields that belong to the message, in their order: without those that Connection names."""
    pairs = tuple(fields)
    named = {name.lower() for name in elements(value for name, value in pairs if name.lower() == "connection")}
    return tuple(pair for pair in pairs if (name := pair[0].lower()) not in HOP_BY_HOP and name not in named)
