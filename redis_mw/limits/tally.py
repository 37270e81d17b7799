"""One request's limits: asked before it runs, settled when its response is known.

The layer holds a ``Tally`` beside the session's ``Visit``. It does no I/O itself, and is used by one request only.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from redis_mw.errors import LimitExceeded
from redis_mw.flows import Flow
from redis_mw.limits.asks import Ask, Taken
from redis_mw.limits.check import Checked, check, known, settle
from redis_mw.limits.entry import Entry
from redis_mw.limits.fields import fields
from redis_mw.limits.quota import Quota
from redis_mw.limits.refusals import refusal
from redis_mw.limits.room import Room
from redis_mw.limits.verdict import Explanation, Verdict
from redis_mw.policy.caller import Caller
from redis_mw.policy.marks import name_of


class Tally:
    """What was asked of which limits for this request, and what they said.

    ``refused`` is why it must not pass, None while it may. Entries that count the same numbers are asked once.
    """

    def __init__(self, room: Room, caller: Caller) -> None:
        self.room = room
        self.caller = caller
        self.verdicts: tuple[Verdict, ...] = ()
        self.refused: LimitExceeded | None = None
        self.quotas: dict[str, Quota] = {}
        self._entries: dict[str, Entry] = {}
        self._names: dict[str, None] = {}
        self._took: list[tuple[Entry, Verdict, Taken]] = []
        self._id = ""
        self._charged = 0
        self._exempt: bool | None = None
        self._settled = False

    def begin(self, entries: Iterable[Entry], method: str) -> list[Ask]:
        """The questions of these limits that were not asked for this request before.

        Calls what users wrote; what it raises passes through. Nothing is left to ask if the lists of the settings
        decide.
        """
        if self._exempt is None:
            self._look_into_lists()
        if self._exempt or self.refused is not None:
            return []
        room, caller, asks = self.room, self.caller, []
        for entry in entries:
            if entry.methods is not None and method not in entry.methods:
                continue
            quota = entry.quota(caller.native)
            if quota is None:
                continue
            client = room.clients.of(caller, entry.by)
            key = room.commands.key(client.tag, quota.part)
            while key in self._entries and self._entries[key].limit != entry.limit:
                key += "+"  # another limit at a place of the same name: behind a decorator that drops what we wrote
            if key in self._entries:
                continue
            quota = self._under_a_name_of_its_own(quota)
            self._entries[key] = entry
            self._names.update(dict.fromkeys(client.names))
            asks.append(Ask(quota, key, entry.cost(caller.native)))
            self._id = self._id or (room.memory.new_id() if quota.needs_id else "")
        return asks

    def knows(self, asks: Sequence[Ask]) -> bool:
        """Whether this process knows that these are denied, and so need not ask Redis."""
        found = known(self.room, asks)
        if found is not None:
            self._hear(asks, found)
        return found is not None

    def ask(self, asks: Sequence[Ask]) -> Flow[None]:
        """Ask them all in one round trip. If one denies, ``settle`` gives back what was taken before."""
        if asks and self.refused is None:
            self._hear(asks, (yield from check(self.room, asks, tuple(self._names), self._id)))

    def charge(self, units: int) -> None:
        """Count so many units more (below 0: less) once the request is over, in every limit that it was counted in."""
        self._charged += units

    def settle(self, status: int, response: Any = None) -> Flow[None]:
        """What the response has decided: failed or not, what it cost. Once; frees the slots in any case.

        What a callable of the user's raises is raised when that is done; the request then counts as it was taken.
        Everything is given back if the request was refused after all, by a limit that was asked late.
        """
        if self.refused is not None:
            yield from self.release()
            return
        changes: list[tuple[Verdict, Taken, int]] = []
        failure: Exception | None = None
        for entry, verdict, taken in self._took:
            counted = taken.cost
            try:
                counted = entry.counted(taken.cost, status, response)
            except Exception as error:
                failure = error
            # Never below nothing: the rest of what is held there is other requests'.
            changes.append((verdict, taken, max(0, counted + self._charged) - taken.cost))
        yield from self._settle(changes)
        if failure is not None:
            raise failure

    def release(self) -> Flow[None]:
        """The application will not run: give back whatever this request took."""
        yield from self._settle([(verdict, taken, -taken.cost) for _, verdict, taken in self._took])

    def explain(self, entries: Iterable[Entry], method: str) -> Flow[list[Explanation]]:
        """What each of these would say; nothing is counted."""
        self._exempt = False
        asks = self.begin(entries, method)
        if not asks:
            return []
        checked = yield from check(self.room, asks, (), self._id, peek=True)
        return [self._explained(ask, verdict) for ask, verdict in zip(asks, checked.verdicts, strict=False)]

    def _explained(self, ask: Ask, verdict: Verdict) -> Explanation:
        entry = self._entries[ask.key]
        by = ", ".join(each if isinstance(each, str) else name_of(each) for each in entry.by)
        client = self.room.clients.of(self.caller, entry.by)
        return Explanation(
            name=verdict.name, place=entry.place, by=by, client=client.text, key=ask.key, verdict=verdict
        )

    @property
    def took(self) -> bool:
        """Whether something that was taken is still to be freed, kept or corrected."""
        if self._settled:
            return False
        changed = self._charged or self.refused is not None
        return any(changed or taken.is_slot or taken.reserved for _, _, taken in self._took)

    def fields(self) -> list[tuple[str, str]]:
        """The header fields that tell of the limits."""
        return fields(self.verdicts, self.quotas, style=self.room.headers, one=self.room.one_header)

    def _settle(self, changes: Sequence[tuple[Verdict, Taken, int]]) -> Flow[None]:
        if self._settled:
            return
        self._settled = True
        found: list[tuple[Taken, int]] = []
        for verdict, taken, add in changes:
            if verdict.degraded:
                _ = self.room.memory.ledger.settle(taken, add, self.room.now_us())
            elif taken.is_slot or taken.reserved:
                found.append((taken, add))
            elif add:
                found.append((msgspec.structs.replace(taken, id=""), add))
        yield from settle(self.room, found, self._id)

    def _look_into_lists(self) -> None:
        room, caller = self.room, self.caller
        client = room.clients.at(caller.address)
        self._names.update(dict.fromkeys(client.names))
        self._exempt = room.allows(client, caller.address, caller.user)
        if not self._exempt and room.denies(client, caller.address, caller.user):
            self._hear((), Checked((), "list"))

    def _under_a_name_of_its_own(self, quota: Quota) -> Quota:
        """So that a response never tells of two policies under one name."""
        name, number = quota.name, 2
        while name in self.quotas:
            name, number = f"{quota.name}-{number}", number + 1
        if name != quota.name:
            quota = msgspec.structs.replace(quota, name=name)
        self.quotas[name] = quota
        return quota

    def _hear(self, asks: Sequence[Ask], checked: Checked) -> None:
        self.verdicts += checked.verdicts
        if not checked.refused:  # what a denied request was charged stays charged
            for ask, verdict in zip(asks, checked.verdicts, strict=True):
                if verdict.taken is not None:
                    self._took.append((self._entries[ask.key], verdict, verdict.taken))
        if self.room.events:
            self._tell(checked)
        if checked.refused:
            self.refused = refusal(checked, self.quotas)

    def _tell(self, checked: Checked) -> None:
        events = self.room.events
        for verdict in checked.verdicts:
            if verdict.degraded:
                events.emit("limit.degraded", outcome="allowed" if verdict else "denied", policy=verdict.name)
            if verdict.shadow and verdict.retry_after:
                events.emit("limit.shadow", outcome="denied", policy=verdict.name)
            elif not verdict:
                events.emit("limit.ban" if verdict.banned else "limit.denied", outcome="limit", policy=verdict.name)
            elif not verdict.degraded and not checked.refused:
                events.emit("limit.allowed", outcome="allowed", policy=verdict.name)
        if checked.refused == "list":
            events.emit("limit.denied", outcome="list")
        elif checked.refused == "closed":
            events.emit("limit.degraded", outcome="closed")
