"""Pages in this process's memory, and what most requests get of one: all of it, found without any other question."""

from time import monotonic

from redis_mw.caching.pages.commands import Question
from redis_mw.caching.pages.entry import Entry
from redis_mw.caching.pages.hidden import OF_A_COPY
from redis_mw.caching.pages.look import Found
from redis_mw.caching.pages.names import is_among, url_of
from redis_mw.caching.pages.page import Page
from redis_mw.caching.pages.served import Served, answer_of, served
from redis_mw.caching.room import Room
from redis_mw.caching.rules.freshness import SECOND, may_be_early
from redis_mw.caching.rules.status import CacheStatus
from redis_mw.caching.rules.vary import together, variant
from redis_mw.http.request import Request

PARTICULAR = OF_A_COPY | {"authorization", "cache-control", "pragma"}
"""What a request says if it does not simply want the page."""


class Remembered:
    """A page in memory, as it was ``found``."""

    def __init__(self, found: Found, page: Page) -> None:
        self.found = found
        self.page = page
        self._latest: tuple[tuple[int, int], Served] | None = None

    def whole(self, request: Request, now_us: int, *, varies: tuple[str, ...] = (), key: str | None = None) -> Served:
        """All of it, for a GET that is not particular, with a Vary that says ``varies`` at least; ``key`` is told to
        whoever debugs.

        The answers of one second are the same, so one is made.
        """
        fresh = self.page.freshness
        ages = fresh.age_at(now_us) // SECOND, fresh.seconds_left(now_us)
        latest = self._latest
        if latest is not None and latest[0] == ages:
            return latest[1]
        status = CacheStatus(hit=True, ttl=ages[1], key=key)
        answer = served(self.page, answer_of(self.page, request, now_us), status, varies)
        self._latest = ages, answer
        return answer


def page_of(question: Question) -> str:
    """What a page is called within this process: its URL and its variant."""
    return place_of(question.name, question.variant)


def place_of(name: str, variant: str) -> str:
    """The same for the page of this name and variant."""
    return f"{name} {variant}"


def remembered(room: Room, entry: Entry, request: Request) -> Served | None:
    """What a request gets that simply wants a page which is in memory and fresh, for some time to come.

    That is what a ``Lookup`` would find for it; None: a ``Lookup`` has to see.
    """
    headers = request.headers
    if request.method != "GET" or entry.is_keyed() or headers.has_any(PARTICULAR):
        return None
    if room.hosts and not entry.any_host and not is_among(request.host, room.hosts):
        return None
    memory = room.memory
    name = url_of(request, any_host=entry.any_host).name
    known = memory.vary.get(name)
    names = together(known, entry.vary) if known else entry.vary
    kept: Remembered | None = memory.local.get(place_of(name, variant(headers, names)))
    if kept is None:
        return None
    now_us = kept.found.time_us(monotonic())
    fresh = kept.page.freshness
    if not fresh.is_fresh(now_us) or may_be_early(fresh, now_us):
        return None
    room.tell("cache.hit", name)
    return kept.whole(request, now_us, varies=entry.varies("anybody"), key=name if room.debug else None)
