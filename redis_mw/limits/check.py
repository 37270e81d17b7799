"""The flows that ask: may this pass, and what has to be given back of what it took."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from redis_mw.flows import Failure, Flow, one, send
from redis_mw.limits.asks import Answer, Ask, Taken
from redis_mw.limits.commands import Told
from redis_mw.limits.room import LOOK_AGAIN_S, Memory, Room
from redis_mw.limits.verdict import Verdict

Reason: TypeAlias = Literal["", "limit", "list", "closed"]


class Checked(msgspec.Struct, frozen=True):
    """What came of asking. ``refused`` says why the request must not pass, '' if it may.

    ``verdicts`` are in the order of the question; there are none where a list decided, or a limit that is closed.
    """

    verdicts: tuple[Verdict, ...] = ()
    refused: Reason = ""
    retry_after: float | None = None


def known(room: Room, asks: Sequence[Ask]) -> Checked | None:
    """What this process knows without asking: that one of these is denied."""
    found = room.memory.denials.find(asks, room.clock())
    return None if found is None else Checked(tuple(found[1]), "limit", found[0])


def check(room: Room, asks: Sequence[Ask], names: tuple[str, ...], id: str, *, peek: bool = False) -> Flow[Checked]:
    """Ask all these limits at once: each is taken from, or none. With ``peek`` nothing is taken.

    ``names`` are what the client is called in the lists. Raises nothing: while Redis is away the policy of each limit
    decides. Interrupted, it frees the slots that it may have taken.
    """
    memory, now = room.memory, room.clock()
    stocked: dict[int, Verdict] = {}
    left = asks
    if room.takes_ahead and not peek:
        for index, ask in enumerate(asks):
            if ask.quota.ahead and (verdict := memory.stock.take(ask, now, id)) is not None:
                stocked[index] = verdict
        left = [ask for index, ask in enumerate(asks) if index not in stocked]
        if not left:
            return Checked(tuple(stocked[index] for index in range(len(asks))))
    told = yield from _told(room, memory, left, names, id, now, peek)
    if isinstance(told, Failure):
        checked = _without_redis(room, left, id, peek)
    elif told.listed:
        checked = Checked(tuple(_passing(ask) for ask in left))
    elif told.refused_us is not None:
        checked = Checked((), "list", None if told.refused_us < 0 else told.refused_us / 1e6)
    else:
        checked = _checked(memory, left, told.answers, id, now, peek)
    if not stocked:
        return checked
    if checked.refused or (not isinstance(told, Failure) and told.listed):
        for index, verdict in stocked.items():
            memory.stock.put_back(asks[index], verdict)
            stocked[index] = msgspec.structs.replace(verdict, taken=None)
    if len(checked.verdicts) < len(left):
        return checked
    rest = iter(checked.verdicts)
    verdicts = tuple(stocked[index] if index in stocked else next(rest) for index in range(len(asks)))
    return msgspec.structs.replace(checked, verdicts=verdicts)


def settle(room: Room, changes: Sequence[tuple[Taken, int]], id: str) -> Flow[None]:
    """Add units to what was taken (below 0: give back); slots are freed. Once, however often this is done."""
    for taken, _ in changes:
        if taken.is_slot:
            room.memory.slots.drop(taken)
    if changes:
        _ = yield from one(room.commands.settle([taken for taken, _ in changes], [add for _, add in changes], id))


def _told(
    room: Room, memory: Memory, asks: Sequence[Ask], names: tuple[str, ...], id: str, now: float, peek: bool
) -> Flow[Told | Failure]:
    take = room.commands.take(asks, names if now >= memory.lists_empty_until else (), id, peek=peek)
    leftovers: list[tuple[Taken, int]] = []
    if room.takes_ahead and not peek:
        ahead = [ask for ask in asks if ask.quota.ahead]
        leftovers = [found for ask in ahead if (found := memory.stock.leftover(ask, now)) is not None]
    try:
        if not leftovers:
            told = yield from one(take)
            if isinstance(told, Told) and told.nobody:
                memory.lists_empty_until = now + LOOK_AGAIN_S
            return told
        back = room.commands.settle([taken for taken, _ in leftovers], [-units for _, units in leftovers], "")
        _, told = yield from send(back, take)
        return told
    except BaseException:
        slots = [(Taken(ask, 0, 1, id), -1) for ask in asks if ask.quota.kind == "c"]
        if slots and not peek:
            yield from settle(room, slots, id)
        raise


def _checked(
    memory: Memory, asks: Sequence[Ask], answers: Sequence[Answer], id: str, asked_at: float, peek: bool
) -> Checked:
    verdicts: list[Verdict] = []
    denied: list[int] = []
    refused: Reason = ""
    wait = 0.0
    for place, (ask, answer) in enumerate(zip(asks, answers, strict=True)):
        quota = ask.quota
        verdict = verdict_of(ask, answer, id)
        if answer.status != 1 and not quota.limit.shadow:
            refused, wait = "limit", max(wait, verdict.retry_after)
            if not peek and (quota.cachable or (answer.status == 2 and "c" not in quota.flags)):
                denied.append(place)
        if answer.taken and verdict.taken is not None:
            if quota.kind == "c":
                memory.slots.hold(verdict.taken)
            elif quota.ahead and answer.taken > ask.cost:
                memory.stock.store(ask, answer, verdict, verdict.taken, asked_at)
        verdicts.append(verdict)
    if denied and not any(_counts(ask, answer) for ask, answer in zip(asks, answers, strict=True)):
        memory.denials.note(asks, verdicts, denied, asked_at)
    return Checked(tuple(verdicts), refused, wait if refused else None)


def _counts(ask: Ask, answer: Answer) -> bool:
    """Whether a denied repeat would be charged there, or be a strike."""
    return "c" in ask.quota.flags or (answer.status == 0 and bool(ask.quota.strikes))


def verdict_of(ask: Ask, answer: Answer, id: str, *, degraded: bool = False) -> Verdict:
    """An answer as the application sees it."""
    quota, taken = ask.quota, None
    if answer.taken:
        taken = Taken(ask, answer.mark, min(answer.taken, ask.cost), id, max(answer.reset_us, 1_000_000))
    return Verdict(
        allowed=answer.status == 1 or quota.limit.shadow,
        limit=quota.amount,
        name=quota.name,
        remaining=answer.remaining,
        reset_after=answer.reset_us / 1e6,
        retry_after=answer.wait_us / 1e6,
        degraded=degraded,
        shadow=quota.limit.shadow,
        banned=answer.status == 2,
        taken=taken,
    )


def _without_redis(room: Room, asks: Sequence[Ask], id: str, peek: bool) -> Checked:
    """Each limit by its own policy; what is counted in this process is taken from all or none, too."""
    policies = [ask.quota.limit.on_outage for ask in asks]
    if any(policy == "closed" and not ask.quota.limit.shadow for policy, ask in zip(policies, asks, strict=True)):
        return Checked((), "closed", 1.0)
    local = [_share(ask, room.workers) for ask, policy in zip(asks, policies, strict=True) if policy == "local"]
    answers = iter(room.memory.ledger.take(local, room.now_us(), id, peek=peek))
    shares = iter(local)
    verdicts: list[Verdict] = []
    refused: Reason = ""
    wait = 0.0
    for ask, policy in zip(asks, policies, strict=True):
        if policy == "local":
            verdict = verdict_of(next(shares), next(answers), id, degraded=True)
        else:
            verdict = _passing(ask, degraded=True)
        if not verdict:
            refused, wait = "limit", max(wait, verdict.retry_after)
        verdicts.append(verdict)
    return Checked(tuple(verdicts), refused, wait if refused else None)


def _share(ask: Ask, workers: int) -> Ask:
    quota = ask.quota.shared_by(workers)
    return Ask(quota, ask.key, min(ask.cost, quota.amount, quota.burst or quota.amount))


def _passing(ask: Ask, *, degraded: bool = False) -> Verdict:
    quota = ask.quota
    return Verdict(
        allowed=True,
        limit=quota.amount,
        name=quota.name,
        remaining=quota.amount,
        degraded=degraded,
        shadow=quota.limit.shadow,
    )
