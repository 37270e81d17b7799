"""The mistakes that are made with proxies, noticed while the application runs and told once each."""

import logging

from redis_mw.http.address import Proxies, parsed
from redis_mw.http.request import Request

log = logging.getLogger("redis_mw.limits")

ENOUGH = 1000
"""So many requests from one private address, and none from another, are a proxy's."""


class ProxyWatch:
    """Looks at whom requests are taken to come from; costs next to nothing once all is told or clear."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies
        self._untrusted_told = bool(proxies)
        self._first: str | None = None
        self._seen = 0
        if any(network.prefixlen == 0 for network in proxies.networks):
            log.warning(
                "trusted_proxies holds a network of all addresses: everybody may say who they are, "
                "so limits by client limit nobody; name the proxies' own networks"
            )

    def saw(self, request: Request, address: str | None) -> None:
        """One more request, taken to come from ``address``."""
        if not self._untrusted_told:
            for name in ("x-forwarded-for", "forwarded"):
                if request.headers.get(name) is not None:
                    self._untrusted_told = True
                    log.warning(
                        "a request came with %s and trusted_proxies is empty, so it is not believed: if a proxy of "
                        "yours is in front, all its clients share their limits; name it in trusted_proxies",
                        name,
                    )
        if self._seen < 0:
            return
        if self._first is None:
            self._first = address or ""
        self._seen = self._seen + 1 if address == self._first else -1
        if self._seen >= ENOUGH:
            self._seen = -1
            found = parsed(self._first)
            if found is not None and found.is_private and not found.is_loopback:
                log.warning(
                    "the first %d requests all came from one private address: if that is a proxy, all clients share "
                    "their limits; name it in trusted_proxies",
                    ENOUGH,
                )
