"""Run by a test: a process that has used its driver forks, and parent and children all go on using theirs."""

import os
import sys
import threading
import time
from collections.abc import Sequence

from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Events
from redis_mw.flows import Command, Flow, Wait, Woken, one
from redis_mw.settings import Settings


def echo(text: str, wakes: tuple[str, ...] = ()) -> Command[bytes]:
    return Command(("ECHO", text), bytes, wakes=wakes, patience_us=10_000_000)


def listening(channel: str) -> Flow[str | None]:
    """Subscribe, publish, hear it: the listener works in this process."""
    _ = yield from one(echo("x", wakes=(channel,)))
    _ = yield from one(Command(("PUBLISH", channel, "now"), int))
    woken: Woken | None = yield Wait((channel,), 10)
    return None if woken is None else woken.channel


def ask(driver: SyncDriver, name: str) -> int:
    wrong = 0
    for n in range(200):
        reply = driver.run(one(echo(f"{name}:{n}")))
        wrong += reply != f"{name}:{n}".encode()
    return wrong + (driver.run(listening(name)) != name)


def tended(asleep: threading.Event) -> Flow[None]:
    """A flow that is never done."""
    asleep.set()
    _ = yield Wait((), 3600)


def news(driver: SyncDriver, heard: threading.Semaphore) -> int:
    """Publish, and hear it."""
    _ = driver.run(one(Command(("PUBLISH", "news", "now"), int)))
    return not heard.acquire(timeout=10)


class Watching:
    """What this process is told of changes."""

    def __init__(self) -> None:
        self.on = False
        self.began = threading.Semaphore(0)
        self.heard = threading.Semaphore(0)
        self.ended = threading.Event()

    def begin(self) -> None:
        self.on = True
        self.began.release()

    def changed(self, keys: Sequence[str] | None) -> None:
        self.heard.release()

    def end(self) -> None:
        self.on = False
        self.ended.set()


def change(driver: SyncDriver, watcher: Watching) -> int:
    """Change something, and be told; what others have changed before is no matter."""
    while watcher.heard.acquire(blocking=False):
        pass
    _ = driver.run(one(Command(("SET", "watched:x", "now"), bytes)))
    return not watcher.heard.acquire(timeout=10)


def begin(driver: SyncDriver) -> tuple[int, threading.Semaphore, Watching]:
    """What goes on in the background until the end begins in this process, whatever its parent has."""
    asleep, heard, watcher = threading.Event(), threading.Semaphore(0), Watching()
    driver.tend("watch", lambda: tended(asleep))
    driver.hear("default", "news", heard.release)
    driver.watch("default", ("watched:",), watcher)
    wrong = (not asleep.wait(10)) + (not heard.acquire(timeout=10)) + (not watcher.began.acquire(timeout=10))
    return wrong + news(driver, heard) + change(driver, watcher), heard, watcher


def main() -> int:
    driver = SyncDriver(Settings(url=sys.argv[1]), Events((), time.time))
    wrong = ask(driver, "before")
    missing, heard, watcher = begin(driver)
    wrong += missing
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            busy_flow = one(echo("busy"))
            _ = driver.run(busy_flow)

    thread = threading.Thread(target=busy)
    thread.start()
    children = []
    for n in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = ask(driver, f"child{n}") + begin(driver)[0]
                driver.close()
            finally:
                os._exit(code)
        children.append(child)
    wrong += ask(driver, "parent")
    for child in children:
        wrong += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    stop.set()
    thread.join()
    wrong += ask(driver, "after")
    while heard.acquire(blocking=False):
        pass  # what the children have published
    wrong += news(driver, heard) + change(driver, watcher)
    wrong += watcher.ended.is_set()  # no child has cut its parent's connection
    driver.close()
    wrong += not watcher.ended.is_set()
    _ = sys.stdout.write(f"{wrong} wrong\n")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
