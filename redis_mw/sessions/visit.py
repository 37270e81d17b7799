"""One request's session: what was loaded, what the handler marked, and the one closing flow that writes it.

The frameworks' own session objects hold a ``Visit`` and translate; what to write and which cookie to send is decided
here, once for all of them. A visit does no I/O and is used by one request only.
"""

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any, Literal, cast

import msgspec

from redis_mw.errors import SessionClosed, SessionUnavailable
from redis_mw.flows import Flow, done, one, together
from redis_mw.sessions import index
from redis_mw.sessions.agent import Agent
from redis_mw.sessions.changes import check_size, compare, encoded
from redis_mw.sessions.commands import AGENT, Changes
from redis_mw.sessions.ids import name_of
from redis_mw.sessions.record import Away, Conflict, Loaded, Meta, Record, Saved, Written
from redis_mw.sessions.room import Room
from redis_mw.sessions.store import Quota
from redis_mw.sessions.values import DamagedValue


class Issue(msgspec.Struct, frozen=True, gc=False):
    """Send the session cookie; ``max_age`` in seconds, None for one that ends with the browser."""

    id: str
    max_age: int | None


class Withdraw(msgspec.Struct, frozen=True, gc=False):
    """Delete the session cookie: the session was ended on purpose."""


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
        self.agent = agent
        self._data_user: str | None = None
        self._objects: Mapping[str, Any] = {}
        self._settled: Mapping[str, bytes] = {}

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
        """Bind a user at the close; the session gets a new id then."""
        self.must_write()
        self.logging_in = self.room.user(user_id)

    def logout(self) -> None:
        """End the session at the close, read or not; what is written after this begins a new one."""
        self.must_write()
        self._ending = self._ending or self.id
        self.id, self.record, self.initial, self.loaded = None, None, {}, True
        self.logging_in, self.regenerating, self.own_idle_us, self._data_user = None, False, None, None
        self._settled, self._next_id = {}, None

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
                self.initial = {key: self.room.store.codec.to_value(plain) for key, plain in loaded.fields.items()}
            except DamagedValue as error:
                self.room.store.events.emit("session.damaged", outcome=str(error), session=loaded.name[8:24])
            else:
                self.id, self.record, self._settled = id, loaded, loaded.fields
                self._objects = dict(self.initial)
                self._data_user = self.room.user_in(self.initial)
                slides = bool(loaded.meta.own_idle_us or self.room.lifetime_us)
                if (loaded.renewed and slides) or (self.stale and not loaded.read_only):
                    self._issue(id, loaded.meta, loaded.now_us)
                return
        self.id = None

    def reload(self) -> Flow[None]:
        """Read the session again, forgetting what was marked and changed."""
        self.logging_in, self.regenerating, self.own_idle_us, self._next_id = None, False, None, None
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
        closed = yield from self._close(data, fields, keep_empty)
        if closed.outcome not in ("away", "refused"):
            self._settled = fields
        if closed.outcome == "conflict":
            self.logging_in, self.regenerating, self.own_idle_us = None, False, None
        return closed

    def pending(self, data: Mapping[str, object]) -> bool:
        """Whether ``data`` holds, or somebody marked, what no ``close`` has dealt with: it would be lost now.

        What a close could not write because the session had ended meanwhile is not pending; it was dealt with.
        """
        if self.away is not None or self.skipped:
            return False
        return self._marked or self._ending is not None or self._encoded(data) != self._settled

    def _encoded(self, data: Mapping[str, object]) -> dict[str, bytes]:
        before = self.record.fields if self.record is not None else {}
        return encoded(data, self.room.store.codec, self._objects, before)

    @property
    def _marked(self) -> bool:
        return self.logging_in is not None or self.regenerating or self.own_idle_us is not None

    def _close(self, data: Mapping[str, object], fields: Mapping[str, bytes], keep_empty: bool) -> Flow[Closed]:
        user, bind = self._binding(data)
        if self.record is None:
            return (yield from self._close_new(fields, user if bind else None, keep_empty))
        record, changes = self.record, self._changes(fields, self.record.meta)
        if self.record.fields and not fields and user is None and not keep_empty:
            self.logout()
            return (yield from self._close_new(fields, None, keep_empty))
        if not (changes or bind or self.regenerating):
            return Closed("unchanged")
        check_size(fields, self.room.max_bytes, self.room.max_fields)
        if record.read_only and not (bind and user is not None):
            self.room.store.events.emit("session.conflict", outcome="old", session=record.name[8:24])
            return Closed("conflict")
        if bind or self.regenerating:
            return (yield from self._close_renamed(record, changes, fields, user, bind))
        saved = yield from self.room.store.save(record.name, changes, meta=record.meta)
        return self._closed(saved, "saved", cast(str, self.id), fields, record.meta)

    def _binding(self, data: Mapping[str, object]) -> tuple[str | None, bool]:
        """The user the session belongs to from now on, and whether that has to be written."""
        before = self.record.meta.user if self.record is not None else None
        if self.logging_in is not None:
            return self.logging_in, True
        in_data = self.room.user_in(data)
        if in_data != self._data_user:
            return in_data, in_data != before
        return before, False

    def _changes(self, fields: Mapping[str, bytes], meta: Meta) -> Changes:
        own_idle_us = None if self.own_idle_us == meta.own_idle_us else self.own_idle_us
        before = self.record.fields if self.record is not None else {}
        codec, context = self.room.store.codec, meta.birth.encode()
        return compare(before, fields, lambda plain, field: codec.seal(plain, context, field), own_idle_us)

    def _with_agent(self, changes: Changes, birth: str) -> Changes:
        sealed = self.room.store.codec.seal(self.agent().encode(), birth.encode(), AGENT)
        return Changes({**changes.put, AGENT: sealed}, changes.drop, changes.own_idle_us)

    def _quota(self, user: str | None, replaces: str | None) -> Flow[Quota | Away | None]:
        if user is None or self.room.max_sessions is None:
            return done(None)
        return index.quota(
            self.room.store, user, self.room.max_sessions, refuse=self.room.refuse_more, replaces=replaces
        )

    def _close_new(self, fields: Mapping[str, bytes], user: str | None, keep_empty: bool) -> Flow[Closed]:
        """Nothing is stored yet, or the old session was ended: end that one and create a new one, as far as needed."""
        ending, self._ending = self._ending, None
        create = bool(fields) or user is not None or keep_empty
        if create:
            check_size(fields, self.room.max_bytes, self.room.max_fields)
        if not create:
            if ending is None:
                return Closed("unchanged")
            ended = yield from self.room.store.destroy(name_of(ending))
            if isinstance(ended, Away):
                self._ending = ending
                return Closed("away", ended)
            self.cookie = Withdraw()
            return Closed("destroyed")
        quota = yield from self._quota(user, None)
        if isinstance(quota, Away):
            return Closed("away", quota)
        id, birth = self.id or self.room.new_id(), self.room.new_birth()
        meta = Meta(birth, 0, 0, 0, self.own_idle_us or 0, user)
        changes = self._changes(fields, meta)
        changes = Changes(changes.put, (), self.own_idle_us)
        if user is not None:
            changes = self._with_agent(changes, birth)
        creating = self.room.store.create(name_of(id), birth, changes, user, quota=quota)
        if ending is None:
            saved = yield from creating
        else:
            ended, saved = yield from together(self.room.store.destroy(name_of(ending)), creating)
            if isinstance(ended, Away):
                self._ending = ending
        return self._closed(saved, "created", id, fields, meta)

    def _close_renamed(
        self, record: Record, changes: Changes, fields: Mapping[str, bytes], user: str | None, bind: bool
    ) -> Flow[Closed]:
        """Move the session to a new id, with a new user or the same."""
        store, before = self.room.store, record.meta.user
        word = ("-" if user is None else "+" + user) if bind else "="
        quota = yield from self._quota(user if bind else None, record.name if user == before else None)
        if isinstance(quota, Away):
            return Closed("away", quota)
        if bind and user is not None:
            changes = self._with_agent(changes, record.meta.birth)
        id, grace = self.foretell(), self.grace and word != "-"
        saved = yield from store.regenerate(
            record.name, name_of(id), changes, word, meta=record.meta, grace=grace, quota=quota
        )
        if isinstance(saved, Conflict) and bind and user is not None:
            # Somebody ended or moved the session while this request logged in (a form sent twice): the one who has
            # just proved who they are gets a session of their own.
            self.record, self.id, self._next_id = None, id, None
            return (yield from self._close_new(fields, user, False))
        meta = msgspec.structs.replace(record.meta, user=user)
        closed = self._closed(saved, "regenerated", id, fields, meta, rebound=word[0] == "+")
        if isinstance(saved, Written) and before is not None:
            delist = store.commands.delist(before, [record.name])
            return msgspec.structs.replace(closed, after=lambda: one(delist))
        return closed

    def _closed(
        self,
        saved: Saved,
        outcome: Literal["created", "saved", "regenerated"],
        id: str,
        fields: Mapping[str, bytes],
        meta: Meta,
        *,
        rebound: bool = True,
    ) -> Closed:
        """Take over what was written, so that the visit can go on and be closed again."""
        if isinstance(saved, Away):
            return Closed("away", saved)
        if isinstance(saved, Conflict):
            return Closed("conflict")
        if not isinstance(saved, Written):
            return Closed("refused")
        created_us = saved.now_us if outcome == "created" or (outcome == "regenerated" and rebound) else meta.created_us
        own_idle_us = meta.own_idle_us if self.own_idle_us is None else self.own_idle_us
        meta = Meta(meta.birth, created_us, saved.now_us, saved.deadline_us, own_idle_us, meta.user)
        self.id, self.loaded = id, True
        self.record = Record(saved.name, meta, fields, saved.now_us)
        self.initial = {key: self.room.store.codec.to_value(plain) for key, plain in fields.items()}
        self._objects = dict(self.initial)
        self._data_user = self.room.user_in(self.initial)
        self.logging_in, self.regenerating, self.own_idle_us, self._next_id = None, False, None, None
        if outcome != "saved" or own_idle_us or self.room.lifetime_us:
            self._issue(id, meta, saved.now_us)
        return Closed(outcome)

    def _issue(self, id: str, meta: Meta, now_us: int) -> None:
        left_us = meta.own_idle_us or self.room.lifetime_us or meta.deadline_us - now_us
        self.cookie = Issue(id, max(ceil(left_us / 1e6), 0) if self.persistent else None)
