"""The flow that watches one session until it is over, for connections that outlive the request that opened them."""

from redis_mw.flows import Failure, Flow, Wait, one
from redis_mw.sessions.store import Store

RECHECK_US = 30_000_000
"""An end is announced; this bounds how long one whose announcement was lost goes unnoticed."""
AGAIN_US = 1_000_000
ROUNDING_US = 1_000
"""Redis ends a key on the millisecond."""


def ended(store: Store, name: str, *, recheck_us: int = RECHECK_US) -> Flow[None]:
    """Return once the session has ended: logged out, revoked, damaged, or past its time.

    A regeneration is no end, as long as the old id's grace lets us see it: its successor is watched from then on,
    without reading what it holds. An outage is no end either.
    """
    while True:
        read = yield from one(store.commands.watch(name))
        if isinstance(read, Failure):
            left_us = AGAIN_US
        elif read.meta is None:
            return
        elif read.status == "old":
            name = store.commands.name_of(read.fields["n"].decode("utf-8", "surrogateescape"))
            continue
        else:
            left_us = max(store.commands.left_us(read.meta, read.now_us), 0) + ROUNDING_US
        _ = yield Wait((store.commands.channel(name),), min(left_us, recheck_us) / 1_000_000)
