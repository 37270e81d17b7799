"""What becomes of a request by what was found: pure, and the same wherever that was found."""

from typing import TypeAlias

import msgspec

from redis_mw.caching.pages.asked import Asked
from redis_mw.caching.pages.look import Found
from redis_mw.caching.pages.page import Page
from redis_mw.caching.pages.served import answer_of, needs_body
from redis_mw.caching.rules.answer import Answer
from redis_mw.caching.rules.reuse import (
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


class Serve(msgspec.Struct, frozen=True, gc=False):
    """The page is the answer; ``refreshes``: and it is to be made anew behind the visitor's back."""

    page: Page
    answer: Answer
    is_stale: bool
    refreshes: bool


class Run(msgspec.Struct, frozen=True, gc=False):
    """The application answers; it has what was ``found``, as far as that is for this request."""

    found: Found
    why: Forwarded


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Another process makes the page."""


class Refuse(msgspec.Struct, frozen=True, gc=False):
    """Only a stored answer would do, and there is none (504)."""


class Incomplete(msgspec.Struct, frozen=True, gc=False):
    """The body of the page is needed first."""


Decision: TypeAlias = Serve | Run | Wait | Refuse | Incomplete


def decide(asked: Asked, found: Found, now_us: int, *, honour_client: bool, waited: bool = False) -> Decision:
    """What to do; ``waited``: the time to wait for others is over, so nobody is waited for."""
    if not _is_for(asked, found.page):
        # Nor may it stand in for an answer that failed, or be what the application is asked about.
        found = msgspec.structs.replace(found, page=None)
    page = found.page
    outcome = reuse(
        asked.request,
        page.storable if page is not None else None,
        now_us=now_us,
        honour_client=honour_client,
        missing="uri-miss" if found.names is None else "miss",
    )
    match outcome:
        case Stale() if found.claim is not None and asked.leads and not asked.is_refreshable(found.question):
            return Run(found, "stale")
        case Fresh() | Stale() if page is not None:
            return _serve(asked, found, page, now_us, is_stale=isinstance(outcome, Stale))
        case Unavailable():
            return Refuse()
        case Pass(why):
            return Run(found, why)
        case Validate(why) | Miss(why):
            others = found.claim is None and found.busy_us is not None and not found.useless
            if not others or asked.alone or why == "request":
                return Run(found, why)
            if not waited:
                return Wait()
            return stand_in(asked, found, now_us) or Run(found, why)
        case _:
            return Run(found, "miss")


def stand_in(asked: Asked, found: Found, now_us: int) -> Serve | None:
    """The page where nobody can make it now: while it is fresh, or may be used after an error; with its body only."""
    page = found.page
    if page is None or page.body is None or not _is_for(asked, page) or not usable_on_error(page.freshness, now_us):
        return None
    served = _serve(asked, found, page, now_us, is_stale=not page.freshness.is_fresh(now_us))
    return served if isinstance(served, Serve) else None


def _is_for(asked: Asked, page: Page | None) -> bool:
    """Whether a page may be given to whoever sent this request (RFC 9111 section 3.5)."""
    return page is None or not asked.private or page.storable.authorized


def _serve(asked: Asked, found: Found, page: Page, now_us: int, *, is_stale: bool) -> Serve | Incomplete:
    answer = answer_of(page, asked.request, now_us)
    if needs_body(answer) and page.body is None:
        return Incomplete()
    # Not where the lease is only there because the client might not have been content with what is fresh.
    wanted = found.claim is not None and (is_stale or not asked.anyhow)
    return Serve(page, answer, is_stale, refreshes=wanted and asked.is_refreshable(found.question))
