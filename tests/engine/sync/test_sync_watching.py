"""What is the sync driver's own about watching: its thread. The rest is in ``test_watching``."""

import gc
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from by_hand import until

from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Events
from redis_mw.settings import Settings

DriverOf = Callable[..., Any]


class Switch:
    """Whether somebody is told what is changed."""

    on = False

    def begin(self) -> None:
        self.on = True

    def changed(self, keys: Sequence[str] | None) -> None:
        pass

    def end(self) -> None:
        self.on = False


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "redis-mw-tracking"]


def test_a_thread_begins_with_the_first_watcher_and_ends_with_the_driver(
    shared_valkey: Any, driver_of: DriverOf
) -> None:
    before = threads()
    driver = driver_of(shared_valkey.url)
    driver.ping()
    assert threads() == before
    switch = Switch()
    driver.watch("cache", ("c:",), switch)
    until(lambda: switch.on, "it is told")
    assert len(threads()) == len(before) + 1
    driver.close()
    assert threads() == before and not switch.on


def test_threads_that_watch_at_once_make_one(shared_valkey: Any, driver_of: DriverOf) -> None:
    before, driver, switch, together = len(threads()), driver_of(shared_valkey.url), Switch(), threading.Barrier(8)

    def watch() -> None:
        _ = together.wait(20)
        driver.watch("cache", ("c:",), switch)

    callers = [threading.Thread(target=watch) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    until(lambda: switch.on, "it is told")
    assert len(threads()) == before + 1


def test_a_driver_that_nobody_has_any_more_ends_who_watches(shared_valkey: Any) -> None:
    before = threads()
    driver = SyncDriver(Settings(url=shared_valkey.url), Events((), lambda: 0.0))
    switch, gone = Switch(), weakref.ref(driver)
    driver.watch("cache", ("c:",), switch)
    until(lambda: switch.on, "it is told")
    del driver
    _ = gc.collect()
    assert gone() is None
    until(lambda: threads() == before, "the thread has ended")
    assert not switch.on


def test_who_is_interrupted_while_he_starts_the_thread_has_started_it(
    shared_valkey: Any, driver_of: DriverOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    before, driver, switch = threads(), driver_of(shared_valkey.url), Switch()
    with monkeypatch.context() as interrupting:
        interrupting.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            driver.watch("cache", ("c:",), switch)
    driver.watch("cache", ("c:",), switch)
    until(lambda: switch.on, "it is told")
    assert len(threads()) == len(before) + 1
    driver.close()
    assert threads() == before and not switch.on


def test_an_interpreter_that_starts_no_thread_any_more_costs_nobody_his_request(
    shared_valkey: Any, driver_of: DriverOf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    driver = driver_of(shared_valkey.url)
    with monkeypatch.context() as ending:
        ending.setattr(threading.Thread, "start", refuse)
        driver.watch("cache", ("c:",), Switch())
    assert "interpreter shutdown" in caplog.text
