"""``current().cache``: what a view says of the response that it is making."""

from redis_mw.layer.exchange import Exchange


class RequestCache:
    """What may be said of the response to one request. Where it is not kept anyway, nothing of it has an effect."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def tag(self, *tags: str) -> None:
        """Hang the response on more tags, as the field ``Cache-Groups`` does; ValueError beyond 32 in all."""
        lookup = self._exchange.lookup
        if lookup is not None and lookup.fetch is not None:
            lookup.fetch.tag(*tags)

    def skip(self) -> None:
        """Keep nothing of this response."""
        lookup = self._exchange.lookup
        if lookup is not None and lookup.fetch is not None:
            lookup.fetch.skipped = True
