"""The end of a request: once its response is closed, or is known never to come, its locks are given back, its limits
settled, and its idempotency key is forgotten or kept.
"""

import weakref
from typing import Any, cast

from django.http.response import HttpResponseBase

from redis_mw.layer.exchange import Exchange
from redis_mw_django.arrival import Arrival


class Departure:
    """What the response leaves to be done, which nobody waits for: on the loop that answers, or in the background.

    It is done once, when the server closes the response (a stream's at its end, or when its reader has gone), or when
    a response is thrown away that nobody closed. Made where the request is answered.
    """

    def __init__(self, arrival: Arrival) -> None:
        self._arrival = arrival
        self._application = arrival.application
        self._exchange = arrival.exchange
        self._leaves_work = _leaves_work(arrival.exchange)
        self._detach = self._application.detacher() if self._leaves_work else self._application.detach
        self._over = False

    def follow(self, response: HttpResponseBase) -> None:
        """Wait for the end of this response."""
        exchange = self._exchange
        exchange.started = True
        if not self._arrival.noted:  # what stands in for a failure is no success of the application's
            exchange.status = response.status_code
        if not self._leaves_work:
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
        """The request is over; where its body is still made for others, once that is."""
        self._arrival.at_rest(self._end)

    def _end(self) -> None:
        if not self._over:
            self._over = True
            layer = self._application.layer
            if layer.finishes(self._exchange):
                self._detach(layer.finish(self._exchange))


def _leaves_work(exchange: Exchange) -> bool:
    """Whether anything may have to be done; what the view takes or charges is known only in the end."""
    taken = (exchange.tally, exchange.attempt, exchange.after)
    looked_up = exchange.lookup is not None and exchange.lookup.settles
    return looked_up or bool(exchange.turns) or any(each is not None for each in taken)
