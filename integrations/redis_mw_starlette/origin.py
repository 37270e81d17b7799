"""Whether a WebSocket handshake comes from a page of our own (RFC 6455 section 10.2).

Browsers send cookies with a handshake from any page and ask nobody, so a foreign page could speak with the visitor's
session. Programs send no Origin, and no cookies they were not given.
"""

import logging
from collections.abc import Collection
from itertools import count
from urllib.parse import SplitResult, urlsplit

from redis_mw.http.request import Request

log = logging.getLogger("redis_mw.sessions")
_refusals = count()

PORTS = {"http": 80, "https": 443}


def is_foreign(request: Request, allowed: Collection[str]) -> bool:
    """Whether the Origin is neither the host that was asked for nor one of ``allowed``.

    A page loaded over http is foreign to a wss:// connection. A page loaded over https is at home on a ws:// one:
    browsers open no such connection, so a proxy in front of us ended TLS.
    """
    origins = request.headers.get_all("origin")
    if not origins:
        return False
    origin = ",".join(origins).lower()
    if origin in allowed:
        return False
    page = _split(origin)
    if page is None or page.scheme not in (("https",) if request.scheme in ("wss", "https") else ("http", "https")):
        return True
    asked = _split(f"{page.scheme}://{request.host.lower()}")
    return asked is None or (page.hostname, _port(page)) != (asked.hostname, _port(asked))


def tell(request: Request) -> None:
    """Log the first refusal of the process: behind a proxy that rewrites Host it is a setting that is missing."""
    if next(_refusals) == 0:
        origin = ",".join(request.headers.get_all("origin"))
        page = _split(origin)
        log.warning(
            "a WebSocket was refused: its page is of %.200r (host %.200r) and it asked for the host %.200r; "
            "if that page is yours, name its origin in sessions.websocket_origins. This is logged once",
            origin,
            page.hostname if page is not None else None,
            request.host,
        )


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.hostname else None


def _port(parts: SplitResult) -> int:
    return parts.port or PORTS[parts.scheme]
