"""What is asked for a request before it runs, in one round trip where nothing has to be waited for.

In this order, also within the batch: limits, the idempotency key, locks, the session, the page. What comes first
decides: of a request that a limit refuses, or that is answered by a replay, the claim, the locks and places in queues
are given back by the layer's ``finish``, which nobody waits for.

A page that this process has in its memory is the answer before anything is asked, where nothing comes before it.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from redis_mw.caching.pages import lookup as pages
from redis_mw.caching.pages.entry import Entry as Page
from redis_mw.caching.pages.hidden import Hidden
from redis_mw.caching.pages.lookup import Lookup
from redis_mw.caching.pages.remembered import remembered
from redis_mw.caching.pages.served import Served
from redis_mw.caching.rules.status import CacheStatus
from redis_mw.errors import Refusal, SessionUnavailable
from redis_mw.flows import Flow, together
from redis_mw.http.request import Headers
from redis_mw.idempotency.attempt import Attempt, begin
from redis_mw.idempotency.response import Stored
from redis_mw.layer.exchange import Exchange
from redis_mw.layer.rooms import Rooms
from redis_mw.layer.senders import Senders, filling, user_of
from redis_mw.limits.tally import Tally
from redis_mw.locks.entry import not_alike, wanted_of
from redis_mw.locks.turn import Turn
from redis_mw.policy.caller import Caller
from redis_mw.policy.table import Ruled

NOBODY = Caller()

Answer: TypeAlias = Refusal | Stored | Served
"""What a request is answered with instead of by the application."""

NOT_STORED = Served(504, (("Cache-Status", CacheStatus(forwarded="miss", detail="only-if-cached").member()),), b"")
"""For who wants a stored response only, where there is none (RFC 9111 section 5.2.1.7)."""


MORE = frozenset({"transfer-encoding", "upgrade"})
"""What a request has that is more than its fields."""


class Opening:
    """Asks for the requests of one application. ``apart`` says that locks and sessions live on servers of their own, so
    that a session which is to be read under a lock is read after it. ``own_cookies`` are those whose use is noticed,
    ``kept_fields`` the forwarding fields that the framework itself makes a request's URL of.
    """

    def __init__(
        self,
        rooms: Rooms,
        senders: Senders,
        *,
        apart: bool,
        own_cookies: frozenset[str] = frozenset(),
        kept_fields: frozenset[str] = frozenset(),
    ) -> None:
        self._rooms = rooms
        self._senders = senders
        self._apart = apart
        self._own_cookies = own_cookies
        self._kept_fields = kept_fields

    def attempt_of(self, exchange: Exchange) -> Attempt | None:
        """What the idempotency key of a request asks for, None where there is none or nobody asked for one.

        Of several policies of a view the last counts: that of the method, or the outermost.
        """
        room, ruled = self._rooms.idempotency, exchange.ruled.idempotency
        if room is None or exchange.attempt is not None or exchange.invalid is not None:
            return exchange.attempt
        entry = exchange.claims[-1] if exchange.claims else ruled.entry if ruled is not None else None
        begun = begin(room, entry, exchange.request) if entry is not None else None
        if isinstance(begun, Attempt):
            exchange.attempt = begun
        elif begun is not None:
            exchange.invalid = begun
        return exchange.attempt

    def _lookup_of(self, exchange: Exchange, *, late: bool) -> Lookup | None:
        """What is to be found out of the page that the request is for, None where there is none. Calls what users
        wrote.

        Of one that nobody saw in time the answer is kept only if the view, which has the request already, can see
        nothing in it that it should not.
        """
        room = self._rooms.caching
        if room is None or exchange.lookup is not None or exchange.refreshing:
            return exchange.lookup
        entry = _entry_of(exchange)
        if entry is None or _has_more(exchange.request.headers):
            return None
        parameters = _filling_page(exchange, entry)
        fill, whose = filling(exchange, parameters), entry.whose(parameters)
        exchange.lookup = pages.begin(room, entry, exchange.request, exchange.native, fill, whose=whose)
        if exchange.lookup is not None and late:
            exchange.lookup.shows = self._hidden(exchange.lookup).changes(exchange.request.headers)
        return exchange.lookup

    def local(self, exchange: Exchange) -> Served | None:
        """The page that this process has in its memory, where nothing comes before it. Calls nothing that users wrote:
        pages that have a key of their own are not kept there.
        """
        ruled = exchange.ruled
        if exchange.entries or exchange.locks or exchange.claims or ruled.lock or ruled.idempotency:
            return None
        entry = _entry_of(exchange)
        room = self._rooms.caching
        if room is None or entry is None or entry.is_keyed() or _has_more(exchange.request.headers):
            return None
        if exchange.lookup is not None or self._page_needs_user(exchange):
            return None
        found = remembered(room, entry, exchange.request)
        if found is not None:
            return found
        lookup = self._lookup_of(exchange, late=False)
        return lookup.answer if lookup is not None and lookup.local() else None

    def hidden(self, exchange: Exchange) -> Hidden | None:
        """What the application must not see of a request, None where it may see all of it."""
        lookup = exchange.lookup
        return None if lookup is None or lookup.shows is not None else self._hidden(lookup)

    def _hidden(self, lookup: Lookup) -> Hidden:
        trusted = self._senders.trusts(lookup.request)
        return lookup.hidden(trusted=trusted, own_cookies=self._own_cookies, kept_fields=self._kept_fields)

    def ask(self, exchange: Exchange, *, late: bool = False, begun: bool = False) -> Flow[Answer | None]:
        """Ask what was not asked yet; where others are at work, wait as long as the policy says.

        ``late`` says that the session may have been looked at, and so is not read again under a lock; ``begun`` that
        the application runs already.
        """
        visit, attempt = exchange.visit, self.attempt_of(exchange)
        late = late and visit is not None and visit.loaded  # nobody has looked at what was not read
        attempt = attempt if attempt is not None and attempt.outcome is None else None
        if attempt is not None and attempt.refused is not None:  # its body is too large
            exchange.invalid = attempt.refused
        locks = self._locks_of(exchange) if exchange.locks or exchange.ruled.lock is not None else []
        by_user = bool(locks) and any(entry.needs_user(parameters) for entry, parameters in locks)
        by_user = by_user or (attempt is not None and attempt.entry.needs_user(_filling_key(exchange, attempt)))
        by_user = by_user or self._page_needs_user(exchange)
        if visit is not None and not visit.loaded and visit.away is None and (by_user or self._limits_user(exchange)):
            yield from visit.load()
        caller = self._caller(exchange, attempt)
        tally, asks = self._asks(exchange, caller)
        if tally is not None and (tally.refused is not None or (asks and tally.knows(asks))):
            return tally.refused
        turn = None
        if exchange.invalid is not None:
            attempt = None
        elif attempt is not None or locks:
            if by_user and visit is not None and visit.away is not None:
                return SessionUnavailable(visit.away.reason, visit.away.retry_after)
            if attempt is not None:
                attempt.comes_from(caller, filling(exchange, _filling_key(exchange, attempt), apart=True))
            turn = self._turn(exchange, locks)
        lookup = self._lookup_of(exchange, late=begun) if exchange.invalid is None else None
        lookup = lookup if lookup is not None and lookup.state == "new" else None
        user = user_of(exchange)
        nothing_before = not asks and attempt is None and turn is None
        if lookup is not None and lookup.local() and nothing_before:
            return lookup.answer
        answer = yield from self._together(exchange, asks, attempt, turn, lookup, late=late)
        if lookup is not None and lookup.asked.whose != "anybody" and user_of(exchange) != user:
            # Read again under the lock, the session is not this user's any more: the page is none of its own.
            yield from lookup.settle()
            exchange.lookup = lookup = None
        if answer is None and lookup is not None and exchange.invalid is None:
            answer = yield from _looked(lookup, follows=not begun)
        return answer if answer is not None else exchange.invalid

    def go_on(self, exchange: Exchange, *, ended: bool) -> Flow[Answer | None]:
        """Go on after the flight that the request follows has ended, or has taken too long."""
        lookup = exchange.lookup
        if lookup is None or lookup.follows is None:
            return None
        yield from lookup.followed(ended=ended)
        return (yield from _looked(lookup, follows=True))

    def _together(
        self,
        exchange: Exchange,
        asks: list[Any],
        attempt: Attempt | None,
        turn: Turn | None,
        lookup: Lookup | None,
        *,
        late: bool,
    ) -> Flow[Answer | None]:
        tally = exchange.tally
        batch: list[Flow[Any]] = [tally.ask(asks)] if tally is not None and asks else []
        batch += [each.ask() for each in (attempt, turn) if each is not None]
        if not batch and lookup is None:
            return None
        reads_later = turn is not None and self._apart
        batch += [] if reads_later else _reading(exchange, again=turn is not None and not late)
        batch += [lookup.ask()] if lookup is not None else []
        try:
            _ = yield from together(*batch)
        except GeneratorExit:
            raise
        except BaseException:
            yield from _given_back(tally, attempt, turn)
            raise
        if tally is not None and tally.refused is not None:
            return tally.refused
        if attempt is not None:
            answer = yield from _claimed(attempt, turn)
            if answer is not None:
                return answer
        if turn is None:
            return None
        waited = turn.waits
        yield from turn.wait()
        if turn.refused is not None:
            return turn.refused
        # The claim is not renewed before the request runs, and may have ended while it waited.
        then: list[Flow[Any]] = [attempt.confirm()] if waited and attempt is not None else []
        then += _reading(exchange, again=not late) if reads_later or not turn.was_free else []
        then += [lookup.again()] if lookup is not None and not turn.was_free else []
        if then:
            _ = yield from together(*then)
        return _answer_of(attempt) if attempt is not None else None

    def _page_needs_user(self, exchange: Exchange) -> bool:
        if self._rooms.caching is None or exchange.refreshing or exchange.lookup is not None:
            return False
        entry = _entry_of(exchange)
        return entry is not None and entry.needs_user(_filling_page(exchange, entry))

    def _caller(self, exchange: Exchange, attempt: Attempt | None) -> Caller:
        """Who sent the request, for those who ask."""
        if attempt is None and not exchange.entries:
            return NOBODY
        by_session = attempt is not None or any("session" in entry.by for entry in exchange.entries)
        return self._senders.caller(exchange, by_session=by_session)

    def _asks(self, exchange: Exchange, caller: Caller) -> tuple[Tally | None, list[Any]]:
        """The questions of limits that were not asked yet. Calls what users wrote."""
        room, tally = self._rooms.limits, exchange.tally
        if room is None or not exchange.entries:
            return None, []
        if tally is None:
            tally = exchange.tally = Tally(room, caller)
        tally.caller = caller  # what is asked later may need the session's user, which was not known before
        return tally, tally.begin(exchange.entries, exchange.request.method)

    def _limits_user(self, exchange: Exchange) -> bool:
        room = self._rooms.limits
        if room is None or not exchange.entries:
            return False
        return room.lists_users or any(entry.needs_user for entry in exchange.entries)

    def _locks_of(self, exchange: Exchange) -> list[Ruled]:
        """The locks to be taken now: those of the view, else that of the rules; each once, had it a name or not."""
        locks, exchange.locks = exchange.locks, ()
        ruled, exchange.ruled = exchange.ruled.lock, exchange.ruled._replace(lock=None)
        if locks:
            return [Ruled(entry, exchange.parameters) for entry in locks]
        return [ruled] if ruled is not None else []

    def _turn(self, exchange: Exchange, locks: list[Ruled]) -> Turn | None:
        """A turn at all of them, None where the request has nothing that could be locked. Calls what users wrote."""
        room = self._rooms.locks
        if room is None or not locks:
            return None
        taken = {name: turn.wanted.shared for turn in exchange.turns for name in turn.wanted.names}
        named = []
        for entry, parameters in locks:
            name = entry.name(exchange.native, filling(exchange, parameters))
            if name is None:
                continue
            if name not in taken:
                named.append((entry, name))
            elif taken[name] and not entry.policy.shared:
                raise not_alike(entry.place)
        if not named:
            return None
        cancels = any(entry.policy.cancel_when_lost for entry, _ in named)
        turn = Turn(room, wanted_of(room, named), cancels=cancels)
        exchange.turns.append(turn)
        return turn


def _has_more(headers: Headers) -> bool:
    """Whether a request asks for another protocol, or has a body, which is no part of what a page is known by: a view
    that reads it (RFC 9110 section 9.3.1 gives it no meaning) would make a page of it for everybody.
    """
    length = headers.get("content-length")
    bodied = length is not None and length.strip("0 \t") != ""
    return bodied or headers.has_any(MORE)


def _looked(lookup: Lookup, *, follows: bool) -> Flow[Answer | None]:
    """What comes of the page; where another process makes it, after waiting for that.

    Where another request of this process does, and it ``follows`` such ones, whoever runs this has to wait: ``None``.
    """
    while lookup.state == "waits" or (lookup.state == "follows" and not follows):
        if lookup.state == "waits":
            yield from lookup.wait()
        else:
            yield from lookup.alone()
    if lookup.refused:
        return NOT_STORED
    return lookup.answer if lookup.state == "answered" else None


def _entry_of(exchange: Exchange) -> Page | None:
    """The policy of the page that a request is for: of several of a view the last counts, then that of the rules."""
    if exchange.pages:
        return exchange.pages[-1]
    ruled = exchange.ruled.cache
    return ruled.entry if ruled is not None else None


def _filling_page(exchange: Exchange, entry: Page) -> Mapping[str, str]:
    """What may fill the templates of a page's policy: a rule reads the path in its own way."""
    ruled = exchange.ruled.cache
    return ruled.parameters if ruled is not None and ruled.entry is entry else exchange.parameters


