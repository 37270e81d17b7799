"""One request of a cached route on its way to an answer: from this process's memory, from Redis, by another request
that is at work on it, or by the application.

The layer holds a ``Lookup`` beside the session's ``Visit`` and the locks' ``Turn``. It does no I/O itself, and is used
by one request only.
"""

from concurrent.futures import Future
from math import e
from time import monotonic
from typing import Any, Literal, TypeAlias

import msgspec

from redis_mw.caching.flights import Flight
from redis_mw.caching.leases import Claim
from redis_mw.caching.lifetimes import haste
from redis_mw.caching.pages import look as flows
from redis_mw.caching.pages.commands import Question
from redis_mw.caching.pages.entry import Entry
from redis_mw.caching.pages.fetch import Fetch
from redis_mw.caching.pages.keep import give_up
from redis_mw.caching.pages.look import Found
from redis_mw.caching.pages.made import OF_A_COPY, OF_SOMEBODY, Hidden, Without, hidden
from redis_mw.caching.pages.page import Page
from redis_mw.caching.pages.served import Served, answer_of, needs_body, served
from redis_mw.caching.room import Room
from redis_mw.caching.rules.directives import Directives, request_directives
from redis_mw.caching.rules.freshness import is_early
from redis_mw.caching.rules.reuse import (
    FOR_THE_ORIGIN,
    Forwarded,
    Fresh,
    Miss,
    Pass,
    Stale,
    Unavailable,
    Validate,
    reuse,
    usable_on_error,
)
from redis_mw.caching.rules.status import CacheStatus
from redis_mw.caching.rules.vary import together, variant
from redis_mw.flows import Flow
from redis_mw.http.request import Request
from redis_mw.policy.templates import Fill

ROUNDS = 3
"""How often a request follows others that come to nothing, or to no end, before it runs for itself."""

State: TypeAlias = Literal["new", "answered", "waits", "follows", "runs"]


def begin(room: Room, entry: Entry, request: Request, native: Any, fill: Fill) -> "Lookup | None":
    """The lookup that a request of this route is; None where nothing of it may be shared: it passes uncached.

    Costs no command. Calls what users wrote for the key, which may raise.
    """
    if room.hosts and not entry.any_host and not is_among(request.host, room.hosts):
        return None
    name = entry.name(request, native, fill)
    return None if name is None else Lookup(room, entry, request, name, entry.tags(request, fill))


def is_for_others(request: Request, asked: Directives) -> bool:
    """Whether the answer to a request may be kept, as far as that depends on the request, so that it may lead."""
    if request.method != "GET" or "no-store" in asked or "only-if-cached" in asked:
        return False
    return all(request.headers.get(name) is None for name in (*FOR_THE_ORIGIN, "upgrade"))


def is_among(host: str, hosts: frozenset[str]) -> bool:
    """Whether a Host field is one of these; they may be "*", or begin with a dot, which stands for any subdomain."""
    name = host.lower()
    if not name.endswith("]"):
        name = name.rpartition(":")[0] or name
    return any(each in ("*", name) or (each[:1] == "." and (name.endswith(each) or name == each[1:])) for each in hosts)


