"""A Redis that is away, without taking one down."""

from collections.abc import Generator
from contextlib import contextmanager

from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.sync import SyncDriver
from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.faces.sync import RedisMW


@contextmanager
def outage(mw: RedisMW | AsyncRedisMW) -> Generator[None]:
    """Inside the block every command of ``mw`` is answered ``RedisUnavailable`` at once; nothing is sent.

    An ``AsyncRedisMW`` takes its synchronous twin along. Others that use the same server do not notice.
    """
    drivers: list[SyncDriver | AsyncDriver] = [mw.driver]
    if isinstance(mw, AsyncRedisMW):
        drivers.append(mw.sync.driver)
    before = [driver.refuse_all for driver in drivers]
    for driver in drivers:
        driver.refuse_all = True
    try:
        yield
    finally:
        for driver, refused in zip(drivers, before, strict=True):
            driver.refuse_all = refused
