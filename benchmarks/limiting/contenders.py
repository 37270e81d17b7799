"""Who takes part."""

from functools import cache, partial
from importlib.metadata import version

from benchmarks.limiting.limiter import Contender
from benchmarks.limiting.ours import OurAsyncLimiter, OurLimiter, Shape
from benchmarks.limiting.with_limits import AsyncLimitsLimiter, LimitsLimiter
from benchmarks.limiting.with_pyrate import AsyncPyrateLimiter, PyrateLimiter
from benchmarks.limiting.with_throttled import AsyncThrottledLimiter, ThrottledLimiter

OURS = "redis-mw"
OUR_SHAPES = {
    "sliding": Shape("sli", "sliding"),
    "gcra": Shape("gcr", "gcra", burst_of=1.0),  # as the peers have it: all of the limit at once
    "gcra strict (b = N/4)": Shape("str", "gcra", burst_of=0.25, strict=True),
    "fixed": Shape("fix", "fixed"),
}
PEERS = {
    "limits": "limits",
    "throttled": "throttled-py",
    "pyrate": "pyrate-limiter",
}
"""How a row of the tables names them, and what they are installed as."""
PYRATE = "pyrate: try_acquire(blocking=False) also refuses while another thread of the process is in it"


@cache
def contenders() -> dict[str, Contender]:
    """Every row by its name."""
    rows = [
        Contender(
            f"{OURS} {name}",
            partial(OurLimiter, shape),
            partial(OurAsyncLimiter, shape),
            ours=True,
            burst_of=shape.burst_of or 1.0,
            bounded=shape.algorithm == "sliding" or shape.strict,
        )
        for name, shape in OUR_SHAPES.items()
    ]
    rows += [
        Contender(f"limits {name}", partial(LimitsLimiter, strategy), partial(AsyncLimitsLimiter, strategy))
        for name, strategy in (
            ("fixed", "fixed-window"),
            ("moving (log)", "moving-window"),
            ("sliding", "sliding-window-counter"),
        )
    ]
    rows += [
        Contender(f"throttled {name}", partial(ThrottledLimiter, using), partial(AsyncThrottledLimiter, using))
        for name, using in (
            ("fixed", "fixed_window"),
            ("sliding", "sliding_window"),
            ("token bucket", "token_bucket"),
            ("leaking bucket", "leaking_bucket"),
            ("gcra", "gcra"),
        )
    ]
    rows += [
        Contender(f"pyrate {name}", partial(PyrateLimiter, kind), partial(AsyncPyrateLimiter, kind), note=PYRATE)
        for name, kind in (("log", "log"), ("gcra", "gcra"))
    ]
    return {row.name: row for row in rows}


def versions() -> str:
    """What is compared, for the head of the report."""
    return ", ".join(f"{name} {version(name)}" for name in (*PEERS.values(), "redis"))
