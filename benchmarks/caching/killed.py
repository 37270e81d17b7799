"""A process that is killed while it makes what another one waits for."""

import time
from collections.abc import Mapping

from benchmarks.caching.contender import Contender
from benchmarks.caching.worker import working

TAKES_S = 0.05
APART_S, RUNS_S = 0.3, 0.7


def killed(wanted: Mapping[str, tuple[Contender, str]], ttl: int, within: float) -> dict[str, float]:
    """Seconds from its end to the other's answer, of every contender at the same time; infinite if there is none
    ``within`` so many, 0 for who had not waited at all.
    """
    both = [each for each in wanted.values() for _ in range(2)]
    with working(both, TAKES_S, ttl) as workers:
        leaders, others = workers[::2], workers[1::2]
        for worker in workers:
            worker.ask("each", ["/warm", "/warm"])
        for leader in leaders:
            leader.ask("takes", 3600)
            leader.tell("each", ["/killed"])
        time.sleep(APART_S)
        for other in others:
            other.tell("each", ["/killed"])
        time.sleep(RUNS_S)
        for leader in leaders:
            leader.kill()
        begin = time.monotonic()
        found = dict.fromkeys(wanted, float("inf"))
        waiting = dict(zip(wanted, others, strict=True))
        while waiting and time.monotonic() - begin < within:
            for name, other in tuple(waiting.items()):
                try:
                    (reply,) = other.hear(within=0.01)
                except TimeoutError:
                    continue
                del waiting[name]
                found[name] = max(0.0, reply.took - RUNS_S)
        return found
