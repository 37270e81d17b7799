"""What only threads have: a signal may cut off whoever begins a run, between any two steps."""

import threading
from typing import Any

import pytest

from redis_mw.engine.sync.tended import Tended
from redis_mw.flows import Flow, done


class Interrupted(BaseException):
    pass


def test_a_run_whose_beginning_was_interrupted_goes_on_as_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def started_and_interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise Interrupted

    tended = Tended()
    begun, goes_on = threading.Semaphore(0), threading.Event()

    def perform(attended: Flow[None], _mailbox: Any) -> None:
        begun.release()
        assert goes_on.wait(5)
        attended.close()

    monkeypatch.setattr(threading.Thread, "start", started_and_interrupted)
    with pytest.raises(Interrupted):
        tended.tend("key", lambda: done(None), perform)
    monkeypatch.undo()
    assert begun.acquire(timeout=5)
    tended.tend("key", lambda: done(None), perform)
    assert not begun.acquire(timeout=0.05), "another one goes on beside it"
    goes_on.set()
    assert begun.acquire(timeout=5), "it was asked for again before it ended"
    tended.close()
