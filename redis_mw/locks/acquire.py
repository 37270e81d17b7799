"""The flows that get locks, give them back and keep them.

``take`` asks once, in one round trip, and queues where it may wait; ``wait`` waits for what it was queued for; ``lock``
is both. One that is interrupted gives back what it may have got meanwhile, by itself. One that ends with a ``Failure``
does not know what it has got: then ``leave`` is to be run in the background.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from redis_mw.errors import LockTimeout, QueueFull
from redis_mw.flows import Batch, Command, Failure, Flow, T, Wait, one
from redis_mw.locks.ask import Ask
from redis_mw.locks.commands import Crowded, Granted, Waiting, granted
from redis_mw.locks.hold import Hold
from redis_mw.locks.room import Room

APART_S, AT_MOST_S = 0.005, 0.1
"""When a lease ends with nobody saying so, those who wait look one after the other, so that the first one finds it."""
AFTER_S = 0.001

Outcome: TypeAlias = Hold | LockTimeout | QueueFull | Failure


def lock(room: Room, ask: Ask) -> Flow[Outcome]:
    """Get all of the locks, waiting for them as long as is wanted."""
    began = room.clock()
    try:
        outcome = yield from take(room, ask)
        return (yield from wait(room, ask, began)) if isinstance(outcome, Waiting) else outcome
    finally:
        room.done(ask)


def take(room: Room, ask: Ask) -> Flow[Outcome | Waiting]:
    """Get all of the locks in one round trip, or be queued for them: then ``wait`` is to follow, or ``leave``."""
    began = room.clock()
    answer = yield from _sent(room.commands.acquire(ask), lambda: room.commands.leave(ask))
    match answer:
        case Granted():
            room.tell("lock.acquired", ask)
            return room.hold(ask, answer, began)
        case Waiting() if ask.wanted.wait_us:
            return answer
        case Waiting():
            return _timeout(room, ask, "busy", began)
        case Crowded():
            return _crowded(room, ask, began)
        case _:
            return answer


def wait(room: Room, ask: Ask, began: float) -> Flow[Outcome]:
    """Wait for what ``take`` was queued for, at most until as long after ``began`` as is wanted in all.

    Woken when the locks are ours; looks by itself when a lease ends without a word. In the end the queue is left.
    """
    due = began + ask.wanted.wait_us / 1e6
    channel = room.commands.channel(ask)
    room.memory.keep(channel)
    look = room.commands.acquire(ask, listens=True)
    while room.clock() < due:
        asked = room.clock()
        answer = yield from _sent(look, lambda: room.commands.leave(ask))
        if isinstance(answer, Waiting):
            woken = yield from _woken(room, ask, channel, answer, due)
            if woken is None or woken.ttl_us < ask.wanted.ttl_us:
                continue  # time to look, or granted as to somebody who may be dead
            # What the server did so long after it answered, we know to be ours since then, by our own clock.
            asked = min(room.clock(), asked + max(0, woken.now_us - answer.now_us) / 1e6)
            if room.clock() >= asked + woken.ttl_us / 1e6:
                continue
            answer = woken
        match answer:
            case Granted():
                room.tell("lock.waited", ask, seconds=room.clock() - began)
                return room.hold(ask, answer, asked)
            case Crowded():
                return _crowded(room, ask, began)
            case _:
                return answer
    _ = yield from leave(room, ask)
    return _timeout(room, ask, "waited", began)


def _woken(room: Room, ask: Ask, channel: str, waiting: Waiting, due: float) -> Flow[Granted | None]:
    """Sleep until we are told that the locks are ours, or it is time to look."""
    look_s = waiting.look_us / 1e6 + AFTER_S + min(waiting.before * APART_S, AT_MOST_S)
    try:
        woken = yield Wait((channel,), max(0.0, min(look_s, due - room.clock())))
    except GeneratorExit:
        raise
    except BaseException:
        _ = yield from leave(room, ask)
        raise
    return None if woken is None else granted(ask, woken.message)


def leave(room: Room, ask: Ask) -> Flow[bool | Failure]:
    """Wait no more; what was granted meanwhile goes to the next one. True if something was. May be run again."""
    return (yield from one(room.commands.leave(ask)))


def release(room: Room, hold: Hold) -> Flow[bool | Failure]:
    """Give the locks back, to the next one who waits if any does; False if they were not ours any more."""
    if hold.degraded:
        return True
    room.memory.held.drop(hold)
    command = room.commands.release(hold.ask)
    reply = yield from _sent(command, lambda: command)
    if reply is False or (isinstance(reply, Failure) and hold.over):
        room.lose(hold, hold.cause)
    hold.close()
    return reply


def extend(room: Room, hold: Hold, ttl_us: int) -> Flow[bool | Failure]:
    """Have the lease last so long from now on, and each time it is renewed; False if it is over.

    Its pace may be another one then: it is to be added to what is held anew.
    """
    if hold.degraded:
        return True
    began = room.clock()
    reply = yield from one(room.commands.renew(hold.ask, ttl_us))
    if reply is True:
        room.memory.held.drop(hold)
        hold.ttl_us = ttl_us
        hold.until = max(hold.until, began + ttl_us / 1e6)
        hold.lasts(began + ttl_us / 1e6)
    elif reply is False:
        room.lose(hold, "taken")
    return reply


def _sent(command: Command[T], undo: Callable[[], Command[Any]]) -> Flow[T | Failure]:
    """Send a command. Interrupted, it may or may not have left: ``undo`` is sent in the background, which does no harm
    either way.
    """
    try:
        reply = (yield Batch((command,)))[0]
        return reply if isinstance(reply, Failure) else command.parse(reply)
    except GeneratorExit:
        raise
    except BaseException:
        _ = yield from one(undo())
        raise


def _timeout(room: Room, ask: Ask, outcome: str, began: float) -> LockTimeout:
    room.tell("lock.timeout", ask, outcome=outcome, seconds=room.clock() - began)
    return LockTimeout(ask.wanted.names)


def _crowded(room: Room, ask: Ask, began: float) -> QueueFull:
    room.tell("lock.timeout", ask, outcome="queue_full", seconds=room.clock() - began)
    return QueueFull(ask.wanted.names)
