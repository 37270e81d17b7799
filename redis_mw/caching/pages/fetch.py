"""One run of the application for a cached route: what may be kept of its answer, and what its client gets of that.

The application was asked for the whole of it as nobody in particular (``hidden.py``), so what the client asks with
regard to its own copy is answered here.
"""

from collections.abc import Iterable
from time import monotonic
from typing import TypeAlias

import msgspec

from redis_mw.caching.leases import Claim
from redis_mw.caching.pages.asked import Asked
from redis_mw.caching.pages.entry import COOKIE, Entry
from redis_mw.caching.pages.hidden import OF_A_COPY, Without
from redis_mw.caching.pages.keep import give_up, keep
from redis_mw.caching.pages.look import Found, look
from redis_mw.caching.pages.made import made, part_of
from redis_mw.caching.pages.page import Packed, Page, squeezed
from redis_mw.caching.pages.served import Served, answer_of, needs_body, served
from redis_mw.caching.room import Room
from redis_mw.caching.rules.fields import Pairs, updated_fields
from redis_mw.caching.rules.freshness import SECOND
from redis_mw.caching.rules.invalidation import groups
from redis_mw.caching.rules.reuse import FAILURES, Forwarded, usable_on_error
from redis_mw.caching.rules.status import CacheStatus, with_status
from redis_mw.caching.rules.storing import Storable, Unstorable, storing
from redis_mw.caching.rules.validation import is_about, is_not_modified, not_modified_fields, with_etag
from redis_mw.caching.rules.vary import together, unvarying, variant, vary, varying
from redis_mw.caching.tags import MOST, name_of
from redis_mw.flows import Flow
from redis_mw.http.request import Fields, Request

OF_THE_REQUEST = frozenset({"authorization", "request-no-store", "upgrade"})
"""Why an answer cannot be stored to this request, and the same answer to another one can."""

Judgement: TypeAlias = Storable | Unstorable


