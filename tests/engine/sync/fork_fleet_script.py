"""Run by a test: a process that has used a cluster forks, and parent and children all go on using it."""

import os
import sys
import threading
import time

from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Events
from redis_mw.flows import Command, one, send
from redis_mw.settings import Settings


def ask(driver: SyncDriver, name: str) -> int:
    """How often something else came back than was written, on whatever servers that is."""
    wrong = 0
    for turn in range(50):
        keys = [f"fork:{name}:{turn}:{n}" for n in range(6)]
        _ = driver.run(send(*[cached("SET", key, key, "EX", 60) for key in keys]))
        wrong += driver.run(send(*[cached("GET", key) for key in keys])) != tuple(key.encode() for key in keys)
    return wrong


def cached(*words: str | int) -> Command[bytes]:
    return Command(words, lambda reply: reply, (str(words[1]),), role="cache", patience_us=20_000_000)


def hears(driver: SyncDriver) -> bool:
    """Whether this process listens: the first call is the confirmation, the second what is published."""
    heard = threading.Semaphore(0)
    driver.hear("cache", "fork:news", heard.release)
    if not heard.acquire(timeout=20):
        return False
    _ = driver.run(one(cached("PUBLISH", "fork:news", "now")))
    return heard.acquire(timeout=20)


def main() -> int:
    urls = {"default": "redis://127.0.0.1:1/0", "cache": sys.argv[1]}
    driver = SyncDriver(Settings(url=urls, warm_up=20, connect_within=20), Events((), time.time))
    wrong = ask(driver, "before") + (not hears(driver))
    children = []
    for n in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = ask(driver, f"child{n}") + (not hears(driver))
                driver.close()
            finally:
                os._exit(code)
        children.append(child)
    wrong += ask(driver, "parent")
    for child in children:
        wrong += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    wrong += ask(driver, "after")
    driver.close()
    _ = sys.stdout.write(f"{wrong} wrong\n")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
