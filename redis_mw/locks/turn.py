"""One request's turn at its locks: asked for before it runs, given back when its response is over.

The layer holds a ``Turn`` beside the session's ``Visit`` and the limits' ``Tally``. It does no I/O itself, and is used
by one request only.
"""

from redis_mw.errors import CommandError, LockTimeout, QueueFull, RedisUnavailable
from redis_mw.flows import Failure, Flow
from redis_mw.locks import acquire as flows
from redis_mw.locks.acquire import Outcome
from redis_mw.locks.ask import Ask, Wanted
from redis_mw.locks.commands import Waiting
from redis_mw.locks.hold import Hold
from redis_mw.locks.room import Room


class Turn:
    """``ask``, and ``wait`` if it ``waits``; then either there is a ``hold``, or it was ``refused``. Afterwards
    ``settle``, in any case, which nobody needs to wait for.

    ``cancels`` says that the request is to be cancelled when the locks are lost.
    """

    def __init__(self, room: Room, wanted: Wanted, *, cancels: bool = False) -> None:
        self.room = room
        self.wanted = wanted
        self.cancels = cancels
        self.hold: Hold | None = None
        self.refused: LockTimeout | QueueFull | RedisUnavailable | None = None
        self.waits = False
        self.was_free = False
        """Whether the locks were ours at once, so that what was read in the same batch was read under them."""
        self._ask: Ask | None = None
        self._began = 0.0
        self._unsure = False

    def ask(self) -> Flow[None]:
        """Take the locks if they are free, else queue for them; never waits."""
        self._ask, self._began = self.room.ask(self.wanted), self.room.clock()
        self.hold, self.refused, self.was_free, self._unsure = None, None, False, False
        try:
            outcome = yield from flows.take(self.room, self._ask)
        except BaseException:
            self.room.done(self._ask)
            raise
        if isinstance(outcome, Waiting):
            self.waits = True
        else:
            self._hear(self._ask, outcome)
            self.was_free = self.hold is not None

    def wait(self) -> Flow[None]:
        """Wait for what was queued for, as long as is wanted; a flow of its own, after ``ask``."""
        if self._ask is None or not self.waits:
            return
        self.waits = False
        try:
            outcome = yield from flows.wait(self.room, self._ask, self._began)
        except BaseException:
            self.room.done(self._ask)
            raise
        self._hear(self._ask, outcome)

    @property
    def settles(self) -> bool:
        """Whether ``settle`` has anything to do."""
        return self.waits or self._unsure or self._holds

    def settle(self) -> Flow[None]:
        """Give back what is held, stop waiting for what is not. May be run again, also after an outage."""
        if self.hold is not None and self._holds:
            self._unsure = isinstance((yield from flows.release(self.room, self.hold)), Failure)
        elif self._ask is not None and (self.waits or self._unsure):
            waited, self.waits, self._unsure = self.waits, False, True
            self._unsure = isinstance((yield from flows.leave(self.room, self._ask)), Failure)
            if waited:
                self.room.done(self._ask)

    @property
    def _holds(self) -> bool:
        return self.hold is not None and not self.hold.released and not self.hold.degraded

    def _hear(self, ask: Ask, outcome: Outcome) -> None:
        self.room.done(ask)
        match outcome:
            case Hold():
                self.hold = outcome
            case LockTimeout() | QueueFull():
                self.refused = outcome
            case failure:
                # The question may have arrived although its answer did not.
                self._unsure = True
                if self.room.open_in_outage:
                    self.hold = self.room.degraded(ask)
                else:
                    self.refused = _away(failure)


def _away(failure: Failure) -> RedisUnavailable:
    """An error reply (OOM, READONLY, LOADING) is an outage of this command."""
    return RedisUnavailable(f"Redis answered {failure.code}") if isinstance(failure, CommandError) else failure
