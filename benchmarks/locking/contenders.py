"""Who takes part."""

from importlib.metadata import version

from benchmarks.locking.locker import Contender
from benchmarks.locking.ours import OurAsyncLocker, OurLocker
from benchmarks.locking.peers import AsyncRedisPyLocker, FifoLocker, PythonRedisLocker, RedisPyLocker

OURS, FIFO, SIGNALS, PLAIN = "redis-mw", "redis-fifo-lock", "python-redis-lock", "redis"
"""How a row of the tables names them, and what they are installed as."""


def contenders() -> dict[str, Contender]:
    rows = [
        Contender(OURS, OurLocker, OurAsyncLocker),
        Contender(FIFO, None, FifoLocker),
        Contender(SIGNALS, PythonRedisLocker, None),
        Contender(PLAIN, RedisPyLocker, AsyncRedisPyLocker),
    ]
    return {row.name: row for row in rows}


def versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in (OURS, FIFO, SIGNALS, PLAIN))