class Lookup:
    """What this process knows of one request of a cached route.

    In this order: ``local``; ``ask``; then, as its ``state`` says, ``wait``, or let the flight end that it ``follows``
    and say ``followed``; until it is answered (``answer``, ``refused``, and perhaps ``refreshes``), or runs
    (``fetch``). In the end ``settle``, which nobody needs to wait for.
    """

    def __init__(self, room: Room, entry: Entry, request: Request, name: str, tags: tuple[str, ...]) -> None:
        self.room = room
        self.entry = entry
        self.request = request
        self.state: State = "new"
        self.answer: Served | None = None
        self.refused = False
        """Whether the client wants a stored answer only, and there is none (504)."""
        self.follows: Flight[Future[None]] | None = None
        self.fetch: Fetch | None = None
        self.is_refresh = False
        self.refreshes = False
        """Whether the page is to be made anew, though there is an answer."""
        self.tags = tags
        self.shows: bool | None = None
        """Of a request that the view has already: whether it can see what it should not, so that nothing is kept; None:
        it will get what ``hidden`` leaves of it.
        """
        self._found: Found | None = None
        self._spare: Claim | None = None
        """A lease that is ours and of which the answer to this request makes nothing."""
        self._haste = haste(room.luck())
        self._flight: Flight[Future[None]] | None = None
        self._rounds = 0
        self._is_late = False
        self._collapsed = False
        headers = request.headers
        asked = request_directives(headers)
        self._private = "no-store" in asked or (headers.get("authorization") is not None and not entry.terms.public)
        """Whether what is made for this request is hardly for others: it waits for nobody, and nobody for it."""
        self._leads = is_for_others(request, asked)
        self._anyhow = room.honour_client and any(name in asked for name in ("no-cache", "max-age", "min-fresh"))
        names = room.memory.vary.get(name)
        names = entry.vary if names is None else together(names, entry.vary)
        self._question = Question(
            name,
            names,
            variant(headers, names),
            with_body=request.method == "GET"
            and not any(headers.get(each) is not None for each in OF_A_COPY - {"range"}),
            misses=self._leads,
            anyhow=self._anyhow,
            tags=tags,
        )

    # Before the application runs

    def local(self) -> bool:
        """Whether this process has the answer in its memory."""
        if self._anyhow or self.state != "new":
            return self.state == "answered"
        found: Found | None = self.room.memory.local.get(self._key(self._question))
        if found is None or found.page is None:
            return False
        now_us = found.time_us(monotonic())
        fresh, cost_us = found.page.freshness, found.page.cost_us
        if not fresh.is_fresh(now_us) or is_early(fresh, now_us, cost_us=cost_us, beta=self._haste, u=1 / e):
            return False
        return self._decides(found)

    def _decides(self, found: Found, *, waited: bool = False) -> bool:
        """Whether the answer is what was found before now; if not, nothing is decided."""
        before, self.state = self.state, "new"
        self._decide(found, waited=waited)
        if self._is_answered:
            return True
        self.state, self.fetch, self.refused = before, None, False
        return False

    @property
    def _is_answered(self) -> bool:
        return self.state == "answered" and not self.refused

    def ask(self) -> Flow[None]:
        """Find out what there is; never waits. Nothing is sent where another request of this process is at it."""
        if self.state == "new":
            yield from self._ask()

    def again(self) -> Flow[None]:
        """Ask anew what was asked before something else was waited for, unless it runs already with a lease."""
        if self.fetch is None or self.fetch.claim is None:
            yield from self.settle()
            self.state, self.answer, self.fetch, self.follows = "new", None, None, None
            self.refused = self.refreshes = False
            yield from self._ask()

    def wait(self) -> Flow[None]:
        """Wait for another process, as long as the settings say; a flow of its own, after ``ask``."""
        if self.state == "waits" and self._found is not None:
            try:
                found = yield from flows.wait(self.room, self._found, self.request.headers, within_s=self.room.wait_s)
            except BaseException:
                self._land()
                raise
            self._collapsed = True
            yield from self._hear(found, waited=True)

    def followed(self, *, ended: bool) -> Flow[None]:
        """The flight that is followed has ``ended``, or has taken longer than anybody waits."""
        flight = self.follows
        assert flight is not None
        if not ended and (yield from self._late(flight)):
            return
        self._rounds += 1
        self.follows, self.state = None, "new"
        made: Found | None = flight.made
        self._collapsed = True
        if made is not None and made.failed and self._is_for_us(made) and self._stands_in(made):
            return
        is_known = made is not None and not made.failed and (made.useless or made.page is not None)
        if made is not None and is_known and self._is_for_us(made):
            yield from self._hear(msgspec.structs.replace(made, question=self._asking(made)))
        elif self._rounds >= ROUNDS:
            yield from self._alone()
        else:
            yield from self._ask()

    def _late(self, flight: Flight[Future[None]]) -> Flow[bool]:
        """Whether something is done about a flight that takes long: what is stale stands in, or another run begins
        beside it, or, where there are as many as may be, it is followed on. False: it is over.
        """
        if not self._is_late:
            self._is_late = True
            found = yield from flows.look(self.room, self._question, self.request.headers, leads=False)
            page, now_us = found.page, found.time_us(monotonic())
            if page is not None and usable_on_error(page.freshness, now_us):
                found = msgspec.structs.replace(found, busy_us=0)
                if self._decides(found, waited=True):
                    self.follows = None
                    return True
        change = self.room.memory.flights.change(flight)
        if change is None:
            return False
        latest, leads = change
        self.follows = None if leads else latest
        if leads:
            self._flight = latest
            yield from self._alone()
        return True

    def alone(self) -> Flow[None]:
        """Wait for nobody of this process: ask Redis."""
        self.follows, self.state = None, "new"
        yield from self._ask(boards=False)

    def hidden(self, *, trusted: bool, own_cookies: frozenset[str], kept_fields: frozenset[str]) -> Hidden:
        """What to hide of the request from the application; see ``made.hidden``."""
        fetch = self.fetch
        return hidden(
            self.entry,
            self.request,
            trusted=trusted,
            own_cookies=own_cookies,
            kept_fields=kept_fields | {*self._question.names},
            whole=fetch is not None and fetch.claim is not None,
            validates=fetch.validates if fetch is not None else None,
            anonymous=self.is_refresh,
        )

    # After it

    @property
    def leads(self) -> bool:
        """Whether the application is to make the page, for others as well."""
        return self.fetch is not None and self.fetch.leads

    @property
    def settles(self) -> bool:
        """Whether ``settle`` has anything to do."""
        claimed = self.fetch is not None and self.fetch.settles
        return claimed or self._flight is not None or self._spare is not None

    def settle(self) -> Flow[None]:
        """Give back what nothing came of."""
        spare, self._spare = self._spare, None
        if spare is not None:
            yield from give_up(self.room, spare)
        if self.fetch is not None:
            yield from self.fetch.drop()
        self._land()

    def landed(self) -> None:
        """What the application made is stored, or is not to be: whoever follows may go on."""
        if self.fetch is None:
            return
        found = self.fetch.kept
        if found is not None:
            self.room.memory.useless.forget(self._key(found.question))
        elif self.fetch.rescued and self._found is not None:
            found = msgspec.structs.replace(self._found, failed=True)
        elif self.fetch.useless and self._found is not None:
            self.room.memory.useless.note(self._key(self._found.question))
            found = msgspec.structs.replace(self._found, page=None, useless=True)
        self._land(found)

    def refresh(self) -> "Lookup":
        """The lookup of a request that nobody sent, which makes the page anew under the lease of this one."""
        assert self._found is not None
        claim, self._spare, self.refreshes = self._spare, None, False
        headers = Without(self.request.headers, OF_A_COPY | OF_SOMEBODY)
        request = msgspec.structs.replace(self.request, method="GET", headers=headers)
        refreshing = Lookup(self.room, self.entry, request, self._question.name, self.tags)
        refreshing.is_refresh = refreshing._leads = True
        refreshing._question = self._found.question
        refreshing._run(msgspec.structs.replace(self._found, claim=claim), "stale")
        if refreshing.fetch is not None:
            refreshing.fetch.lapses = True
        return refreshing

    # What is found out

    def _ask(self, *, boards: bool = True) -> Flow[None]:
        memory, key = self.room.memory, self._key(self._question)
        if boards and not self._private and not self._anyhow and not memory.useless.knows(key):
            flight, leads = memory.flights.board(key, (self._question.name, *self.tags), leads=False)
            if not leads:
                self.follows, self.state = flight, "follows"
                return
            self._flight = flight
        mark = memory.local.mark()
        haste = self._haste if self._can_refresh(self._question) else None
        question = msgspec.structs.replace(self._question, haste=haste)
        try:
            found = yield from flows.look(self.room, question, self.request.headers, leads=True)
        except BaseException:
            self._land()
            raise
        self._question = found.question
        self._remember(mark, found)
        if found.now_us is None and self._stands_in(memory.local.last(key)):  # Redis is away
            self._land()
            return
        yield from self._hear(found)

    def _stands_in(self, found: Found | None) -> bool:
        """Whether a page is the answer where nobody can make it: while it is fresh, or may be stale after an error."""
        page = found.page if found is not None else None
        if found is None or page is None or page.body is None:
            return False
        now_us = found.time_us(monotonic())
        if not usable_on_error(page.freshness, now_us):
            return False
        self._serve(found, page, now_us, is_stale=not page.freshness.is_fresh(now_us))
        return True

    def _hear(self, found: Found, *, waited: bool = False) -> Flow[None]:
        self._decide(found, waited=waited)
        while self.state == "new":  # its body is needed
            self._spare = found.claim  # which is to be given back if this is interrupted
            question = msgspec.structs.replace(found.question, with_body=True)
            again = yield from flows.look(self.room, question, self.request.headers, leads=False)
            found = msgspec.structs.replace(again, claim=found.claim, busy_us=found.busy_us, useless=found.useless)
            self._question, self._spare = found.question, None
            self._decide(found, waited=waited)
        if self.state == "runs" and self._spare is not None:  # nobody shall wait for what is not kept
            spare, self._spare = self._spare, None
            yield from give_up(self.room, spare)
        if self.state in ("answered", "runs") and not self._is_waited_for(found):
            self._land(found if found.now_us is not None else None)

    def _is_waited_for(self, found: Found) -> bool:
        """Whether those who follow have to wait for what this request makes."""
        if self.fetch is None or self.fetch.claim is None or found.useless:
            return False
        page = found.page
        return page is None or found.time_us(monotonic()) >= page.freshness.stale_until_us

    def _decide(self, found: Found, *, waited: bool = False) -> None:
        """What becomes of the request; it stays new where the body of the page is needed first."""
        page, now_us = found.page, found.time_us(monotonic())
        has_credentials = self.request.headers.get("authorization") is not None
        if page is not None and has_credentials and not page.storable.authorized:
            found, page = msgspec.structs.replace(found, page=None), None
        self._found = found
        missing: Literal["uri-miss", "miss"] = "uri-miss" if found.names is None else "miss"
        outcome = reuse(
            self.request,
            page.storable if page is not None else None,
            now_us=now_us,
            honour_client=self.room.honour_client,
            missing=missing,
        )
        match outcome:
            case Stale() if found.claim is not None and self._leads and not self._can_refresh(found.question):
                self._run(found, "stale")
            case Fresh() | Stale() if page is not None:
                self._serve(found, page, now_us, is_stale=isinstance(outcome, Stale))
            case Unavailable():
                self.state, self.refused, self._spare = "answered", True, found.claim
            case Pass(why):
                self._run(found, why)
            case Validate() | Miss():
                self._miss(found, outcome, waited=waited)
            case _:
                self._run(found, "miss")

    def _serve(self, found: Found, page: Page, now_us: int, *, is_stale: bool) -> None:
        answer = answer_of(page, self.request, now_us)
        if needs_body(answer) and page.body is None:
            self.state = "new"
            return
        key = found.question.name if self.room.debug else None
        ttl = page.freshness.seconds_left(now_us)
        self.answer = served(page, answer, CacheStatus(hit=True, ttl=ttl, collapsed=self._collapsed, key=key))
        self.state, self._spare = "answered", found.claim
        # Not where the lease is only there because the client might not have been content with what is fresh.
        wanted = is_stale or not self._anyhow
        self.refreshes = wanted and found.claim is not None and self._can_refresh(found.question)
        self.room.tell("cache.stale" if is_stale else "cache.hit", found.question.name)

    def _can_refresh(self, question: Question) -> bool:
        """Whether a request of nobody's makes the page that this one is for."""
        return self.entry.is_anybodys() and OF_SOMEBODY.isdisjoint(question.names)

    def _miss(self, found: Found, outcome: Validate | Miss, *, waited: bool) -> None:
        waits = found.claim is None and found.busy_us is not None and not found.useless
        if waits and not self._private and outcome.why != "request":
            if not waited:
                self.state = "waits"
                return
            if self._stands_in(found):
                return
        self._run(found, outcome.why)

    def _alone(self) -> Flow[None]:
        """Nobody waits any longer: run without a lease, so that nothing is stored."""
        found = msgspec.structs.replace(self._found or Found(self._question), claim=None, busy_us=None)
        self.state = "new"
        self._decide(found)
        while self.state == "new":  # only its fields are known
            self._decide(msgspec.structs.replace(found, page=None))
        return
        yield

    def _run(self, found: Found, why: Forwarded) -> None:
        if found.claim is not None and not self._leads:
            self._spare, found = found.claim, msgspec.structs.replace(found, claim=None)
        self.state = "runs"
        self.fetch = Fetch(self.room, self.entry, self.request, found, self.tags, why)
        self.fetch.skipped = self.shows is True
        self.fetch.collapsed = self._collapsed
        if self._flight is not None:
            self.room.memory.flights.begin(self._flight)
        self.room.tell("cache.miss", found.question.name, outcome=why)

    # Those who follow, and the memory

    def _key(self, question: Question) -> str:
        return f"{question.name} {question.variant}"

    def _asking(self, made: Found) -> Question:
        return msgspec.structs.replace(self._question, names=made.question.names, variant=made.question.variant)

    def _is_for_us(self, made: Found) -> bool:
        """Whether what another request was given is the variant that this one selects."""
        return variant(self.request.headers, made.question.names) == made.question.variant

    def _land(self, found: Found | None = None) -> None:
        flight, self._flight = self._flight, None
        if flight is not None:
            if found is not None:
                flight.made = msgspec.structs.replace(found, claim=None, busy_us=None)
            self.room.memory.flights.end(flight)
            if not flight.ended.done():
                flight.ended.set_result(None)

    def _remember(self, mark: int, found: Found) -> None:
        page, local = found.page, self.room.memory.local
        if page is None or page.body is None or found.stale or self._private or self.entry.is_keyed():
            return
        if not local.on:  # it would not take it, and what it is asked with costs more than the question
            return
        depends = self.room.pages.depends(found.question.name, page.tags)
        kept = msgspec.structs.replace(found, claim=None, busy_us=None)
        _ = local.keep(mark, self._key(found.question), kept, page.size, depends)
