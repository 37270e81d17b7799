"""What Django asks of a session engine, as flows over a visit; ``sessions`` runs them, on a thread or on the loop."""

import sys
from datetime import datetime
from typing import Any, NoReturn, cast

from django.conf import settings as django_settings
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError

from redis_mw.errors import CannotEncode, SessionLimitReached, SessionUnavailable
from redis_mw.flows import Failure, Flow, one, send
from redis_mw.sessions.ids import COOKIE_LENGTH, name_of
from redis_mw.sessions.record import Away
from redis_mw.sessions.session import SessionMethods
from redis_mw.sessions.store import away
from redis_mw.sessions.visit import Closed, Visit
from redis_mw.settings.durations import LONGEST_US
from redis_mw_django.application import Application, application
from redis_mw_django.arrival import ARRIVAL, note_saved
from redis_mw_django.refusals import SessionAway, TooManySessions

EXPIRY = "_session_expiry"
SHORTEST_KEY = 8


class Operations(SessionMethods, SessionBase):
    """Django's session object with a visit behind it: its key, its flags, and the flow of each operation."""

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._marked: bool | None = None
        self._lost = False
        self.read = False
        """Whether more of it was looked at than whose it is."""
        arrival = ARRIVAL.get()
        self._arrival = arrival if arrival is not None and arrival.ours else None
        begun = self._arrival.take(self._visit.id) if self._arrival is not None else None
        if begun is not None:
            self._visit = begun
            self._vanished = begun.id is None  # it was read already, with what else the request needed

    @property
    def _application(self) -> Application:
        # Asked for each time: a test may override settings while it holds a session.
        return application()

    # The key

    def _key(self) -> str | None:
        visit = self._visit
        if visit.record is not None and (visit.regenerating or visit.logging_in is not None):
            return visit.foretell()
        return visit.id

    def _set_key(self, key: str | None) -> None:
        room = self._application.room
        if key is not None and len(key) == COOKIE_LENGTH and room.signer is not None:
            # Django's test clients hand us the cookie that they keep.
            verified = room.signer.verify(key)
            key = verified.id if verified is not None else key
        self._visit = Visit(room, key if key and len(key) >= SHORTEST_KEY else None)
        self._looked = self._vanished = self._deleted = False

    session_key = property(_key)  # pyright: ignore[reportIncompatibleMethodOverride]
    _session_key = property(_key, _set_key)  # pyright: ignore[reportIncompatibleMethodOverride]

    # The flags

    @property
    def visit(self) -> Visit:
        """The core's side of this session."""
        return self._visit

    @property
    def modified(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether there is something to save. A change inside a value counts; what is set by hand counts more."""
        if self._marked is not None:
            return self._marked
        data = self._data()
        if data is None or self._visit.record is None:
            return False
        try:
            return self._visit.pending(data)
        except CannotEncode:
            return True  # the save will say where

    @modified.setter
    def modified(self, modified: bool) -> None:
        if modified:
            self._must_write()
        self._marked = modified

    @property
    def lost(self) -> bool:
        """Whether Redis was away when this session was wanted or had to be written."""
        return self._lost or self._visit.unavailable

    @property
    def looked_at(self) -> bool:
        """Whether anybody has seen what is in it."""
        return self._data() is not None

    def refresh(self) -> None:
        """It may have been read anew, with what else the request needed: so it may be gone meanwhile."""
        self._vanished = self._vanished or self._visit.id is None

    def is_empty(self) -> bool:
        """Whether the browser may forget the session: it was ended or emptied on purpose.

        One that nobody can read just now may be full, and one that is over may have a successor whose cookie is on its
        way: neither is called empty, or Django's middleware would delete the cookie.
        """
        if self.lost or self._visit.logging_in is not None:
            return False
        if self._vanished and not self._marked and not django_settings.SESSION_SAVE_EVERY_REQUEST:
            return False
        return super().is_empty()

    @property
    def unsaved(self) -> bool:
        """Whether the session holds what no save has dealt with."""
        data = self._data()
        return data is not None and (self._visit.pending(data) if self._visit.record is not None else bool(data))

    def changed(self) -> bool:
        """Whether this request has changed it, written or not yet."""
        return bool(self._marked) or self._visit.changed(self._data())

    def _data(self) -> dict[str, Any] | None:
        """The values, or None if they were never looked at."""
        return cast("dict[str, Any] | None", self.__dict__.get("_session_cache"))

    def _mark(self) -> None:
        self.modified = True  # pyright: ignore[reportIncompatibleVariableOverride]

    def _get_session(self, no_load: bool = False) -> dict[str, Any]:
        self.read = True
        return cast("dict[str, Any]", cast(Any, super())._get_session(no_load))

    async def _aget_session(self, no_load: bool = False) -> dict[str, Any]:
        self.read = True
        return cast("dict[str, Any]", await cast(Any, super())._aget_session(no_load))

    _session = property(_get_session)  # what all of Django's methods go through

    def _look(self) -> None:
        _ = self._session

    def _look_at_user(self) -> None:
        _ = cast(Any, super())._get_session()

    async def _alook(self) -> None:
        _ = await self._aget_session()

    def _empty(self) -> None:
        self._session_cache: dict[str, Any] = {}

    # The operations

    def _loading(self) -> Flow[dict[str, Any]]:
        visit = self._visit
        asked = visit.id
        # Within a request an outage is not asked about twice: each time might cost the whole patience.
        again = self._looked or (visit.away is not None and self._arrival is None)
        yield from visit.reload() if again else visit.load()
        self._looked = visit.away is None
        if visit.away is not None and not visit.room.anonymous_in_outage and not _answering():
            self._raise(visit.away)
        data = dict(visit.initial)
        expiry = data.get(EXPIRY)
        if isinstance(expiry, (str, datetime)) and self.get_expiry_age(expiry=expiry) <= 0:
            visit.logout()  # Redis counts idle time; a date that was set is compared here
            closed = yield from visit.close(None)
            if closed.after is not None:
                _ = yield from closed.after()
            data = {}
        self._vanished = visit.id is None and (asked is not None or self._vanished)
        self._deleted = self._deleted and visit.id is not None
        return data

    def _existing(self, key: str | None) -> Flow[bool]:
        if not key or (key == self._visit.id and key != self._key()):
            return False
        peeked = yield from one(self._visit.room.store.commands.peek(name_of(key)))
        if isinstance(peeked, Failure):
            self._raise(away(peeked))
        meta, _, successor = peeked
        return meta is not None and successor is None

    def _saving(self, must_create: bool) -> Flow[Closed]:
        visit = self._visit
        if self._is_nobodys:
            return Closed("unchanged")
        if self._deleted:
            raise UpdateError
        yield from visit.load()
        if visit.away is not None:
            if self._marked or not visit.room.anonymous_in_outage:
                self._raise(visit.away)
            return Closed("unchanged")
        self._looked = True
        if must_create:
            if visit.record is not None:
                raise CreateError
            return (yield from self._creating())
        data = self._data()
        data = visit.initial if data is None else data
        if self._set_lifetime(data):
            before = visit.record.fields.get(HASH_SESSION_KEY) if visit.record is not None else None
            # After a change of password nobody may go on under the old key, nor end the new session from there.
            visit.grace = before is None or before == visit.room.store.codec.to_plain(
                HASH_SESSION_KEY, data.get(HASH_SESSION_KEY)
            )
            closed = yield from visit.close(data, keep_empty=True)
        else:
            visit.logout()
            closed = yield from visit.close(None)
            _ = visit.foretell()  # Django sends this key, in a cookie that is over
        self._check(closed)
        note_saved(visit.id)
        return closed

    def _creating(self) -> Flow[Closed]:
        data, before = self._data() or {}, self._visit
        self._must_write()
        self._set_key(None)
        self._visit.agent = before.agent
        closed = Closed("unchanged")
        if not self._is_nobodys and self._set_lifetime(data):
            closed = yield from self._visit.close(data, keep_empty=True)
            self._check(closed)
        else:
            _ = self._visit.foretell()
        self._session_cache = data
        self._mark()
        note_saved(self._visit.id)
        return closed

    def _flushing(self) -> Flow[Closed]:
        self._must_write()
        self._visit.logout()
        closed = yield from self._visit.close(None)
        self._check(closed)
        self._empty()
        self._vanished = self._deleted = False
        self.accessed = True
        self._mark()
        return closed

    def _deleting(self, key: str | None) -> Flow[Closed]:
        mine = key is None or key == self._key()
        key = self._visit.id if mine else key
        if not key:
            return Closed("unchanged")
        store = self._visit.room.store
        ended = yield from store.destroy(name_of(key))
        if isinstance(ended, Away):
            self._raise(ended)
        self._deleted = self._deleted or mine
        delists = store.commands.delists(ended)
        return Closed("destroyed", after=(lambda: send(*delists)) if delists else None)

    def _cycle(self) -> None:
        """Mark, once the session was looked at; the new key is known from now on."""
        self._must_write()
        if self._visit.record is None:
            _ = self._visit.foretell()
        else:
            self._visit.regenerate()
        self._mark()

    @property
    def _is_nobodys(self) -> bool:
        """Whether the request is one that nobody has sent: a session of its would be nobody's."""
        return self._arrival is not None and self._arrival.exchange.refreshing

    # Between Django's words and the visit's

    def _set_lifetime(self, data: dict[str, Any]) -> bool:
        """Tell the visit of a lifetime of its own, if the session has one; False if it is over already."""
        expiry = data.get(EXPIRY)
        age = self.get_expiry_age(expiry=expiry)
        if age <= 0:
            return False
        own = bool(expiry) or self.get_session_cookie_age() != django_settings.SESSION_COOKIE_AGE
        own_idle_us = min(round(age * 1_000_000), LONGEST_US) if own else 0
        before = self._visit.record.meta.own_idle_us if self._visit.record is not None else 0
        self._visit.own_idle_us = own_idle_us if own_idle_us != before else None
        return True

    def _must_write(self) -> None:
        if self._visit.away is not None:
            self._raise(self._visit.away)
        self._visit.must_write()

    def _check(self, closed: Closed) -> None:
        """Turn an outcome that Django has an exception for into it."""
        match closed.outcome:
            case "conflict":
                raise UpdateError
            case "refused":
                limit = self._visit.room.max_sessions or 0
                if self._arrival is None:
                    raise SessionLimitReached(limit)
                self._arrival.refused = TooManySessions(limit)
                raise self._arrival.refused
            case "away" if closed.away is not None:
                self._raise(closed.away)
            case _:
                pass

    def _raise(self, reason: Away) -> NoReturn:
        self._lost = True
        if self._arrival is None:
            raise SessionUnavailable(reason.reason, reason.retry_after)
        self._arrival.refused = SessionAway(reason.reason, reason.retry_after)
        raise self._arrival.refused


def _answering() -> bool:
    """Whether our own refusal is being handled: Django's error pages may look for a user or a CSRF token here."""
    handled = sys.exception()
    while handled is not None and not isinstance(handled, SessionAway):
        handled = handled.__context__
    return handled is not None
