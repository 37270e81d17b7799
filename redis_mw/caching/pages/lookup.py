"""One request of a cached route on its way to an answer: from this process's memory, from Redis, by another request
that is at work on it, or by the application.

The layer holds a ``Lookup`` beside the session's ``Visit`` and the locks' ``Turn``. It does no I/O itself, and is used
by one request only.
"""

from math import e
from time import monotonic
from typing import Any, Literal, TypeAlias

import msgspec

from redis_mw.caching.leases import Claim
from redis_mw.caching.lifetimes import haste
from redis_mw.caching.pages import look as flows
from redis_mw.caching.pages.asked import Asked, asked
from redis_mw.caching.pages.boarding import Boarding, PageFlight
from redis_mw.caching.pages.deciding import Decision, Incomplete, Refuse, Run, Serve, Wait, decide, stand_in
from redis_mw.caching.pages.entry import Entry, Whose
from redis_mw.caching.pages.fetch import Fetch
from redis_mw.caching.pages.hidden import Hidden, hidden
from redis_mw.caching.pages.keep import give_up
from redis_mw.caching.pages.look import Found
from redis_mw.caching.pages.names import is_among
from redis_mw.caching.pages.remembered import Remembered, page_of
from redis_mw.caching.pages.served import Served, served
from redis_mw.caching.room import Room
from redis_mw.caching.rules.freshness import is_early
from redis_mw.caching.rules.reuse import Forwarded
from redis_mw.caching.rules.status import CacheStatus
from redis_mw.caching.rules.vary import variant
from redis_mw.flows import Flow
from redis_mw.http.request import Request
from redis_mw.policy.templates import Fill

ROUNDS = 3
"""How often a request follows others that come to nothing, or to no end, before it runs for itself."""

State: TypeAlias = Literal["new", "answered", "waits", "follows", "runs"]


def begin(
    room: Room, entry: Entry, request: Request, native: Any, fill: Fill, *, whose: Whose = "anybody"
) -> "Lookup | None":
    """The lookup that a request of this route is; None where nothing of it may be shared: it passes uncached.

    ``whose`` is what the entry says of its path. Costs no command. Calls what users wrote for the key, which may raise.
    """
    if room.hosts and not entry.any_host and not is_among(request.host, room.hosts):
        return None
    name = entry.name(request, native, fill)
    if name is None:
        return None
    return Lookup(room, entry, asked(room, entry, request, name, entry.tags(request, fill), whose=whose))


