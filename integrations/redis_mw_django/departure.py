"""The end of a request: its limits are settled once its response is closed, or is known never to come."""

import weakref
from typing import Any, cast

from django.http.response import HttpResponseBase

from redis_mw_django.arrival import Arrival


class Departure:
    """What the response leaves to be done, which nobody waits for: on the loop that answers, or in the background.

    It is done once, when the server closes the response (a stream's at its end, or when its reader has gone), or when
    a response is thrown away that nobody closed. Made where the request is answered.
    """

    def __init__(self, arrival: Arrival) -> None:
        self._application = arrival.application
        self._exchange = arrival.exchange
        self._detach = self._application.detacher() if arrival.exchange.tally is not None else self._application.detach
        self._over = False

    def follow(self, response: HttpResponseBase) -> None:
        """Wait for the end of this response."""
        exchange = self._exchange
        exchange.status = response.status_code
        if exchange.tally is None and exchange.after is None:
            return
        # Not the response itself: it would never be thrown away while something of its own holds it.
        leaving = weakref.ref(response)
        lost = weakref.finalize(response, self.at_once)
        lost.atexit = False

        def closed() -> None:
            _ = lost.detach()
            exchange.answer = leaving()
            self.at_once()

        cast(Any, response)._resource_closers.append(closed)

    def at_once(self) -> None:
        """The request is over."""
        if not self._over:
            self._over = True
            layer = self._application.layer
            if layer.finishes(self._exchange):
                self._detach(layer.finish(self._exchange))
