"""One request's session: what was loaded, what the handler marked, and the one closing flow that writes it.

The frameworks' own session objects hold a ``Visit`` and translate; what to write and which cookie to send is decided
here, once for all of them. A visit does no I/O and is used by one request only.
"""

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any, Literal, TypeAlias, cast

import msgspec

from redis_mw.errors import CannotEncode, SessionClosed, SessionUnavailable
from redis_mw.flows import Command, Flow, done, send, together
from redis_mw.sessions.agent import Agent
from redis_mw.sessions.changes import encoded
from redis_mw.sessions.commands import Destroyed
from redis_mw.sessions.draft import Draft
from redis_mw.sessions.ids import name_of
from redis_mw.sessions.record import Away, Conflict, Ended, LimitReached, Loaded, Record, Saved, Written
from redis_mw.sessions.room import Room
from redis_mw.sessions.values import DamagedValue


class Issue(msgspec.Struct, frozen=True, gc=False):
    """Send the session cookie; ``max_age`` in seconds, None for one that ends with the browser."""

    id: str
    max_age: int | None


class Withdraw(msgspec.Struct, frozen=True, gc=False):
    """Delete the session cookie: the session was ended on purpose."""


Wrote: TypeAlias = Literal["created", "saved", "regenerated"]


class Closed(msgspec.Struct, frozen=True):
    """How a visit ended. ``away`` means that something had to be written and was not.

    ``after`` is clean-up that the response need not wait for.
    """

    outcome: Literal["unchanged", "created", "saved", "regenerated", "destroyed", "conflict", "refused", "away"]
    away: Away | None = None
    after: Callable[[], Flow[Any]] | None = None


