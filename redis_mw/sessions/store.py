"""The flows of one session: load, create, save, regenerate, destroy. All of them know names, none of them ids.

Every flow ends with a value of ``record``; a Redis that is away is one of them (``Away``), so the caller decides what
an outage means. Nothing here retries.
"""

from collections.abc import Callable

from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.events import EventName, Events
from redis_mw.flows import Command, Failure, Flow, one, send
from redis_mw.sessions.codec import Codec
from redis_mw.sessions.commands import Changes, Commands, Destroyed, Read, Status
from redis_mw.sessions.record import Absent, Away, Conflict, Ended, Loaded, Meta, Record, Saved, Written
from redis_mw.sessions.values import DamagedValue


class Store:
    """Sessions as Redis holds them; the flows of a user's index stand in ``index``."""

    def __init__(self, commands: Commands, codec: Codec, events: Events, *, longest_us: int) -> None:
        self.commands = commands
        self.codec = codec
        self.events = events
        self.longest_us = longest_us

    # Reading

    def load(self, name: str, *, renew: bool = True) -> Flow[Loaded]:
        """Read a session, and renew it in the same trip if enough of its idle time has gone."""
        read = yield from one(self.commands.load(name, renew=renew))
        return away(read) if isinstance(read, Failure) else self.record(name, read)

    def record(self, name: str, read: Read) -> Record | Absent:
        """Unseal what was read. What cannot be unsealed is damaged as a whole: half a session is none."""
        if read.meta is None:
            if read.status == "damaged":
                self.events.emit("session.damaged", outcome="layout", session=name[8:24])
            return Absent(read.status)
        context = read.meta.birth.encode()
        try:
            fields = {
                key[1:]: self.codec.open(sealed, context, key)
                for key, sealed in read.fields.items()
                if key.startswith(".")
            }
        except DamagedValue as error:
            self.events.emit("session.damaged", outcome=str(error), session=name[8:24])
            return Absent("damaged")
        if self.events:
            self.events.emit("session.loaded", outcome=read.status, session=name[8:24])
        return Record(name, read.meta, fields, read.now_us, read.renewed, read.status == "old")

    # Writing

    def create(self, name: str, birth: str, changes: Changes, user: str | None) -> Flow[Saved]:
        """Store a new session; its user's index first, so that revoking can never miss it."""
        command = self.commands.create(name, birth, changes, user)
        status = yield from self._enlisted(lambda _: command, user, name, changes)
        return self._saved(status, name, "session.created")

    def save(self, name: str, changes: Changes, *, meta: Meta, end_if_empty: bool = False) -> Flow[Saved]:
        """Write what changed, if the session still exists under this name; ``end_if_empty`` if nothing is left then."""
        command = self.commands.save(name, changes, end_if_empty=end_if_empty)
        # A longer life must be in the index too; it is noted there before it is granted.
        longer = meta.user if changes.own_idle_us else None
        status = yield from self._enlisted(lambda _: command, longer, name, changes)
        return self._saved(status, name, "session.saved")

    def regenerate(self, old: str, new: str, changes: Changes, user: str, *, meta: Meta, grace: bool) -> Flow[Saved]:
        """Move a session to a new name with its changes; ``user`` is ``=``, ``-`` or ``+`` and the user to bind."""
        bound = user[1:] if user[:1] == "+" else meta.user if user == "=" else None

        def command(noted_us: int) -> Command[Status]:
            return self.commands.regenerate(old, new, changes, user, grace=grace, noted_us=noted_us)

        left_us = 0 if user[:1] == "+" else meta.deadline_us - meta.seen_us
        status = yield from self._enlisted(command, bound, new, changes, at_least_us=left_us)
        return self._saved(status, new, "session.regenerated")

    def destroy(self, name: str, *, user: str | None = None) -> Flow[Destroyed | Away]:
        """End a session. ``user`` is its user, if known, whose index then forgets it in the same trip.

        The ``sessions`` of the reply are those that an index may still name.
        """
        if user is None:
            ended = yield from one(self.commands.destroy(name))
        else:
            ended, _ = yield from send(self.commands.destroy(name), self.commands.delist(user, [name]))
        if isinstance(ended, Failure):
            return away(ended)
        if ended.status == "ended":
            self.events.emit("session.revoked", outcome="ended", session=name[8:24])
        return Destroyed(ended.status, tuple(each for each in ended.sessions if each != (name, user)))

    def _enlisted(
        self,
        write: Callable[[int], Command[Status]],
        user: str | None,
        name: str,
        changes: Changes,
        at_least_us: int = 0,
    ) -> Flow[Status | Failure]:
        """Note ``name`` in the user's index and do ``write`` in the same trip; it is told for how long it is noted."""
        if user is None:
            return (yield from one(write(0)))
        longest_us = max(self.longest_us, changes.own_idle_us or 0, at_least_us)
        while True:
            noted, status = yield from send(self.commands.enlist(user, name, longest_us), write(longest_us))
            if isinstance(noted, Failure) and isinstance(status, Status) and status.status == "live":
                # Written but not in the index (two servers of a cluster): a session that nobody could revoke.
                _ = yield from one(self.commands.destroy(name))
                return noted
            if isinstance(status, Failure) or status.status != "longer":
                return status
            # Another request gave it a longer life after it was read; each turn of this needs one more such request.
            longest_us = status.deadline_us - status.now_us

    def _saved(self, status: Status | Failure, name: str, event: EventName) -> Saved:
        if isinstance(status, Failure):
            return away(status)
        if status.status == "ended":
            self.events.emit("session.revoked", outcome="emptied", session=name[8:24])
            return Ended()
        if status.status != "live":
            self.events.emit("session.conflict", outcome=status.status, session=name[8:24])
            return Conflict(status.status)
        self.events.emit(event, session=name[8:24])
        return Written(name, status.now_us, status.deadline_us)


def away(failure: CommandError | RedisUnavailable) -> Away:
    """What a failure means to a session: an error reply (OOM, READONLY, LOADING) is an outage of this command."""
    if isinstance(failure, RedisUnavailable):
        return Away(failure.reason, failure.retry_after)
    return Away(f"Redis answered {failure.code}")
