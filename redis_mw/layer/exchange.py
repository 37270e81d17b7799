"""One request and its response as the layer sees them: values that its flows take and give."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from math import ceil
from typing import Any, NamedTuple, TypeAlias

import msgspec

from redis_mw.caching.flights import Flight
from redis_mw.caching.pages.entry import Entry as Cached
from redis_mw.caching.pages.lookup import Lookup
from redis_mw.caching.pages.names import Url
from redis_mw.caching.pages.served import Served
from redis_mw.errors import (
    IdempotencyError,
    LeaseLost,
    RedisMWError,
    Refusal,
    Refused,
    SessionLimitReached,
    SessionUnavailable,
)
from redis_mw.flows import Flow
from redis_mw.http.cookies import SetCookie
from redis_mw.http.problems import phrase, problem
from redis_mw.http.request import Request
from redis_mw.idempotency.attempt import Attempt
from redis_mw.idempotency.entry import Entry as Claimed
from redis_mw.idempotency.response import Stored
from redis_mw.limits.entry import Entry
from redis_mw.limits.tally import Tally
from redis_mw.locks.entry import Entry as Locked
from redis_mw.locks.hold import Hold
from redis_mw.locks.turn import Turn
from redis_mw.policy.marks import Mark, Placed
from redis_mw.policy.table import Policies, SessionPolicy
from redis_mw.sessions.visit import Visit


class Wrong(NamedTuple):
    """URLs, and names of tags, whose pages are wrong now."""

    urls: tuple[Url, ...] = ()
    tags: tuple[str, ...] = ()


Views: TypeAlias = Callable[[str], Iterable[Placed]]


def no_views(path: str) -> Iterable[Placed]:
    """Where nobody knows."""
    return ()


Headers: TypeAlias = tuple[tuple[str, str], ...]


class Response(msgspec.Struct, frozen=True):
    """An answer of the layer's own, or one that the application gave before.

    ``complete``: the length of its body is among its fields, if that is to be told; else whoever sends it says that.
    """

    status: int
    headers: Headers
    body: bytes
    complete: bool = False


class Exchange(msgspec.Struct):
    """A request on its way; ``visit`` is its session, None where the application has none.

    ``native`` is the framework's own request, ``route`` its name for where this one goes, ``parameters`` those of its
    path as the framework has converted them, written as text. ``entries`` are the limits that hold for it; ``locks``
    and ``claims`` (of the idempotency key) what is still to be asked: of a view, or, where it says nothing, of the
    rules (``ruled``). ``held`` are the marks of views that were asked, ``seen`` those that are to be.

    ``tally`` is what the limits said once they were asked, ``attempt`` what is known of the key, or ``invalid`` what is
    wrong with it, ``turns`` the locks, ``lookup`` what is known of the page that it is for (a policy of ``pages``, else
    of the rules). ``turned`` is what refused the request, or answered it, ``broken`` what went wrong while all that was
    asked.

    ``status``, ``headers`` and ``answer`` (the framework's own response) are what limits are settled by; whoever does
    not say them let the request fail. ``started`` says that the client has seen the head of the application's response.
    ``accessed`` and ``csrf`` say that what it answers may be for this visitor only: its session was looked at, a token
    was issued. ``wrong`` is what it has made wrong in the cache and is not forgotten there yet. ``after`` is clean-up
    that the response need not wait for. ``refreshing``: nobody has sent it and nobody waits for the response, which is
    to be kept. ``views`` tells the marks of the view that would answer a GET for a path.
    """

    request: Request
    policy: SessionPolicy
    visit: Visit | None = None
    native: Any = None
    route: str = ""
    parameters: Mapping[str, str] = {}
    entries: tuple[Entry, ...] = ()
    locks: tuple[Locked, ...] = ()
    claims: tuple[Claimed, ...] = ()
    pages: tuple[Cached, ...] = ()
    ruled: Policies = Policies()
    held: set[Mark] = msgspec.field(default_factory=set)
    seen: set[Mark] = msgspec.field(default_factory=set)
    tally: Tally | None = None
    attempt: Attempt | None = None
    invalid: IdempotencyError | None = None
    turns: list[Turn] = []
    lookup: Lookup | None = None
    turned: "Respond | Replay | None" = None
    broken: BaseException | None = None
    status: int = 500
    headers: Headers = ()
    answer: Any = None
    started: bool = False
    accessed: bool = False
    csrf: bool = False
    wrong: Wrong = Wrong()
    refreshing: bool = False
    views: Views = no_views
    after: Callable[[], Flow[Any]] | None = None

    @property
    def asks(self) -> bool:
        """Whether something is to be asked before the application may run, sessions apart."""
        ruled = self.ruled
        if self.refreshing:
            return False
        here = self.entries or self.locks or self.claims or self.pages
        return bool(here or ruled.lock or ruled.idempotency or ruled.cache)

    @property
    def is_paged(self) -> bool:
        """Whether a policy has the response kept, or given as it was kept."""
        return bool(self.pages) or self.ruled.cache is not None

    @property
    def leads(self) -> bool:
        """Whether what the application answers is to be kept for others as well, who may wait for it."""
        return self.lookup is not None and self.lookup.leads

    @property
    def stopped(self) -> bool:
        """Whether the application must not run, or go on."""
        return self.turned is not None or self.broken is not None

    def passed(self, mark: Mark) -> bool:
        """Whether a mark need not be enforced any more: it was, and the request may go on."""
        return (mark in self.held and not self.stopped) or self.refreshing

    @property
    def hold(self) -> Hold | None:
        """The locks that the request holds; where some were taken late, the first."""
        return next((turn.hold for turn in self.turns if turn.hold is not None), None)


class Proceed(msgspec.Struct, frozen=True, gc=False):
    """Let the application answer."""


class Respond(msgspec.Struct, frozen=True):
    """Send ``response``, which tells of ``refusal``; the application does not run, or what it answered is not sent."""

    response: Response
    refusal: Refusal


class Replay(msgspec.Struct, frozen=True):
    """Send what the application has answered before, to the same request or to one like it; it does not run.

    Names of fields may repeat.
    """

    response: Response


class Follow(msgspec.Struct, frozen=True):
    """Another request of this process is at work on the same page: wait until its ``flight`` has ended, for so many
    seconds at most, then go on by ``follow``.
    """

    flight: Flight[Future[None]]
    seconds: float


Opened: TypeAlias = "Proceed | Respond | Replay | Follow"


class Replayed(RedisMWError):
    """A view was not run, because its request has run before: what carries the answer past the view."""

    def __init__(self, response: Response) -> None:
        self.response = response
        super().__init__("the request has run before; this carries its answer out of the view")


class Committed(msgspec.Struct, frozen=True):
    """What the response still needs: the session cookie, or to be replaced by ``respond``.

    ``lost`` says that there was something to write, and the session had ended, or was regenerated, meanwhile.
    """

    set_cookie: SetCookie | None = None
    respond: Respond | None = None
    lost: bool = False


def raised(answer: Respond | Replay) -> Exception:
    """What takes the place of a view that must not run, as an exception."""
    return Replayed(answer.response) if isinstance(answer, Replay) else answer.refusal


def respond(exchange: Exchange, refusal: Refusal) -> Respond:
    """The refusal and how this request is told of it."""
    fields = exchange.tally.fields() if exchange.tally is not None else ()
    return Respond(refused(refusal, exchange.request.headers.get("accept"), fields), refusal)


def replayed(stored: Stored) -> Replay:
    """What was answered before."""
    return Replay(Response(stored.status, stored.headers, stored.body or b""))


def of_page(served: Served) -> Replay:
    """What is stored of a page."""
    return Replay(Response(served.status, served.fields, served.body, complete=True))


def unavailable(exchange: Exchange, retry_after: float) -> Respond:
    """503 with ``Retry-After``: the request needs its session, and nobody knows it just now."""
    return respond(exchange, SessionUnavailable(retry_after=retry_after))


def refused(refusal: Refusal, accept: str | None, fields: Iterable[tuple[str, str]] = ()) -> Response:
    """How a refusal is told to a client with this Accept field; ``Retry-After`` where waiting helps."""
    title, about = phrase(refusal.status), {"detail": detail_of(refusal)}
    members = dict(refusal.problem) if isinstance(refusal, Refused) else about
    content_type, body = problem(refusal.status, members.pop("title", title), accept=accept, **members)
    headers = [("content-type", content_type), *fields]
    if not isinstance(refusal, SessionLimitReached) and refusal.retry_after is not None:
        headers.append(("retry-after", str(max(1, ceil(refusal.retry_after)))))
    return Response(refusal.status, tuple(headers), body)


def detail_of(refusal: Refusal) -> str:
    """What the client may know of it; never an address or a reason of Redis's."""
    match refusal:
        case Refused():
            return str(refusal.problem.get("detail") or phrase(refusal.status))  # its text may name locks
        case LeaseLost():
            return "Another request has taken over what this one was at work on."
        case SessionLimitReached():
            return "This user has as many sessions as are allowed."
        case SessionUnavailable():
            return "The session store is unavailable."
        case _:
            return "A part of this service is unavailable."
