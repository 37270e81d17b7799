"""What becomes of a response before its client sees it: kept for whoever sends the request again, or the like of it, or
replaced by what is stored; and what it has made wrong in the cache is forgotten.

In this order: ``judge`` its head; ``close`` before that is sent; ``complete`` before its end is. Where all of the body
is known at once, ``close`` does both.
"""

from typing import Any

from redis_mw.caching.pages.fetch import Fetch
from redis_mw.caching.pages.keep import purge
from redis_mw.caching.pages.names import ANY_HOST, Url, url_of
from redis_mw.caching.room import Room
from redis_mw.caching.rules.invalidation import SAFE, invalidated, invalidated_groups
from redis_mw.caching.tags import name_of
from redis_mw.caching.values.write import drop_tags
from redis_mw.flows import Flow, together
from redis_mw.http.request import Fields
from redis_mw.idempotency.response import Recorder
from redis_mw.layer.entries import Entries
from redis_mw.layer.exchange import Exchange, Headers, Response, of_page


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

    def judge(self, exchange: Exchange) -> None:
        """The head of the response is known, and nothing of it is sent."""
        fetch = self._fetch(exchange)
        if fetch is not None:
            fetch.judge(exchange.status, exchange.headers, accessed=exchange.accessed, csrf=exchange.csrf)

    def records(self, exchange: Exchange) -> bool:
        """Whether the application's response has to be given to ``commit`` or ``complete``, before its end is sent."""
        if exchange.stopped:
            return False
        fetch = self._fetch(exchange)
        return self._attempts(exchange) or (fetch is not None and fetch.records)

    def recorder(self, exchange: Exchange) -> Recorder:
        """Takes the body of a response that is recorded; once it ``is_over``, ``complete`` is to be called at once."""
        most = exchange.attempt.room.max_response if exchange.attempt is not None and self._attempts(exchange) else 0
        fetch = self._fetch(exchange)
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
        if fetch is not None and fetch.closes and not exchange.stopped:
            return True
        return not exchange.forgotten and bool(self._wrong_now(exchange))

    def close(self, exchange: Exchange, whole: bytes | None) -> Flow[None]:
        """Do what has to be done before the head of the response is sent: store what is known as a ``whole``, forget
        the pages that the request has made wrong. Then ``instead`` may be the answer.
        """
        closing: list[Flow[Any]] = []
        fetch = self._fetch(exchange)
        if whole is not None:
            closing.append(self.complete(exchange, whole))
        elif fetch is not None and fetch.closes and not exchange.stopped:
            closing.append(self._fetched(exchange, None))
        if not exchange.forgotten:
            closing += self._wrong_now(exchange)
            exchange.forgotten = True
        if closing:
            _ = yield from together(*closing)

    def complete(self, exchange: Exchange, body: bytes | None) -> Flow[None]:
        """Store the response (``status`` and ``headers`` of the exchange) for whoever sends the request again, or the
        like of it.

        A ``body`` of None was too large to be kept, or cut off. What is turned away, or failed, is not stored.
        """
        completing: list[Flow[Any]] = []
        if exchange.attempt is not None and self._attempts(exchange) and not exchange.stopped:
            completing.append(exchange.attempt.complete(exchange.status, exchange.headers, body))
        if self._fetch(exchange) is not None and not exchange.stopped:
            completing.append(self._fetched(exchange, body))
        if completing:
            _ = yield from together(*completing)

    def instead(self, exchange: Exchange) -> Response | None:
        """What the client gets in the application's place, once the response was judged, closed or completed."""
        fetch = self._fetch(exchange)
        return of_page(fetch.instead).response if fetch is not None and fetch.instead is not None else None

    def rescue(self, exchange: Exchange) -> Flow[Response | None]:
        """What the client gets where the application has failed and sent nothing: a stored page, where that may be."""
        if exchange.lookup is None or exchange.stopped or exchange.started or exchange.refreshing:
            return None
        yield from exchange.lookup.rescue()
        return self.instead(exchange)

    def _attempts(self, exchange: Exchange) -> bool:
        return exchange.attempt is not None and exchange.attempt.runs

    def _fetch(self, exchange: Exchange) -> Fetch | None:
        return exchange.lookup.fetch if exchange.lookup is not None else None

    def _fetched(self, exchange: Exchange, body: bytes | None) -> Flow[None]:
        if exchange.lookup is not None:
            accessed, csrf, sent = exchange.accessed, exchange.csrf, exchange.started
            yield from exchange.lookup.complete(body, accessed=accessed, csrf=csrf, sent=sent)

    def _wrong_now(self, exchange: Exchange) -> list[Flow[Any]]:
        """The flows that forget what the request has made wrong (RFC 9111 section 4.4, RFC 9875 section 3)."""
        room, request = self._room, exchange.request
        if room is None or exchange.stopped or request.method in SAFE:
            return []
        headers = Fields(exchange.headers)
        own = url_of(request)
        urls = [
            Url(own.scheme, host, request.root + target.path, target.query)
            for target in invalidated(request, exchange.status, headers, root=request.root)
            if self._entries.caches(target.path, exchange.views(target.path))
            for host in (own.host, ANY_HOST)
        ]
        flows: list[Flow[Any]] = [purge(room, urls)] if urls else []
        if groups := invalidated_groups(request.method, headers):
            flows.append(drop_tags(room, tuple(map(name_of, groups)), soft=False))
        return flows

    def fields(self, exchange: Exchange) -> Headers:
        """The fields that tell of the cache, for the application's own response."""
        fetch = self._fetch(exchange)
        return fetch.fields() if fetch is not None and not exchange.stopped and fetch.instead is None else ()
