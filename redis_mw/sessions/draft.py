"""A session as it shall be written: the flows by which it is created, saved or given a new id, each in one trip.

A draft is one closing's; it knows what was read and what the handler left, and turns the difference into commands.
"""

from collections.abc import Callable, Mapping

import msgspec

from redis_mw.flows import Command, Failure, Flow, one, together
from redis_mw.sessions import index
from redis_mw.sessions.agent import Agent
from redis_mw.sessions.changes import check_size, compare
from redis_mw.sessions.commands import AGENT, Changes
from redis_mw.sessions.ids import name_of
from redis_mw.sessions.record import Away, LimitReached, Meta, Record, Saved, Written
from redis_mw.sessions.room import Room


class Draft(msgspec.Struct, frozen=True):
    """``fields`` are the encoded values to be stored, ``own_idle_us`` a new lifetime of its own (None: as it was).

    ``agent`` says who logs in, asked only then. ``afterwards`` gathers what takes off users' indexes the names that
    are over by then; nobody need wait for it.
    """

    room: Room
    fields: Mapping[str, bytes]
    own_idle_us: int | None
    agent: Callable[[], Agent]
    afterwards: list[Command[int]]

    def differs(self, record: Record) -> bool:
        """Whether anything has to be written so that ``record`` becomes this."""
        return self.fields != record.fields or self._own_idle_us(record) is not None

    def check(self) -> None:
        """Raise ``SessionTooLarge`` if this is more than the settings allow."""
        check_size(self.fields, self.room.max_bytes, self.room.max_fields)

    def create(self, id: str, user: str | None) -> Flow[Record | Saved]:
        """Store it under a new id."""
        self.check()
        birth = self.room.new_birth()
        changes = self._compared({}, birth, self.own_idle_us)
        if user is not None:
            changes = self._signed(changes, birth)
        name = name_of(id)
        saved = yield from self._counted(self.room.store.create(name, birth, changes, user), user, name)
        return self._recorded(saved, Meta(birth, 0, 0, 0, 0, user), begins=True)

    def save(self, record: Record, *, keep_empty: bool) -> Flow[Record | Saved]:
        """Write the difference to ``record``. Where nothing is left, the session ends, unless ``keep_empty``."""
        self.check()
        changes = self._changes(record)
        end_if_empty = not keep_empty and not self.fields
        saved = yield from self.room.store.save(record.name, changes, meta=record.meta, end_if_empty=end_if_empty)
        return self._recorded(saved, record.meta, begins=False)

    def rename(self, record: Record, id: str, user: str | None, *, bind: bool, grace: bool) -> Flow[Record | Saved]:
        """Move ``record`` to a new id with the difference; ``bind`` makes it ``user``'s, or nobody's."""
        self.check()
        changes = self._changes(record)
        if bind and user is not None:
            changes = self._signed(changes, record.meta.birth)
        word = ("-" if user is None else "+" + user) if bind else "="
        # An id that was logged in must not outlive the logout, not even for reading.
        grace = grace and word != "-"
        name = name_of(id)
        writing = self.room.store.regenerate(record.name, name, changes, word, meta=record.meta, grace=grace)
        saved = yield from self._counted(writing, user if bind else None, name, replaces=record.name)
        if isinstance(saved, Written) and record.meta.user is not None:
            self.afterwards.append(self.room.store.commands.delist(record.meta.user, [record.name]))
        return self._recorded(saved, msgspec.structs.replace(record.meta, user=user), begins=word[0] == "+")

    def _changes(self, record: Record) -> Changes:
        return self._compared(record.fields, record.meta.birth, self._own_idle_us(record))

    def _own_idle_us(self, record: Record) -> int | None:
        return None if self.own_idle_us == record.meta.own_idle_us else self.own_idle_us

    def _compared(self, before: Mapping[str, bytes], birth: str, own_idle_us: int | None) -> Changes:
        codec, context = self.room.store.codec, birth.encode()
        return compare(before, self.fields, lambda plain, field: codec.seal(plain, context, field), own_idle_us)

    def _signed(self, changes: Changes, birth: str) -> Changes:
        """With the visitor's browser and network, for the list of the user's sessions."""
        sealed = self.room.store.codec.seal(self.agent().encode(), birth.encode(), AGENT)
        return Changes({**changes.put, AGENT: sealed}, changes.drop, changes.own_idle_us)

    def _counted(self, writing: Flow[Saved], user: str | None, name: str, replaces: str | None = None) -> Flow[Saved]:
        """Do the ``writing``, which makes ``name`` a session of ``user``'s, within the number that they may have."""
        room, limit = self.room, self.room.max_sessions
        if user is None or limit is None:
            return (yield from writing)
        if room.refuse_more:
            full = yield from index.is_full(room.store, user, limit, replaces=replaces)
            if isinstance(full, Away):
                return full
            if full:
                return LimitReached(limit)
        saved, names = yield from together(writing, one(room.store.commands.names(user)))
        if not isinstance(saved, Written) or isinstance(names, Failure):
            return saved
        refused, delist = yield from index.keep_within(room.store, user, limit, name, names, refuse=room.refuse_more)
        if delist is not None:
            self.afterwards.append(delist)
        return LimitReached(limit) if refused else saved

    def _recorded(self, saved: Saved, meta: Meta, *, begins: bool) -> Record | Saved:
        """The session as it now stands in Redis, if it was written."""
        if not isinstance(saved, Written):
            return saved
        created_us = saved.now_us if begins else meta.created_us
        own_idle_us = meta.own_idle_us if self.own_idle_us is None else self.own_idle_us
        meta = Meta(meta.birth, created_us, saved.now_us, saved.deadline_us, own_idle_us, meta.user)
        return Record(saved.name, meta, self.fields, saved.now_us)
