"""A server that takes what is sent to it and says nothing any more."""

from collections.abc import Mapping
from time import monotonic
from typing import NamedTuple

from benchmarks.caching.contender import Contender
from benchmarks.caching.line import Line
from benchmarks.caching.worker import Reply, Worker, at_once, working

TAKES_S = 0.0
UNDER_WAY = 8
STEADY = 50
SLOW_S = 1


class Silent(NamedTuple):
    """Seconds of the slowest of those who ask first; of those who ask later, the 95th percentile and the slowest; how
    many of all failed. Infinite: no answer in time.
    """

    first: float
    later: float
    slowest: float
    failed: int


NEVER = Silent(float("inf"), float("inf"), float("inf"), 0)


def silent(wanted: Mapping[str, tuple[Contender, str]], ttl: int, within: float) -> dict[str, Silent]:
    """Of every contender at the same time. Whoever took long for the first is asked once more only."""
    lines = {name: Line(url) for name, (_, url) in wanted.items()}
    try:
        with working([(wanted[name][0], line.url) for name, line in lines.items()], TAKES_S, ttl) as workers:
            for worker in workers:
                worker.ask("each", ["/warm", "/warm"])
                at_once([worker], "crowd", "/warm", UNDER_WAY)
            for line in lines.values():
                line.fall_silent()
            asked = dict(zip(wanted, workers, strict=True))
            found = dict.fromkeys(wanted, NEVER)
            for worker in asked.values():
                worker.tell("crowd", "/warm", UNDER_WAY, 0.0)
            first = _heard(asked, within)
            slow = {name: asked[name] for name, replies in first.items() if _slowest(replies) > SLOW_S}
            # The quick ones each alone: a few ms would be the work of the others.
            later = {name: asked[name].ask("each", ["/warm"] * STEADY) for name in first if name not in slow}
            for worker in slow.values():
                worker.tell("each", ["/warm"])
            later |= _heard(slow, within)
            for name, replies in first.items():
                found[name] = _silent(replies, later.get(name))
            return found
    finally:
        for line in lines.values():
            line.close()


def _heard(asked: Mapping[str, Worker], within: float) -> dict[str, list[Reply]]:
    """What they say by the end of so many seconds."""
    ends, found = monotonic() + within, {}
    for name, worker in asked.items():
        try:
            found[name] = worker.hear(max(0.0, ends - monotonic()))
        except TimeoutError:
            continue
    return found


def _slowest(replies: list[Reply]) -> float:
    return max(reply.took for reply in replies)


def _silent(first: list[Reply], later: list[Reply] | None) -> Silent:
    failed = sum(reply.status != 200 for reply in [*first, *(later or [])])
    if later is None:
        return Silent(_slowest(first), float("inf"), float("inf"), failed)
    took = sorted(reply.took for reply in later)
    return Silent(_slowest(first), took[int(0.95 * (len(took) - 1))], took[-1], failed)
