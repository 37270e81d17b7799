"""A process that takes a lock, or waits for one, until it is killed: ``crashing.py url prefix name ttl wait``."""

import sys
import time

from redis_mw import Locks, RedisMW, Settings


def main() -> None:
    url, prefix, name, ttl, wait = sys.argv[1:]
    patient = Settings(url=url, prefix=prefix, warm_up=10, connect_within=10, locks=Locks(patience=10))
    with RedisMW(patient) as mw:
        mw.ping()
        tell("ready")
        with mw.locks.lock(name, ttl=float(ttl), wait=float(wait)):
            tell("held")
            time.sleep(600)


def tell(word: str) -> None:
    _ = sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
