"""What all threads of a process share is made once, also if they ask for it at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor

from redis_mw import RedisMW, Settings
from redis_mw.processes import once


class Slow:
    """It takes a while to be made, so that all who ask come before it is there."""

    def __init__(self, threads: int) -> None:
        self.barrier = threading.Barrier(threads)

    @once
    def thing(self) -> object:
        """What is shared."""
        _ = self.barrier.wait(20)
        return object()


def test_threads_that_ask_at_once_get_the_same() -> None:
    slow = Slow(8)
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda _: slow.thing, range(8)))
    assert len(set(map(id, got))) == 1 and got[0] is slow.thing
    assert Slow.thing.__doc__ == "What is shared."


def test_a_face_is_the_same_for_all_threads_from_the_first_use_on(redis_mw_settings: Settings) -> None:
    for _ in range(20):
        with RedisMW(redis_mw_settings) as mw, ThreadPoolExecutor(8) as threads:
            start = threading.Barrier(8)

            def caching(_: int, mw: RedisMW = mw, start: threading.Barrier = start) -> object:
                _ = start.wait(20)
                return mw.cache

            got = list(threads.map(caching, range(8)))
        assert len(set(map(id, got))) == 1
