"""One request and the flight that its page is made in, within this process: it leads it, or follows another's."""

from concurrent.futures import Future
from typing import TypeAlias

import msgspec

from redis_mw.caching.flights import Flight
from redis_mw.caching.pages.commands import Question
from redis_mw.caching.pages.look import Found
from redis_mw.caching.pages.remembered import page_of
from redis_mw.caching.room import Memory

PageFlight: TypeAlias = Flight[Future[None]]


class Boarding:
    """What one request has to do with flights. ``leads`` is the flight that it has to see to an end."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.leads: PageFlight | None = None

    def board(self, question: Question) -> PageFlight | None:
        """The flight to follow; None: this request leads one now, or nobody waits for such a page."""
        page = page_of(question)
        if self._memory.useless.knows(page):
            return None
        flight, leads = self._memory.flights.board(page, (question.name, *question.tags), leads=False)
        if not leads:
            return flight
        self.leads = flight
        return None

    def change(self, flight: PageFlight) -> PageFlight | None:
        """Where to go from a flight that takes long: one to follow, or None where this request leads one, or there is
        none any more (``leads`` tells).
        """
        change = self._memory.flights.change(flight)
        if change is None:
            return None
        latest, leads = change
        if leads:
            self.leads = latest
            return None
        return latest

    def begin(self) -> None:
        """The application makes the page from now on."""
        if self.leads is not None:
            self._memory.flights.begin(self.leads)

    def close(self) -> None:
        """The page is about to be stored: who comes later may come after it was dropped again, and does not board."""
        if self.leads is not None:
            self._memory.flights.end(self.leads)

    def land(self, made: Found | None = None) -> None:
        """Whoever follows may go on, with what was made if anything was."""
        flight, self.leads = self.leads, None
        if flight is None:
            return
        if made is not None:
            flight.made = msgspec.structs.replace(made, claim=None, busy_us=None)
        self._memory.flights.end(flight)
        if not flight.ended.done():
            flight.ended.set_result(None)
