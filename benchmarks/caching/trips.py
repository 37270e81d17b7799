"""What one request asks of a server."""

from typing import NamedTuple

from benchmarks.caching.worker import Worker
from benchmarks.server import Watch, Work

COUNTED = 20


class Trips(NamedTuple):
    hit: Work
    store: Work
    """Of a page that is not there yet."""


def trips(worker: Worker, url: str) -> Trips:
    """By one request after another; connections are open already."""
    worker.ask("takes", 0)
    worker.ask("each", ["/warm", "/warm"])
    with Watch(url) as watch:
        before = watch.count()
        worker.ask("each", [f"/new-{each}" for each in range(COUNTED)])
        store = watch.work(before, COUNTED)
        before = watch.count()
        worker.ask("each", ["/warm"] * COUNTED)
        return Trips(watch.work(before, COUNTED), store)
