"""What the application made: the page that its answer is, and what a client gets of it where it asked with regard to a
copy or a part.
"""

import msgspec

from redis_mw.caching.pages.commands import Question
from redis_mw.caching.pages.page import Page
from redis_mw.caching.rules.answer import Answer, answer
from redis_mw.caching.rules.fields import Pairs, stored_fields, without
from redis_mw.caching.rules.freshness import SECOND
from redis_mw.caching.rules.storing import Storable
from redis_mw.caching.rules.validation import own_etag, with_etag
from redis_mw.http.request import Fields, Request


def made(
    question: Question,
    status: int,
    headers: Fields,
    body: bytes,
    storable: Storable,
    *,
    cost_us: int,
    tags: tuple[str, ...],
    store_set_cookie: bool,
) -> Page:
    """The page that an answer is; a 200 without an ETag gets one of ours."""
    received = storable.freshness.received_us // SECOND
    fields = stored_fields(headers.pairs, received=received, store_set_cookie=store_set_cookie)
    lacks = status == 200 and headers.get("etag") is None
    if lacks:
        fields = with_etag(fields, own_etag(question.name, question.variant, body))
    page = Page(status=status, fields=fields, storable=storable, cost_us=cost_us, own_etag=lacks, tags=tags)
    return page.with_body(body)


def part_of(request: Request, fields: Pairs, length: int, *, now: int) -> Answer | None:
    """The answer to who asked for a part of a 200, or whether his copy is still right; None: the whole of it."""
    part = answer(request, 200, without(fields, "content-length"), length, age_us=0, now=now)
    return msgspec.structs.replace(part, fields=without(part.fields, "age")) if part.status != 200 else None
