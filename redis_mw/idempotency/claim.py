"""The flows of one key: claim it, wait for it, complete it, give it back.

They end with a value of ``outcomes``; a Redis that is away is one of them, so whoever asks decides what that means.
"""

from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.flows import Failure, Flow, Wait, one
from redis_mw.idempotency.commands import Ask, Claimed, Commands
from redis_mw.idempotency.outcomes import Away, Busy, First, Mismatch, Orphan, Outcome, Replay, Unkept
from redis_mw.idempotency.response import decode

ROUNDING_US = 1_000
"""A lease is over on the microsecond; so much later it is over for sure."""


def claim(commands: Commands, ask: Ask, *, listen: bool = False) -> Flow[Outcome]:
    """Ask once, and end at once. Interrupted, it gives back what it may have taken."""
    try:
        claimed = yield from one(commands.claim(ask, listen=listen))
    except GeneratorExit:  # closed where it stands: nothing can be sent any more
        raise
    except BaseException:
        _ = yield from one(commands.release(ask))
        raise
    return away(claimed) if isinstance(claimed, Failure) else _outcome(claimed)


def wait_for(commands: Commands, ask: Ask, within_us: int) -> Flow[Outcome]:
    """Ask until the key is not busy, or so many microseconds were spent waiting; ``Busy`` only then.

    Sleeps until the end of the run is announced, and looks again when its lease must be over.
    """
    left_us = within_us
    while True:
        outcome = yield from claim(commands, ask, listen=True)
        if not isinstance(outcome, Busy) or left_us <= 0:
            return outcome
        sleep_us = min(left_us, outcome.left_us + ROUNDING_US)
        woken = yield Wait((commands.channel(ask.name),), sleep_us / 1e6)
        left_us -= sleep_us if woken is None else round(woken.after * 1e6)


def complete(commands: Commands, ask: Ask, response: bytes) -> Flow[bool | Away]:
    """Store the response of a run; False if the key has become another run's. May be done again."""
    stored = yield from one(commands.complete(ask, response))
    return away(stored) if isinstance(stored, Failure) else stored


def release(commands: Commands, ask: Ask) -> Flow[bool | Away]:
    """Give a claim back, so that the next request runs; False if it is another's, or complete. May be done again."""
    released = yield from one(commands.release(ask))
    return away(released) if isinstance(released, Failure) else released


def forget(commands: Commands, name: str) -> Flow[bool | Away]:
    """Forget whatever is stored under a name, so that the next request runs: how an application resolves an orphan."""
    gone = yield from one(commands.forget(name))
    return away(gone) if isinstance(gone, Failure) else gone


def away(failure: CommandError | RedisUnavailable) -> Away:
    """What a failure means here: an error reply (OOM, READONLY, LOADING) is an outage of this command."""
    if isinstance(failure, RedisUnavailable):
        return Away(failure.reason, failure.retry_after)
    return Away(f"Redis answered {failure.code}")


def _outcome(claimed: Claimed) -> Outcome:
    match claimed.status:
        case "first":
            return First(claimed.run)
        case "busy":
            return Busy(claimed.left_us)
        case "mismatch":
            return Mismatch()
        case "orphan":
            return Orphan()
        case "damaged":
            return Orphan(damaged=True)
        case "done":
            response = decode(claimed.response)
            if response is None:
                return Orphan(damaged=True)
            return Replay(response) if response.body is not None else Unkept(response)