class Visit:
    """A request's session. ``id`` is what the cookie said, once its signature was verified, or None."""

    def __init__(
        self, room: Room, id: str | None, *, stale: bool = False, agent: Callable[[], Agent] = Agent, touch: bool = True
    ) -> None:
        self.room = room
        self.id = id
        self.touch = touch
        self.stale = stale
        self.skipped = False
        self.loaded = id is None
        self.record: Record | None = None
        self.initial: dict[str, Any] = {}
        self.away: Away | None = None
        self.cookie: Issue | Withdraw | None = None
        self.persistent = room.persistent
        self.own_idle_us: int | None = None
        self.logging_in: str | None = None
        self.regenerating = False
        self.grace = True
        self._next_id: str | None = None
        self._ending: str | None = None
        self._ending_user: str | None = None
        self.agent = agent
        self._data_user: str | None = None
        self._objects: Mapping[str, Any] = {}
        self._settled: Mapping[str, bytes] = {}
        self._left_behind: Mapping[str, bytes] = {}
        self._wrote = False

    # What the handler may know

    @property
    def unavailable(self) -> bool:
        return self.away is not None

    @property
    def user_id(self) -> str | None:
        if self.logging_in is not None:
            return self.logging_in
        return self.record.meta.user if self.record is not None else None

    @property
    def handle(self) -> str | None:
        """The name of the session, as it stands in the user's list; None before it was ever written."""
        return self.record.name if self.record is not None else None

    @property
    def created(self) -> float | None:
        return self.record.meta.created_us / 1e6 if self.record is not None else None

    @property
    def last_seen(self) -> float | None:
        return self.record.meta.seen_us / 1e6 if self.record is not None else None

    def fresh(self, max_age_us: int) -> bool:
        """Whether the session began (was created, or logged in) at most this long ago."""
        if self.logging_in is not None:
            return True
        return self.record is not None and self.record.now_us - self.record.meta.created_us <= max_age_us

    # What the handler may mark; the work is done in ``close``

    def login(self, user_id: object) -> None:
        """Bind a user at the close; the session gets a new id then. Another user's session is to be ended before."""
        self.must_write()
        self.logging_in = self.room.user(user_id)

    def is_of_another(self, user_id: object) -> bool:
        """Whether the session belongs to a user, and to another one."""
        return self.user_id not in (None, self.room.user(user_id))

    def logout(self) -> None:
        """End the session at the close, read or not; what is written after this begins a new one."""
        self.must_write()
        if self._ending is None and self.id is not None:
            self._ending = self.id
            self._ending_user = self.record.meta.user if self.record is not None else None
        self.id, self.record, self.initial, self.loaded = None, None, {}, True
        self._settled, self._data_user = {}, None
        self._forget_marks()

    def give_up(self) -> bool:
        """Forget what was marked, but not that the session ends: who logs out is logged out, whatever came after.

        Says whether there is something left for ``close(None)`` to do.
        """
        self._forget_marks()
        if self.record is None and self.loaded:
            self.id = None  # at most foretold: nothing is stored under it
        return self._ending is not None

    def regenerate(self) -> None:
        """Give the session a new id at the close."""
        self.must_write()
        self.regenerating = True

    def foretell(self) -> str:
        """The id that the session has once it was created or renamed, for a framework whose handlers may ask before."""
        if self.record is None:
            self.id = self.id or self.room.new_id()
            return self.id
        self._next_id = self._next_id or self.room.renewed_id(cast(str, self.id))
        return self._next_id

    def must_read(self) -> None:
        """Raise ``SessionUnavailable`` in an outage, unless the settings let a request go on as an anonymous one."""
        if self.away is not None and not self.room.anonymous_in_outage:
            raise SessionUnavailable(self.away.reason, self.away.retry_after)

    def must_write(self) -> None:
        """Raise ``SessionUnavailable`` in an outage, and ``SessionClosed`` where a rule keeps the session shut."""
        if self.away is not None:
            raise SessionUnavailable(self.away.reason, self.away.retry_after)
        if self.skipped:
            raise SessionClosed('sessions are off on this path (sessions.skip, or a rule with session="skip")')

    # Loading

    def load(self) -> Flow[None]:
        """Read the session, once; ``record`` and ``initial`` then say what it holds, or ``away`` why nobody knows."""
        if self.loaded or self.away is not None or self.id is None:
            return
        self.settle(self.id, (yield from self.room.store.load(name_of(self.id), renew=self.touch)))

    def settle(self, id: str, loaded: Loaded) -> None:
        """Take over what was loaded for ``id``."""
        self.record, self.initial, self.away, self._data_user = None, {}, None, None
        self._settled = {}
        if isinstance(loaded, Away):
            self.away = loaded
            return
        self.loaded = True
        if isinstance(loaded, Record):
            try:
                values = {key: self.room.store.codec.to_value(plain) for key, plain in loaded.fields.items()}
            except DamagedValue as error:
                self.room.store.events.emit("session.damaged", outcome=str(error), session=loaded.name[8:24])
            else:
                self.id = id
                self._take(loaded, values)
                slides = bool(loaded.meta.own_idle_us or self.room.lifetime_us)
                if (loaded.renewed and slides) or (self.stale and not loaded.read_only):
                    self._issue(loaded)
                return
        self.id = None

    def reload(self) -> Flow[None]:
        """Read the session again, forgetting what was marked and changed."""
        self._forget_marks()
        if self.id is not None:
            self.settle(self.id, (yield from self.room.store.load(name_of(self.id), renew=False)))

    # Closing

    def close(self, data: Mapping[str, object] | None, *, keep_empty: bool = False) -> Flow[Closed]:
        """Write what the request did, in one trip where nothing has to be known first.

        ``data`` is the session as the handler left it, None if it was never looked at. An emptied session is ended,
        unless ``keep_empty``. Raises ``CannotEncode`` and ``SessionTooLarge`` before anything is written.
        """
        if self.away is not None:
            return Closed("unchanged")
        if self.skipped and data:
            self.must_write()
        marked = self._marked
        if marked and not self.loaded:
            yield from self.load()
            if self.away is not None:
                return Closed("away", self.away)
        if data is None:
            if not marked and self._ending is None:
                return Closed("unchanged")
            data = self.initial
        fields = self._encoded(data)
        afterwards: list[Command[int]] = []
        closed = yield from self._close(
            data, Draft(self.room, fields, self.own_idle_us, self.agent, afterwards), keep_empty
        )
        if afterwards:
            closed = msgspec.structs.replace(closed, after=lambda: send(*afterwards))
        self._wrote = self._wrote or closed.outcome != "unchanged"
        if closed.outcome not in ("away", "refused"):
            self._settled = self._taken_along(fields)
        if closed.outcome == "conflict":
            self._forget_marks()
        return closed

    def pending(self, data: Mapping[str, object]) -> bool:
        """Whether ``data`` holds, or somebody marked, what no ``close`` has dealt with: it would be lost now.

        What a close could not write because the session had ended meanwhile is not pending; it was dealt with.
        """
        if self.away is not None or self.skipped:
            return False
        return self._marked or self._ending is not None or self._encoded(data) != self._settled

    def changed(self, data: Mapping[str, object] | None) -> bool:
        """Whether this request has changed the session, written or not yet; ``data`` as in ``close``."""
        if self._wrote or self._ending is not None:
            return True
        try:
            return self.pending(self.initial if data is None else data)
        except CannotEncode:
            return True

    def binds(self, data: Mapping[str, object] | None) -> bool:
        """Whether ``close`` makes the session a user's, who may have as many as are allowed."""
        return self.logging_in is not None or (data is not None and self._binding(data)[1])

    def _encoded(self, data: Mapping[str, object]) -> dict[str, bytes]:
        before = self.record.fields if self.record is not None else {}
        return self._taken_along(encoded(data, self.room.store.codec, self._objects, before))

    def _taken_along(self, fields: dict[str, bytes]) -> dict[str, bytes]:
        """Without what belongs to a session that ended: the handler may still hold it, the new session must not."""
        if not self._left_behind:
            return fields
        return {key: plain for key, plain in fields.items() if self._left_behind.get(key) != plain}

    def _forget_marks(self) -> None:
        self.logging_in, self.regenerating, self.own_idle_us, self._next_id = None, False, None, None

    @property
    def _marked(self) -> bool:
        return self.logging_in is not None or self.regenerating or self.own_idle_us is not None

    def _close(self, data: Mapping[str, object], draft: Draft, keep_empty: bool) -> Flow[Closed]:
        user, bind = self._binding(data)
        record = self.record
        if record is None:
            return (yield from self._begin(draft, data, user if bind else None, keep_empty))
        if not (draft.differs(record) or bind or self.regenerating):
            return Closed("unchanged")
        if record.read_only and not (bind and user is not None):
            self.room.store.events.emit("session.conflict", outcome="old", session=record.name[8:24])
            return Closed("conflict")
        if bind or self.regenerating:
            return (yield from self._rename(draft, data, record, user, bind))
        return self._closed((yield from draft.save(record, keep_empty=keep_empty)), "saved", data)

    def _binding(self, data: Mapping[str, object]) -> tuple[str | None, bool]:
        """The user the session belongs to from now on, and whether that has to be written."""
        before = self.record.meta.user if self.record is not None else None
        if self.logging_in is not None:
            return self.logging_in, True
        in_data = self.room.user_in(data)
        if in_data != self._data_user:
            return in_data, in_data != before
        return before, False

    def _begin(self, draft: Draft, data: Mapping[str, object], user: str | None, keep_empty: bool) -> Flow[Closed]:
        """Nothing is stored yet, or the old session was ended: end that one and create a new one, as far as needed."""
        ending: Flow[Destroyed | Away] = done(Destroyed("gone"))
        if self._ending is not None:
            ending = self.room.store.destroy(name_of(self._ending), user=self._ending_user)
        creating: Flow[Record | Saved | None] = done(None)
        if draft.fields or user is not None or keep_empty:
            draft.check()
            self.id = self.id or self.room.new_id()
            creating = draft.create(self.id, user)
        ended, saved = yield from together(ending, creating)
        if isinstance(ended, Away):
            return Closed("away", ended)
        draft.afterwards.extend(self.room.store.commands.delists(ended))
        if self._ending is not None:
            self._ending, self._ending_user, self.cookie = None, None, Withdraw()
            if saved is None:
                return Closed("destroyed")
        return Closed("unchanged") if saved is None else self._closed(saved, "created", data)

    def _rename(
        self, draft: Draft, data: Mapping[str, object], record: Record, user: str | None, bind: bool
    ) -> Flow[Closed]:
        """Move the session to a new id, with a new user or the same."""
        id = self.foretell()
        saved = yield from draft.rename(record, id, user, bind=bind, grace=self.grace)
        if isinstance(saved, Conflict) and bind and user is not None:
            # Somebody ended or moved the session while this request logged in (a form sent twice): the one who has
            # just proved who they are gets a session of their own. What the other one held goes along only if it was
            # moved, not ended, and was nobody else's.
            if saved.reason != "old" or record.meta.user not in (None, user):
                self._left_behind = record.fields
                draft = msgspec.structs.replace(draft, fields=self._taken_along(dict(draft.fields)))
            self.record, self.id, self._next_id = None, id, None
            return (yield from self._begin(draft, data, user, False))
        self.id = id if isinstance(saved, Record) else self.id
        return self._closed(saved, "regenerated", data)

    def _closed(self, saved: Record | Saved, outcome: Wrote, data: Mapping[str, object]) -> Closed:
        """Take over what was written of ``data``, so that the visit can go on and be closed again."""
        match saved:
            case Away():
                return Closed("away", saved)
            case Conflict():
                return Closed("conflict")
            case LimitReached():
                self.id = self.id if self.record is not None else None  # the new id was not stored
                return Closed("refused")
            case Ended():
                self.id, self.record, self.initial = None, None, {}
                self.cookie = Withdraw()
                return Closed("destroyed")
            case Record():
                self.loaded = True
                self._take(saved, {key: value for key, value in data.items() if key in saved.fields})
                self._forget_marks()
                if outcome != "saved" or saved.meta.own_idle_us or self.room.lifetime_us:
                    self._issue(saved)
                return Closed(outcome)
            case Written():
                raise AssertionError("a draft gives a record for what it wrote")

    def _take(self, record: Record, values: dict[str, Any]) -> None:
        """``record`` is how the session stands in Redis, ``values`` what its fields mean."""
        self.initial = values
        self.record, self._settled, self._objects = record, record.fields, dict(self.initial)
        self._data_user = self.room.user_in(self.initial)

    def _issue(self, record: Record) -> None:
        left_us = record.meta.own_idle_us or self.room.lifetime_us or record.meta.deadline_us - record.now_us
        self.cookie = Issue(cast(str, self.id), max(ceil(left_us / 1e6), 0) if self.persistent else None)
