"""What a client gets of a page: the answer to its own request, with the fields that say where it comes from."""

import msgspec

from redis_mw.caching.pages.page import Page
from redis_mw.caching.rules.answer import Answer, answer
from redis_mw.caching.rules.fields import Pairs
from redis_mw.caching.rules.freshness import SECOND
from redis_mw.caching.rules.status import CacheStatus, with_status
from redis_mw.caching.rules.vary import varying
from redis_mw.http.request import Request


class Served(msgspec.Struct, frozen=True, gc=False):
    """A response as it is to be sent; its fields are all there, the length of its body too where it has one."""

    status: int
    fields: Pairs
    body: bytes


def answer_of(page: Page, request: Request, now_us: int) -> Answer:
    """The answer that a page is to a request, without its bytes."""
    age_us = page.freshness.age_at(now_us)
    return answer(request, page.status, page.fields, page.length, age_us=age_us, now=now_us // SECOND)


def served(page: Page, found: Answer, status: CacheStatus, varies: tuple[str, ...] = ()) -> Served:
    """The same with its bytes, which have to be there where it needs any; ``varies`` is what its Vary says at least."""
    body = b"" if found.start >= found.stop else (page.body or b"")[found.start : found.stop]
    return Served(found.status, with_status(varying(found.fields, varies), status), body)


def needs_body(found: Answer) -> bool:
    """Whether the answer has bytes of the page's body."""
    return found.stop > found.start
