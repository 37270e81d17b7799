"""The body of a response on its way to the client, kept for whoever sends the request again."""

from collections.abc import Callable, Iterator
from typing import Any

from flask.wrappers import Response

from redis_mw.layer.exchange import Exchange


class Recording:
    """The parts of a response's body, which ``complete`` is given once they are over, or too large (None).

    They are over with the last one, or with the last byte that was announced.
    """

    def __init__(self, exchange: Exchange, response: Response, complete: Callable[[bytes | None], object]) -> None:
        assert exchange.attempt is not None
        self._body: Any = response.response
        self._parts = response.iter_encoded()
        self._recorder = exchange.attempt.recorder(exchange.headers)
        self._complete = complete
        self._exchange: Exchange | None = exchange

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            self._add(part)
            yield part
        self._end()

    def close(self) -> None:
        """Nobody wants more; whether all was sent is known by now."""
        self._forget()
        if hasattr(self._body, "close"):
            self._body.close()

    def _add(self, part: bytes) -> None:
        if self._exchange is None or not part:
            return
        self._recorder.add(part)
        if self._recorder.is_over:
            self._end()
        else:
            self._exchange.started = True  # the head is sent with the first part

    def _end(self) -> None:
        if self._exchange is not None:
            self._exchange.started = True
            _ = self._complete(self._recorder.body)
            self._forget()

    def _forget(self) -> None:
        """The exchange knows the response, which holds us: no circle is left for the collector."""
        self._exchange, self._complete = None, _nothing


def _nothing(body: bytes | None) -> None:
    """All is said."""
