"""The response on its way to the client, kept for whoever sends the request again.

A whole one is stored before it leaves. A stream is kept as it passes, and stored before its end can be seen: with its
last part, or with the last byte that was announced, since a client that has those may think that all is done.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase

from redis_mw.flows import Flow
from redis_mw.layer.exchange import Exchange
from redis_mw_django.arrival import Arrival

NOT_LET_PASS = (401, 403)


def recorded(arrival: Arrival, response: HttpResponseBase) -> Flow[None] | None:
    """What has to be run before this response leaves, None for nothing; a stream is watched from now on.

    A file is watched like any stream, so the server does not send it by itself.
    """
    exchange, layer = arrival.exchange, arrival.application.layer
    if exchange.attempt is None or not layer.records(exchange):
        return None
    if _is_turned_away(arrival, response):
        return exchange.attempt.release()
    exchange.status = response.status_code
    exchange.headers = tuple((str(name), str(value)) for name, value in cast(Any, response).items())
    if not isinstance(response, StreamingHttpResponse):
        return layer.complete(exchange, cast(Any, response).content)
    _watch(arrival, response)
    return None


def _is_turned_away(arrival: Arrival, response: HttpResponseBase) -> bool:
    """Whether somebody before the view has not let the request pass: it comes again with a fresh CSRF token, say, and
    must run then. Known where a decorator asks for the key; a rule does not see which view was called.
    """
    exchange = arrival.exchange
    is_of_view = exchange.attempt is not None and exchange.attempt.entry in exchange.claims
    return is_of_view and not arrival.reached and response.status_code in NOT_LET_PASS


class Recording:
    """Takes the parts of a stream. ``add`` says when it is over: all is there, or it is too large to be kept."""

    def __init__(self, exchange: Exchange) -> None:
        assert exchange.attempt is not None
        self._recorder = exchange.attempt.recorder()
        length = next((value for name, value in exchange.headers if name.lower() == "content-length"), "")
        self._left = int(length) if length.isdecimal() else None

    def add(self, part: bytes) -> bool:
        """The next part; True if the response must be stored before it is sent."""
        self._recorder.add(part)
        if self._left is not None:
            self._left -= len(part)
        return self._recorder.is_over or (self._left is not None and self._left <= 0)

    @property
    def body(self) -> bytes | None:
        """What was recorded, None if it was too large."""
        return self._recorder.body


def _watch(arrival: Arrival, response: StreamingHttpResponse) -> None:
    application, exchange = arrival.application, arrival.exchange
    body, recording = response.streaming_content, Recording(exchange)

    def complete() -> Flow[None]:
        return application.layer.complete(exchange, recording.body)  # only the first call does anything

    async def passed_async(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in parts:
            if application.layer.records(exchange) and recording.add(part):
                await application.arun(complete())
            yield part
        await application.arun(complete())

    def passed(parts: Iterator[bytes]) -> Iterator[bytes]:
        for part in parts:
            if application.layer.records(exchange) and recording.add(part):
                application.run(complete())
            yield part
        application.run(complete())

    if response.is_async:
        response.streaming_content = passed_async(cast(AsyncIterator[bytes], body))
    else:
        response.streaming_content = passed(cast(Iterator[bytes], body))