class Fetch:
    """What one run gives. ``found`` is what was there before, ``claim`` the lease if it is ours to store the answer.

    In this order: ``judge`` the head of the answer, ``complete`` with its body before its end is sent; or ``rescue``
    where there is no answer. ``instead`` is then what the client gets in its place.
    """

    def __init__(self, room: Room, entry: Entry, asked: Asked, found: Found, why: Forwarded) -> None:
        self._room = room
        self._entry = entry
        self._asked = asked
        self._request = asked.request
        self._found = found
        self._began = monotonic()
        self._why: Forwarded = why
        self.claim: Claim | None = found.claim
        self.leads = found.claim is not None
        """Whether the answer is to be kept, if it may be."""
        self.lapses = False
        """Whether a run that failed is not to be tried anew before the lease ends by itself: there is a page meanwhile.
        """
        self.page: Page | None = found.page
        self.skipped = False
        """Whether the application wants its answer not to be kept."""
        self.instead: Served | None = None
        self.kept: Found | None = None
        """What is stored now, for those who follow."""
        self.rescued = False
        """Whether the run failed, and the page that was there before stood in for it."""
        self.useless = False
        """Whether the answer could not be stored, so that nobody need wait for such a one."""
        self._status = 0
        self._headers = Fields()
        self._judgement: Judgement | None = None
        self._freshened: Pairs | None = None
        """The fields of the page that was there, with what a 304 says of it."""
        self._etag: str | None = None
        self._packed: Packed | None = None
        self._stored = False
        self._more_tags: list[str] = []
        self.collapsed = False

    def tag(self, *tags: str) -> None:
        """Hang the answer on more tags; ValueError where there are too many."""
        names = tuple(dict.fromkeys((*self._asked.tags, *self._more_tags, *map(name_of, tags))))
        if len(names) > MOST:
            raise ValueError(f"{len(names)} tags: a response has {MOST} at most")
        self._more_tags = list(names[len(self._asked.tags) :])

    @property
    def validates(self) -> Page | None:
        """The page that the application is asked about, if the answer may be that it is still right."""
        page = self.page
        if self.claim is None or page is None or page.body is None:
            return None
        return page if page.conditions else None  # who was not asked has no 304 to give

    def judge(self, status: int, headers: Iterable[tuple[str, str]], *, accessed: bool, csrf: bool) -> None:
        """The head of the answer is known, as the application made it."""
        pairs = tuple(headers)
        self._status, self._headers = status, Fields(pairs)
        if self._asked.whose != "anybody":  # what the view got out of its cookie, the key tells apart
            self._headers = Fields(unvarying(pairs, COOKIE))
        if self.rescued:
            return
        self.instead = None
        if not self.leads:
            return
        now_us = self._now_us()
        page, fields = self.validates, self._headers
        if page is not None and status == 304 and is_about(fields, page.headers):
            self._freshened = updated_fields(
                page.fields,
                fields.pairs,
                received=now_us // SECOND,
                store_set_cookie=self._room.store_set_cookie,
            )
            status, fields = page.status, Fields(self._freshened)
        self._judgement = storing(
            self._as_seen(),
            status,
            fields,
            asked_us=self._found.time_us(self._began),
            received_us=now_us,
            terms=self._entry.terms,
            u=self._room.luck(),
            session_accessed=accessed,
            csrf_issued=csrf,
            store_set_cookie=self._room.store_set_cookie,
        )
        if self.skipped and isinstance(self._judgement, Storable):
            self._judgement = Unstorable("no-store")
        # A stream is judged by its head: what is the client's copy is not sent again.
        copies = self.claim is not None and self._freshened is None and status == 200
        if copies and is_not_modified(self._request.headers, fields, now=now_us // SECOND):
            self.instead = self._served(304, not_modified_fields(fields.pairs), b"")

    @property
    def records(self) -> bool:
        """Whether ``complete`` wants the body, or has something to say in its place."""
        return self.claim is not None and (self._freshened is not None or isinstance(self._judgement, Storable))

    @property
    def closes(self) -> bool:
        """Whether ``complete`` has something to do without the body: a lease is given back, a stored page stands in."""
        failed = self._status in FAILURES and not self.rescued
        if failed and self.page is not None and usable_on_error(self.page.freshness, self._now_us()):
            return True
        return self.claim is not None and self._judgement is not None and not self.records

    def pack(self, body: bytes) -> None:
        """Compress the body beforehand: it takes a while for a large one, so it may be done on another thread."""
        judgement = self._judgement
        if isinstance(judgement, Storable) and self.claim is not None and self._freshened is None and self._fits(body):
            self._packed = squeezed(self._made(judgement, body), self._room.compress_from)

    def complete(self, body: bytes | None, *, accessed: bool, csrf: bool, sent: bool = False) -> Flow[None]:
        """Store the answer before its end is sent, or give the lease back. Once; later calls do nothing.

        A ``body`` of None was too large, or nobody has all of it. ``sent``: its head has been, so nothing can take its
        place.
        """
        judgement = self._judgement
        failed = self._status in FAILURES and self.page is not None
        if failed and self.lapses:
            yield from self.drop()
        if failed and not sent and (yield from self.rescue(self._status)):
            return
        if (accessed or csrf) and isinstance(judgement, Storable):
            judgement = self._judgement = Unstorable("session" if accessed else "csrf")
        claim, self.claim = self.claim, None
        if claim is None:
            return
        if isinstance(judgement, Storable) and (self._freshened is not None or (body is not None and self._fits(body))):
            yield from self._keep(claim, judgement, body or b"")
        else:
            reason = judgement.reason if isinstance(judgement, Unstorable) else "body"
            self.useless = reason not in OF_THE_REQUEST
            self._room.tell("cache.pass", self._found.question.name, outcome=reason)
            yield from give_up(self._room, claim, useless=self.useless)
        if self._freshened is not None and not sent:
            yield from self._send_page()
        elif body is not None and not sent:
            self._answer_copy(body)

    def rescue(self, failed_with: int | None = None) -> Flow[bool]:
        """Whether a stored page stands in for an answer that failed, or never came (RFC 5861 section 4)."""
        page, now_us = self.page, self._now_us()
        if page is None or not usable_on_error(page.freshness, now_us):
            return False
        self.rescued = True
        yield from self.drop()
        status = CacheStatus(
            forwarded="stale",
            status=failed_with,
            ttl=page.freshness.seconds_left(now_us),
            detail=None if failed_with is not None else "error",
        )
        self.instead = yield from self._of_page(page, status)
        if self.instead is not None:
            self._room.tell("cache.stale", self._found.question.name, outcome="error")
        return self.instead is not None

    def drop(self) -> Flow[None]:
        """Nothing comes of it: give the lease back, or let it lapse."""
        claim, self.claim = self.claim, None
        if claim is not None and self.lapses:
            self._room.memory.page_leases.drop(claim)
            self._room.tell("cache.stale", self._found.question.name, outcome="not refreshed")
        elif claim is not None:
            yield from give_up(self._room, claim)

    def fields(self) -> Pairs:
        """What the answer of the application gets besides its own fields."""
        more = (("ETag", self._etag),) if self._etag is not None and self._headers.get("etag") is None else ()
        return with_status(more, self.status())

    def status(self) -> CacheStatus:
        """What became of the request."""
        judgement = self._judgement
        return CacheStatus(
            forwarded=self._why,
            stored=self._stored,
            collapsed=self.collapsed,
            detail=judgement.reason if self.leads and isinstance(judgement, Unstorable) else None,
            key=self._found.question.name if self._room.debug else None,
        )

    def _keep(self, claim: Claim, judgement: Storable, body: bytes) -> Flow[None]:
        page = self._made(judgement, body)
        packed = self._packed or squeezed(page, self._room.compress_from)
        keeps_us = None
        if self._freshened is not None and self.page is not None:
            keeps_us = self.page.freshness.received_us
        says = together(self._entry.vary, vary(page.headers))
        headers = self._request.headers
        kept = yield from keep(self._room, self._found, claim, page, packed, says, headers, keeps_us=keeps_us)
        self._stored = kept == "stored"
        if kept == "full":
            self.useless = True
        if not self._stored:
            return
        names = together(self._found.names or (), says)
        question = msgspec.structs.replace(self._found.question, names=names, variant=variant(headers, names))
        if page.body is not None:
            self.kept = msgspec.structs.replace(
                self._found,
                question=question,
                page=page,
                stale=False,
                names=names,
                claim=None,
                busy_us=None,
            )
        if self._freshened is not None:
            self.page = page

    def _made(self, storable: Storable, body: bytes) -> Page:
        """The page that the answer is, or makes of the one before."""
        if self._freshened is not None and self.page is not None:
            tags = self._all_tags(self.page.tags)  # a 304 need not name them again
            return msgspec.structs.replace(self.page, fields=self._freshened, storable=storable, tags=tags)
        page = made(
            self._found.question,
            self._status,
            self._headers,
            body,
            storable,
            cost_us=self._cost_us(),
            tags=self._all_tags(),
            store_set_cookie=self._room.store_set_cookie,
        )
        self._etag = page.headers.get("etag") if page.own_etag else None
        return page

    def _all_tags(self, more: Iterable[str] = ()) -> tuple[str, ...]:
        """Those of the rule, those that were named in the view, and the groups of the answer; so many at most."""
        named = map(name_of, groups(self._headers))
        return tuple(dict.fromkeys((*self._asked.tags, *self._more_tags, *named, *more)))[:MOST]

    def _cost_us(self) -> int:
        cost_us = int((monotonic() - self._began) * 1e6)
        before = self.page.cost_us if self.page is not None else 0
        return (cost_us + before) // 2 if before else cost_us

    def _fits(self, body: bytes) -> bool:
        """Whether it is all that was announced, and not too large."""
        announced = self._headers.get("content-length")
        return len(body) <= self._room.largest_body and (announced is None or announced.strip() == str(len(body)))

    def _as_seen(self) -> Request:
        """The request as the application saw it."""
        if not self.leads:
            return self._request
        return msgspec.structs.replace(self._request, headers=Without(self._request.headers, OF_A_COPY))

    def _now_us(self) -> int:
        return self._found.time_us(monotonic())

    def _answer_copy(self, body: bytes) -> None:
        """Answer what the client asks with regard to its copy, or a part; everything is known now."""
        if self._status == 200 and self._request.headers.has_any(OF_A_COPY):
            fields = self._headers.pairs if self._etag is None else with_etag(self._headers.pairs, self._etag)
            part = part_of(self._request, fields, len(body), now=self._now_us() // SECOND)
            if part is not None:
                self.instead = self._served(part.status, part.fields, body[part.start : part.stop])

    def _served(self, status: int, fields: Pairs, body: bytes) -> Served:
        """What the client gets of the application's own answer."""
        return Served(status, with_status(varying(fields, self._asked.varies), self.status()), body)

    def _send_page(self) -> Flow[None]:
        """The application has said that the page is still right: it is the answer."""
        assert self.page is not None
        status = CacheStatus(forwarded=self._why, status=304, stored=self._stored, collapsed=self.collapsed)
        self.instead = yield from self._of_page(self.page, status)

    def _of_page(self, page: Page, status: CacheStatus) -> Flow[Served | None]:
        """What the client gets of a page, whose body may have to be fetched first."""
        found = answer_of(page, self._request, self._now_us())
        if needs_body(found) and page.body is None:
            question = msgspec.structs.replace(self._found.question, with_body=True)
            looked = yield from look(self._room, question, self._request.headers, leads=False)
            if looked.page is None or looked.page.body is None:
                return None
            page = looked.page
            found = answer_of(page, self._request, self._now_us())
        return served(page, found, status, self._asked.varies)
