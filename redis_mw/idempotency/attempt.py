"""One request that came with a key: asked before it runs, completed when its response is known.

The layer holds an ``Attempt`` beside the session's ``Visit`` and the limits' ``Tally``. It does no I/O itself, and is
used by one request only.
"""

from collections.abc import Iterable

import msgspec

from redis_mw.errors import IdempotencyError
from redis_mw.events import EventName
from redis_mw.flows import Flow
from redis_mw.http.request import Request
from redis_mw.idempotency import claim as flows
from redis_mw.idempotency.commands import Ask
from redis_mw.idempotency.entry import Entry
from redis_mw.idempotency.fingerprint import Fingerprint
from redis_mw.idempotency.key import Malformed, key_of
from redis_mw.idempotency.outcomes import Away, Busy, First, Mismatch, Orphan, Outcome, Replay, Unkept
from redis_mw.idempotency.refusals import malformed, missing, refusal, too_large
from redis_mw.idempotency.response import Recorder, Stored, encode, is_stored, stored
from redis_mw.idempotency.room import Room
from redis_mw.policy.caller import Caller
from redis_mw.policy.templates import Fill

REPLAYED = ("Idempotency-Replayed", "true")


def begin(room: Room, entry: Entry, request: Request) -> "Attempt | IdempotencyError | None":
    """The attempt that a request is; None where it need not have a key and has none.

    Costs no command. An error says what is wrong with the request; it must not run then.
    """
    key = key_of(request.headers.get_all(room.header))
    if key is None:
        return missing(room.header) if entry.required else None
    if isinstance(key, Malformed):
        return malformed(room.header, key.detail)
    length = request.headers.get("content-length")
    if length is not None and length.isascii() and length.isdigit() and _over(length, room.max_body):
        return too_large(room.max_body)
    return Attempt(room, entry, request, key)


