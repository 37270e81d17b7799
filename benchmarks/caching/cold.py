"""A key of which nothing is stored, wanted by many at once."""

from typing import NamedTuple

from benchmarks.caching.ear import Ear
from benchmarks.caching.worker import Worker, at_once

CROWD = 100


class Cold(NamedTuple):
    """Origin calls of a crowd in one process, and of one spread over several; what the latter sent, and what a process
    more sends; the slowest answer divided by what the origin takes.
    """

    alone: int
    spread: int
    sent: int
    commands: float
    subscriptions: float
    slowest: float


def cold(workers: list[Worker], url: str, takes: float) -> Cold:
    """By workers of one contender, whose connections are open already.

    What a process sends that only waits: what all of them send, less what one alone does that is asked as often, by the
    number of the others.
    """
    for worker in workers:
        worker.ask("takes", takes)
        worker.ask("calls")
    at_once(workers[:1], "crowd", "/cold-for-one", CROWD)
    alone = len(workers[0].ask("calls"))
    part = CROWD // len(workers)
    with Ear(url) as ear:
        at_once(workers[:1], "crowd", "/cold-for-a-part", part)
        one = ear.heard()
    workers[0].ask("calls")
    with Ear(url) as ear:
        replies = at_once(workers, "crowd", "/cold-for-all", part)
        every = ear.heard()
    spread = sum(len(worker.ask("calls")) for worker in workers)
    slowest = max(reply.took for each in replies for reply in each) / takes
    others = len(workers) - 1
    commands, subscriptions = ((every[i] - one[i]) / others for i in (0, 1))
    return Cold(alone, spread, sum(every), commands, subscriptions, slowest)
