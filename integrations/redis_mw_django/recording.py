"""The response on its way to the client, kept for whoever sends the request again.

A whole one is stored before it leaves. A stream is kept as it passes, and stored before its end can be seen: with its
last part, or with the last byte that was announced, since a client that has those may think that all is done.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase

from redis_mw.flows import Flow
from redis_mw_django.arrival import Arrival

NOT_LET_PASS = (401, 403)


def recorded(arrival: Arrival, response: HttpResponseBase) -> Flow[None] | None:
    """What has to be run before this response leaves, None for nothing; a stream is watched from now on.

    A file is watched like any stream, so the server does not send it by itself.
    """
    exchange, layer = arrival.exchange, arrival.application.layer
    if exchange.attempt is None or not layer.closing.records(exchange):
        return None
    if _is_turned_away(arrival, response):
        return exchange.attempt.release()
    exchange.status = response.status_code
    exchange.headers = tuple((str(name), str(value)) for name, value in cast(Any, response).items())
    if not isinstance(response, StreamingHttpResponse):
        return layer.closing.complete(exchange, cast(Any, response).content)
    _watch(arrival, response)
    return None


def _is_turned_away(arrival: Arrival, response: HttpResponseBase) -> bool:
    """Whether somebody before the view has not let the request pass: it comes again with a fresh CSRF token, say, and
    must run then. Known where a decorator asks for the key; a rule does not see which view was called.
    """
    exchange = arrival.exchange
    is_of_view = exchange.attempt is not None and exchange.attempt.entry in exchange.claims
    return is_of_view and not arrival.reached and response.status_code in NOT_LET_PASS


def _watch(arrival: Arrival, response: StreamingHttpResponse) -> None:
    application, exchange = arrival.application, arrival.exchange
    assert exchange.attempt is not None
    body, recorder = response.streaming_content, exchange.attempt.recorder(exchange.headers)

    def over(part: bytes) -> bool:
        recorder.add(part)
        return application.layer.closing.records(exchange) and recorder.is_over

    def complete() -> Flow[None]:
        return application.layer.closing.complete(exchange, recorder.body)  # only the first call does anything

    async def passed_async(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in parts:
            if over(part):
                await application.arun(complete())
            yield part
        await application.arun(complete())

    def passed(parts: Iterator[bytes]) -> Iterator[bytes]:
        for part in parts:
            if over(part):
                application.run(complete())
            yield part
        application.run(complete())

    if response.is_async:
        response.streaming_content = passed_async(cast(AsyncIterator[bytes], body))
    else:
        response.streaming_content = passed(cast(Iterator[bytes], body))