def _filling_key(exchange: Exchange, attempt: Attempt) -> Mapping[str, str]:
    """What may fill the scope of a key: a rule reads the path in its own way."""
    ruled = exchange.ruled.idempotency
    return ruled.parameters if ruled is not None and ruled.entry is attempt.entry else exchange.parameters


def _claimed(attempt: Attempt, turn: Turn | None) -> Flow[Answer | None]:
    """What comes of the key. While another request with it runs no lock is held, nor queued for: that one needs it."""
    waited = attempt.waits
    if waited:
        leaving = [turn.settle()] if turn is not None else []
        _ = yield from together(*leaving, attempt.wait())
    answer = _answer_of(attempt)
    if answer is not None:
        return answer
    if waited and turn is not None:
        yield from turn.ask()
        turn.was_free = False  # what was read before was not read under it
    return None


def _answer_of(attempt: Attempt) -> Answer | None:
    return attempt.refused or attempt.replay


def _reading(exchange: Exchange, *, again: bool) -> list[Flow[None]]:
    """The flow that reads the session; ``again`` although it has been read, while nobody has looked at it yet."""
    visit = exchange.visit
    if visit is None or visit.away is not None:
        return []
    if not visit.loaded:
        return [visit.load()]
    return [visit.reload()] if again and visit.id is not None else []


def _given_back(tally: Tally | None, attempt: Attempt | None, turn: Turn | None) -> Flow[None]:
    """Give back whatever was taken before something went wrong."""
    undoing: list[Flow[Any]] = [tally.release()] if tally is not None else []
    undoing += [attempt.release()] if attempt is not None else []
    undoing += [turn.settle()] if turn is not None else []
    if undoing:
        _ = yield from together(*undoing)
