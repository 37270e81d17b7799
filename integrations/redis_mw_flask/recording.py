"""The body of a response on its way to the client, kept for whoever sends the request again, or one like it."""

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from flask.wrappers import Response

from redis_mw.events import log
from redis_mw.idempotency.response import Recorder
from redis_mw.layer.exchange import Exchange

DRAINS_S = 60.0
"""How long what others wait for is read on when its client has gone."""


class Recording:
    """The parts of a response's body, which ``complete`` is given once they are over, or too large (None).

    They are over with the last one, or with the last byte that was announced.
    """

    def __init__(
        self, exchange: Exchange, response: Response, recorder: Recorder, complete: Callable[[bytes | None], object]
    ) -> None:
        self._body: Any = response.response
        self._parts = response.iter_encoded()
        self._recorder = recorder
        self._complete = complete
        self._exchange: Exchange | None = exchange

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                part = next(self._parts)
            except StopIteration:
                break
            except BaseException:
                self._forget()  # of a body that was cut off nothing is kept
                raise
            self._add(part)
            yield part
        self._end()

    def drain(self) -> None:
        """Read what is left, as far as it is kept, and for so long."""
        until = monotonic() + DRAINS_S
        while self._exchange is not None and monotonic() < until:
            try:
                part = next(self._parts)
            except StopIteration:
                self._end()
            else:
                self._add(part)

    def close(self) -> None:
        """Nobody wants more here; who makes it for others as well makes it to its end."""
        try:
            if self._exchange is not None and self._exchange.leads:
                self.drain()
        except Exception:
            log.exception("a page whose client has gone could not be made to its end")
        finally:
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