class Attempt:
    """What this process knows of one request with a key.

    In this order: ``read`` its body to the end, and say whom it ``comes_from``; ``ask``, and ``wait`` if it ``waits``;
    then either send ``replay``, or say ``refused``, or run the application if it ``runs``. Afterwards ``complete``
    before the end of the response can be seen, or ``release``; and ``settle`` in any case, which nobody needs to wait
    for.
    """

    def __init__(self, room: Room, entry: Entry, request: Request, key: str) -> None:
        self.room = room
        self.entry = entry
        self.outcome: Outcome | None = None
        self.refused: IdempotencyError | None = None
        self.replay: Stored | None = None
        """The answer to give instead of running, with the field that says so."""
        self.degraded = False
        """Redis was away and the settings let it run: unprotected."""
        content_type = ", ".join(request.headers.get_all("content-type"))
        self._fingerprint = Fingerprint(request.method, request.path, request.query, content_type)
        self.name = ""
        """Of the record; known once it is known whom the request comes from."""
        self._key = key
        self._ask: Ask | None = None
        self._unsure = False
        self._unsaved: bytes | None = None
        self._unkept = False
        self._ended = False

    def read(self, chunk: bytes) -> bool:
        """The next part of the request's body; False, and ``refused``, if it has become too large."""
        self._fingerprint.add(chunk)
        if self._fingerprint.size > self.room.max_body:
            self.cut()
        return self.refused is None

    def cut(self) -> None:
        """There is more of the body than may be compared: the request is refused."""
        self.refused = too_large(self.room.max_body)

    def comes_from(self, caller: Caller, fill: Fill) -> None:
        """Say who sent it: keys of others are other keys. Calls what users wrote for the scope, which may raise."""
        self.name = self.room.names.of(self.entry.scope(caller, fill), self._key)

    def ask(self) -> Flow[None]:
        """Claim the key; never waits. The body must have been read: what it asks for is part of the question."""
        if self.refused is None and self._ask is None:
            self._ask = Ask(self.name, self._fingerprint.digest(), self.room.memory.new_owner())
            self._hear(self._ask, (yield from flows.claim(self.room.commands, self._ask)))

    @property
    def waits(self) -> bool:
        """Whether another one is running and the policy is to wait for it."""
        return isinstance(self.outcome, Busy) and self.entry.wait_us > 0

    def wait(self) -> Flow[None]:
        """Wait for the one that is running, as long as the policy says; a flow of its own, after ``ask``."""
        if self._ask is not None and self.waits:
            outcome = yield from flows.wait_for(self.room.commands, self._ask, self.entry.wait_us)
            if isinstance(outcome, Away):
                # What is known of the other one stands, and our question may have arrived.
                self._unsure = True
            else:
                self.refused = None
                self._hear(self._ask, outcome)

    def confirm(self) -> Flow[None]:
        """Claim the key once more, after something else was waited for: the claim may have become another's."""
        if self._ask is not None and isinstance(self.outcome, First) and not self._ended:
            outcome = yield from flows.claim(self.room.commands, self._ask)
            if outcome != self.outcome:
                self.room.memory.leases.drop(self._ask.name, self._ask.owner)
                self._hear(self._ask, outcome)

    @property
    def runs(self) -> bool:
        """Whether the application may run, or does, and its response is to be completed."""
        return (isinstance(self.outcome, First) or self.degraded) and not (self._unkept or self._ended)

    def recorder(self, headers: Iterable[tuple[str, str]]) -> Recorder:
        """Takes the body of the response, for ``complete``; once it ``is_over``, that is to be called at once."""
        return Recorder(self.room.max_response, headers)

    def complete(self, status: int, headers: Iterable[tuple[str, str]], body: bytes | None) -> Flow[None]:
        """Store the response, or forget the claim if one of this status is not stored. Once; later calls do nothing.

        A ``body`` of None (too large, or cut off) is not kept: a repeat is told so, and does not run. If Redis is away
        now, ``settle`` tries again.
        """
        if not self.runs or self._unsaved is not None:
            return
        if not is_stored(status, store_5xx=self.room.store_5xx):
            yield from self.release()
            return
        if body is not None and len(body) > self.room.max_response:
            body = None
        self._unsaved = encode(stored(status, headers, body))
        yield from self._save()

    def release(self) -> Flow[None]:
        """The application will not run, or its run does not count: forget the claim, so that a repeat runs.

        If Redis is away now, ``settle`` tries again.
        """
        if self._ask is not None and self._unsaved is None and self.settles:
            self._unkept = True
            released = yield from flows.release(self.room.commands, self._ask)
            if not isinstance(released, Away):
                self._end()

    @property
    def settles(self) -> bool:
        """Whether ``settle`` has anything to do."""
        return not self._ended and (self.runs or self._unsure or self._unkept)

    def settle(self) -> Flow[None]:
        """After the response, always: save what could not be saved, give back what was never completed.

        From now on the claim is not renewed: it ends by itself where it cannot be given back, or this is cut off.
        """
        if self._ask is not None:
            self.room.memory.leases.drop(self._ask.name, self._ask.owner)
        if self._unsaved is None:
            yield from self.release()
            self._end()
        elif not self._ended:
            yield from self._save()
            if not self._ended:
                self._end()
                self._tell("idempotency.orphan", "not saved")

    def _save(self) -> Flow[None]:
        """Kept for ``settle`` until Redis has said that it has it: an interruption may have come before it was sent."""
        assert self._ask is not None and self._unsaved is not None
        saved = yield from flows.complete(self.room.commands, self._ask, self._unsaved)
        if isinstance(saved, Away):
            return
        self._end()
        if not saved:
            self._tell("idempotency.orphan", "late")

    def _end(self) -> None:
        self._ended, self._unsaved = True, None
        if self._ask is not None:
            self.room.memory.leases.drop(self._ask.name, self._ask.owner)

    def _hear(self, ask: Ask, outcome: Outcome) -> None:
        self.outcome = outcome
        match outcome:
            case First(run):
                self.room.memory.leases.hold(ask.name, ask.owner)
                self._tell("idempotency.first", "taken over" if run > 1 else "")
            case Replay(response):
                headers = (*response.headers, REPLAYED)
                self.replay = msgspec.structs.replace(response, headers=headers)
                self._tell("idempotency.replay")
            case Away():
                # The question may have arrived although its answer did not.
                self._unsure = True
                self.degraded = self.room.open_on_outage
                self._tell("idempotency.degraded", "open" if self.degraded else "closed")
                if not self.degraded:
                    self.refused = refusal(outcome, self.room.header)
            case Unkept() | Busy() | Mismatch() | Orphan():
                self.refused = refusal(outcome, self.room.header)
                self._tell_refused(outcome)

    def _tell(self, name: EventName, outcome: str = "") -> None:
        self.room.events.emit(name, outcome=outcome, policy=self.entry.place, record=self.name[:12])

    def _tell_refused(self, outcome: Unkept | Busy | Mismatch | Orphan) -> None:
        match outcome:
            case Unkept():
                self._tell("idempotency.replay", "not kept")
            case Busy():
                self._tell("idempotency.busy")
            case Mismatch():
                self._tell("idempotency.mismatch")
            case Orphan(damaged):
                self._tell("idempotency.damaged" if damaged else "idempotency.orphan")


def _over(digits: str, most: int) -> bool:
    """Whether a number is above another, without computing with one of any length."""
    digits = digits.lstrip("0")
    return len(digits) > len(str(most)) or int(digits or "0") > most
