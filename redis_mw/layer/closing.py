"""What becomes of a response before its client sees it: kept for whoever sends the request again, or the like of it, or
replaced by what is stored; and what it has made wrong in the cache is forgotten.

In this order: ``judge`` its head; ``close`` before that is sent; ``complete`` before its end is. Where all of the body
is known at once, ``close`` does both.
"""

from collections.abc import Callable
from typing import Any

from redis_mw.caching.pages.entry import Whose
from redis_mw.caching.pages.fetch import Fetch
from redis_mw.caching.pages.keep import purge
from redis_mw.caching.pages.names import ANY_HOST, Url, url_of
from redis_mw.caching.room import Room
from redis_mw.caching.rules.invalidation import SAFE, invalidated, invalidated_groups
from redis_mw.caching.tags import name_of
from redis_mw.caching.values.write import drop_tags
from redis_mw.flows import Flow, together
from redis_mw.http.request import Fields
from redis_mw.idempotency.attempt import Attempt
from redis_mw.idempotency.response import Recorder
from redis_mw.layer.entries import Entries
from redis_mw.layer.exchange import Exchange, Headers, Response, Wrong, of_page


class Closing:
    """Sees to the responses of one application; ``room`` is its cache, None where that is turned off."""

    def __init__(self, room: Room | None, entries: Entries) -> None:
        self._room = room
        self._entries = entries

    def notes(self, exchange: Exchange) -> bool:
        """Whether anybody wants to know the head of the response: status and headers of the exchange, as the
        application made them, and then ``judge``.
        """
        if exchange.attempt is not None or self._fetch(exchange) is not None:
            return True
        return exchange.request.method not in SAFE and self._room is not None

    def looked(self, exchange: Exchange, *, accessed: bool, read: bool, changed: Callable[[], bool]) -> None:
        """What the application did with the session, before each of ``judge`` and ``complete``: ``accessed`` it at all,
        ``read`` more than whose it is, ``changed`` it.

        The answer is for this visitor only, unless the page's key tells apart what it may be made of; and for this
        request only if the session was changed.
        """
        whose: Whose = exchange.lookup.asked.whose if exchange.lookup is not None else "anybody"
        match whose:
            case "anybody":
                exchange.accessed = accessed
            case "user":
                exchange.accessed = read or (accessed and changed())
            case "session":
                exchange.accessed = accessed and changed()

    def judge(self, exchange: Exchange) -> None:
        """The head of the response is known, and nothing of it is sent."""
        exchange.wrong = self._wrong(exchange)
        fetch = self._fetch(exchange)
        if fetch is not None:
            fetch.judge(exchange.status, exchange.headers, accessed=exchange.accessed, csrf=exchange.csrf)

    def records(self, exchange: Exchange) -> bool:
        """Whether the application's response has to be given to ``commit`` or ``complete``, before its end is sent."""
        fetch = self._fetch(exchange)
        return self._attempt(exchange) is not None or (fetch is not None and fetch.records)

    def recorder(self, exchange: Exchange) -> Recorder:
        """Takes the body of a response that is recorded; once it ``is_over``, ``complete`` is to be called at once."""
        attempt, fetch = self._attempt(exchange), self._fetch(exchange)
        most = attempt.room.max_response if attempt is not None else 0
        if fetch is not None and fetch.records and self._room is not None:
            most = max(most, self._room.largest_body)
        return Recorder(most, exchange.headers)

    def pack(self, exchange: Exchange, body: bytes) -> None:
        """Make ready what will be stored of a large body; on a thread of its own, before ``close`` or ``complete``."""
        fetch = self._fetch(exchange)
        if fetch is not None:
            fetch.pack(body)

    def closes(self, exchange: Exchange) -> bool:
        """Whether ``close`` has anything to do although the body is not recorded, or not known yet."""
        fetch = self._fetch(exchange)
        return any(exchange.wrong) or (fetch is not None and fetch.closes)

    def close(self, exchange: Exchange, whole: bytes | None) -> Flow[None]:
        """Do what has to be done before the head of the response is sent: store what is known as a ``whole``, forget
        the pages that the request has made wrong. Then ``instead`` may be the answer.
        """
        closing: list[Flow[Any]] = []
        fetch = self._fetch(exchange)
        if whole is not None:
            closing.append(self.complete(exchange, whole))
        elif fetch is not None and fetch.closes:
            closing.append(self._fetched(exchange, None))
        wrong, exchange.wrong = exchange.wrong, Wrong()
        if self._room is not None and wrong.urls:
            closing.append(purge(self._room, wrong.urls))
        if self._room is not None and wrong.tags:
            closing.append(drop_tags(self._room, wrong.tags, soft=False))
        if closing:
            _ = yield from together(*closing)

    def complete(self, exchange: Exchange, body: bytes | None) -> Flow[None]:
        """Store the response (``status`` and ``headers`` of the exchange) for whoever sends the request again, or the
        like of it.

        A ``body`` of None was too large to be kept, or cut off. What is turned away, or failed, is not stored.
        """
        completing: list[Flow[Any]] = []
        attempt = self._attempt(exchange)
        if attempt is not None:
            completing.append(attempt.complete(exchange.status, exchange.headers, body))
        if self._fetch(exchange) is not None:
            completing.append(self._fetched(exchange, body))
        if completing:
            _ = yield from together(*completing)

    def instead(self, exchange: Exchange) -> Response | None:
        """What the client gets in the application's place, once the response was judged, closed or completed."""
        fetch = self._fetch(exchange)
        return of_page(fetch.instead).response if fetch is not None and fetch.instead is not None else None

    def rescue(self, exchange: Exchange) -> Flow[Response | None]:
        """What the client gets where the application has failed and sent nothing: a stored page, where that may be."""
        if self._fetch(exchange) is None or exchange.started or exchange.refreshing or exchange.lookup is None:
            return None
        yield from exchange.lookup.rescue()
        return self.instead(exchange)

    def fields(self, exchange: Exchange) -> Headers:
        """The fields that tell of the cache, for the application's own response."""
        fetch = self._fetch(exchange)
        return fetch.fields() if fetch is not None and fetch.instead is None else ()

    def varies(self, exchange: Exchange) -> tuple[str, ...]:
        """The names that the Vary of the application's own response is to have as well."""
        fetch, lookup = self._fetch(exchange), exchange.lookup
        return lookup.asked.varies if lookup is not None and fetch is not None and fetch.instead is None else ()

    def _attempt(self, exchange: Exchange) -> Attempt | None:
        """The attempt whose response is to be kept, unless the request was turned away."""
        attempt = exchange.attempt
        return attempt if attempt is not None and attempt.runs and not exchange.stopped else None

    def _fetch(self, exchange: Exchange) -> Fetch | None:
        """The run that makes a page, unless the request was turned away."""
        lookup = exchange.lookup
        return lookup.fetch if lookup is not None and not exchange.stopped else None

    def _fetched(self, exchange: Exchange, body: bytes | None) -> Flow[None]:
        if exchange.lookup is not None:
            accessed, csrf, sent = exchange.accessed, exchange.csrf, exchange.started
            yield from exchange.lookup.complete(body, accessed=accessed, csrf=csrf, sent=sent)

    def _wrong(self, exchange: Exchange) -> Wrong:
        """What the request has made wrong (RFC 9111 section 4.4, RFC 9875 section 3)."""
        request = exchange.request
        if self._room is None or exchange.stopped or request.method in SAFE:
            return Wrong()
        headers, own = Fields(exchange.headers), url_of(request)
        urls = tuple(
            Url(own.scheme, host, request.root + target.path, target.query)
            for target in invalidated(request, exchange.status, headers, root=request.root)
            if self._entries.caches(target.path, exchange.views(target.path))
            for host in (own.host, ANY_HOST)
        )
        return Wrong(urls, tuple(map(name_of, invalidated_groups(request.method, headers))))