class Lookup:
    """What this process knows of one request of a cached route.

    In this order: ``local``; ``ask``; then, as its ``state`` says, ``wait``, or let the flight end that it ``follows``
    and say ``followed``; until it is answered (``answer``, ``refused``, and perhaps ``refreshes``), or runs
    (``fetch``). In the end ``settle``, which nobody needs to wait for.
    """

    def __init__(self, room: Room, entry: Entry, asked: Asked) -> None:
        self.room = room
        self.entry = entry
        self.asked = asked
        self.state: State = "new"
        self.answer: Served | None = None
        self.refused = False
        """Whether the client wants a stored answer only, and there is none (504)."""
        self.follows: PageFlight | None = None
        self.fetch: Fetch | None = None
        self.refreshes = False
        """Whether the page is to be made anew, though there is an answer."""
        self.shows: bool | None = None
        """Of a request that the view has already: whether it can see what it should not, so that nothing is kept; None:
        it will get what ``hidden`` leaves of it.
        """
        self._memory = room.memory
        self._boarding = Boarding(self._memory)
        self._question = asked.question
        self._found: Found | None = None
        self._spare: Claim | None = None
        """A lease that is ours and of which the answer to this request makes nothing."""
        self._haste = haste(room.luck())
        self._searched = False
        self._rounds = 0
        self._is_late = False
        self._collapsed = False

    @property
    def request(self) -> Request:
        return self.asked.request

    # Before the application runs

    def local(self) -> bool:
        """Whether this process has the answer in its memory."""
        if self.asked.anyhow or self._searched or self.state != "new":
            return self.state == "answered"
        self._searched = True
        kept: Remembered | None = self._memory.local.get(page_of(self._question))
        if kept is None:
            return False
        found, fresh, cost_us = kept.found, kept.page.freshness, kept.page.cost_us
        now_us = found.time_us(monotonic())
        if not fresh.is_fresh(now_us) or is_early(fresh, now_us, cost_us=cost_us, beta=self._haste, u=1 / e):
            return False
        return self._serves(found, self._decided(found))

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
                self._boarding.land()
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
        self.follows, self._collapsed = None, True
        made: Found | None = flight.made
        if made is not None and not self._is_for_us(made):
            made = None
        if made is not None and made.failed and self._stands_in(made):
            return
        if made is not None and not made.failed and (made.useless or made.page is not None):
            question = msgspec.structs.replace(self._question, names=made.question.names, variant=made.question.variant)
            yield from self._hear(msgspec.structs.replace(made, question=question))
        elif self._rounds >= ROUNDS:
            self._run_alone()
        else:
            yield from self._ask()

    def alone(self) -> Flow[None]:
        """Wait for nobody of this process: ask Redis."""
        self.follows = None
        yield from self._ask(boards=False)

    def hidden(self, *, trusted: bool, own_cookies: frozenset[str], kept_fields: frozenset[str]) -> Hidden:
        """What to hide of the request from the application; see ``hidden.py``."""
        fetch = self.fetch
        return hidden(
            self.entry,
            self.request,
            trusted=trusted,
            own_cookies=own_cookies,
            kept_fields=kept_fields | {*self._question.names},
            whole=fetch is not None and fetch.claim is not None,
            validates=fetch.validates if fetch is not None else None,
            anonymous=self.asked.nobodys,
        )

    # After it

    @property
    def leads(self) -> bool:
        """Whether the application is to make the page, for others as well."""
        return self.fetch is not None and self.fetch.leads

    @property
    def settles(self) -> bool:
        """Whether ``settle`` has anything to do."""
        claimed = self.fetch is not None and self.fetch.claim is not None
        return claimed or self._boarding.leads is not None or self._spare is not None

    def settle(self) -> Flow[None]:
        """Give back what nothing came of."""
        yield from self._spared()
        if self.fetch is not None:
            yield from self.fetch.drop()
        self._boarding.land()

    def complete(self, body: bytes | None, *, accessed: bool, csrf: bool, sent: bool) -> Flow[None]:
        """Store what the application made, or give the lease back, see ``Fetch.complete``; then who follows goes on.

        Who comes while it is stored does not follow: it may have been dropped again before that.
        """
        if self.fetch is not None:
            self._boarding.close()
            yield from self.fetch.complete(body, accessed=accessed, csrf=csrf, sent=sent)
            self._land(self.fetch)

    def rescue(self) -> Flow[None]:
        """The application has failed: whoever follows gets what stands in for it, if anything does."""
        if self.fetch is not None and (yield from self.fetch.rescue()):
            self._land(self.fetch)

    def refresh(self) -> "Lookup":
        """The lookup of a request that nobody sent, which makes the page anew under the lease of this one."""
        assert self._found is not None
        claim, self._spare, self.refreshes = self._spare, None, False
        refreshing = Lookup(self.room, self.entry, self.asked.of_nobody(self._found.question))
        refreshing._run(msgspec.structs.replace(self._found, claim=claim), "stale").lapses = True
        return refreshing

    # What is found out

    def _ask(self, *, boards: bool = True) -> Flow[None]:
        if boards and not self.asked.alone:
            self.follows = self._boarding.board(self._question)
            if self.follows is not None:
                self.state = "follows"
                return
        local, page = self._memory.local, page_of(self._question)
        mark, haste = local.mark(), self._haste if self.asked.is_refreshable(self._question) else None
        question = msgspec.structs.replace(self._question, haste=haste)
        try:
            found = yield from flows.look(self.room, question, self.request.headers, leads=True)
        except BaseException:
            self._boarding.land()
            raise
        self._question = found.question
        self._remember(mark, found)
        if found.now_us is None:  # Redis is away
            last: Remembered | None = local.last(page)
            if last is not None and self._stands_in(last.found):
                self._boarding.land()
                return
        yield from self._hear(found)

    def _hear(self, found: Found, *, waited: bool = False) -> Flow[None]:
        """Do what follows from what was found; where the body is needed for that, fetch it first."""
        while isinstance(decision := self._decided(found, waited=waited), Incomplete):
            self._spare = found.claim  # which is to be given back if this is interrupted
            question = msgspec.structs.replace(found.question, with_body=True)
            again = yield from flows.look(self.room, question, self.request.headers, leads=False)
            found = msgspec.structs.replace(again, claim=found.claim, busy_us=found.busy_us, useless=found.useless)
            self._question, self._spare = found.question, None
        self._do(found, decision)
        if self.state == "runs":
            yield from self._spared()  # nobody shall wait for what is not kept
        if self.state in ("answered", "runs") and not self._is_waited_for(found):
            self._boarding.land(found if found.now_us is not None else None)

    def _late(self, flight: PageFlight) -> Flow[bool]:
        """Whether something is done about a flight that takes long: what is stale stands in, or another run begins
        beside it, or, where there are as many as may be, it is followed on. False: it is over.
        """
        if not self._is_late:
            self._is_late = True
            found = yield from flows.look(self.room, self._question, self.request.headers, leads=False)
            if self._stands_in(found):
                self.follows = None
                return True
        self.follows = self._boarding.change(flight)
        if self.follows is None and self._boarding.leads is None:
            return False
        if self.follows is None:
            self._run_alone()
        return True

    def _do(self, found: Found, decision: Decision) -> None:
        match decision:
            case Serve():
                _ = self._serves(found, decision)
            case Run(known, why):
                _ = self._run(known, why)
            case Wait():
                self._found, self.state = found, "waits"
            case Refuse():
                self.state, self.refused, self._spare = "answered", True, found.claim
            case Incomplete():
                _ = self._run(msgspec.structs.replace(found, page=None), "miss")

    def _decided(self, found: Found, *, waited: bool = False) -> Decision:
        now_us = found.time_us(monotonic())
        return decide(self.asked, found, now_us, honour_client=self.room.honour_client, waited=waited)

    def _stands_in(self, found: Found) -> bool:
        """Whether a page is the answer where nobody can make it now."""
        return self._serves(found, stand_in(self.asked, found, found.time_us(monotonic())))

    def _serves(self, found: Found, decision: Decision | None) -> bool:
        """Whether the decision is to serve a page, which is done then."""
        if not isinstance(decision, Serve):
            return False
        key = found.question.name if self.room.debug else None
        ttl = decision.page.freshness.seconds_left(found.time_us(monotonic()))
        status = CacheStatus(hit=True, ttl=ttl, collapsed=self._collapsed, key=key)
        self.answer = served(decision.page, decision.answer, status, self.asked.varies)
        self._found, self._spare, self.refreshes = found, found.claim, decision.refreshes
        self.state = "answered"
        self.room.tell("cache.stale" if decision.is_stale else "cache.hit", found.question.name)
        return True

    def _run_alone(self) -> None:
        """Nobody waits any longer: run without a lease, so that nothing is stored."""
        found = msgspec.structs.replace(self._found or Found(self._question), claim=None, busy_us=None)
        self._do(found, self._decided(found))

    def _run(self, found: Found, why: Forwarded) -> Fetch:
        if not self.asked.leads:
            self._spare, found = found.claim, msgspec.structs.replace(found, claim=None)
        self._found, self.state = found, "runs"
        self.fetch = Fetch(self.room, self.entry, self.asked, found, why)
        self.fetch.skipped = self.shows is True
        self.fetch.collapsed = self._collapsed
        self._boarding.begin()
        self.room.tell("cache.miss", found.question.name, outcome=why)
        return self.fetch

    def _spared(self) -> Flow[None]:
        spare, self._spare = self._spare, None
        if spare is not None:
            yield from give_up(self.room, spare)

    # Those who follow, and the memory

    def _is_waited_for(self, found: Found) -> bool:
        """Whether those who follow have to wait for what this request makes."""
        if self.fetch is None or self.fetch.claim is None or found.useless:
            return False
        page = found.page
        return page is None or found.time_us(monotonic()) >= page.freshness.stale_until_us

    def _is_for_us(self, made: Found) -> bool:
        """Whether what another request was given is the variant that this one selects."""
        return variant(self.request.headers, made.question.names) == made.question.variant

    def _land(self, fetch: Fetch) -> None:
        """What the application made is stored, or is not to be: whoever follows may go on."""
        found, before = fetch.kept, self._found
        if found is not None:
            self._memory.useless.forget(page_of(found.question))
        elif fetch.rescued and before is not None:
            found = msgspec.structs.replace(before, failed=True)
        elif fetch.useless and before is not None:
            self._memory.useless.note(page_of(before.question))
            found = msgspec.structs.replace(before, page=None, useless=True)
        self._boarding.land(found)

    def _remember(self, mark: int, found: Found) -> None:
        page, local = found.page, self._memory.local
        if page is None or page.body is None or found.stale or found.behind:
            return
        if self.asked.private or self.entry.is_keyed():
            return
        if local.on:  # else it would not take it, and what it is asked with costs more than the question
            kept = Remembered(msgspec.structs.replace(found, claim=None, busy_us=None), page)
            depends = self.room.pages.depends(found.question.name, page.tags)
            _ = local.keep(mark, page_of(found.question), kept, page.size, depends)
