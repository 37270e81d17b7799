"""Who watches the round trips: process-wide observers, asked by both drivers.

A trip is one batch as it left for one endpoint. Handshakes, script loads, the breaker's probes and subscriptions are
not trips; a command that is sent again because the server did not know its script is one more.
"""

from collections.abc import Callable
from typing import TypeAlias

from redis_mw.flows import Argument

Words: TypeAlias = "tuple[Argument, ...]"
Observer: TypeAlias = "Callable[[str, tuple[Words, ...], bool], None]"

observers: list[Observer] = []
"""Drivers ask ``if trips.observers`` before they build anything, so that nobody pays when nobody watches."""


def observe(callback: Observer) -> Callable[[], None]:
    """Call ``callback(endpoint, commands, detached)`` for every trip, until the returned function is called.

    ``endpoint`` is the server's name (no password), ``commands`` the words of each command, and ``detached`` says
    that no request waits for the replies. It is called in the thread that sends, before it sends.
    """
    observers.append(callback)

    def stop() -> None:
        if callback in observers:
            observers.remove(callback)

    return stop


def record(endpoint: str, commands: tuple[Words, ...], detached: bool) -> None:
    """Tell every observer of one trip."""
    for observer in tuple(observers):
        observer(endpoint, commands, detached)
