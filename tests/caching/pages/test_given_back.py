"""Leases are given back: by whoever makes nothing of them, and wherever a request is cut."""

from typing import Any

import pytest
from stepping import Stepped
from visiting import Made, Process

from redis_mw import Cached

STALE = Cached(1, stale=60, stale_if_error=60, jitter=0)


@pytest.mark.parametrize(
    "headers",
    [
        (("Cache-Control", "only-if-cached"),),
        (("Cache-Control", "no-store"),),
        (("If-Match", '"a"'),),
        (("If-Unmodified-Since", "Fri, 15 Jan 2027 09:00:00 GMT"),),
        (("Upgrade", "websocket"),),
    ],
)
@pytest.mark.parametrize("what", ["nothing", "fresh", "stale"])
def test_a_request_that_makes_nothing_for_others_leaves_no_lease(
    process: Process, kept: Any, headers: Any, what: str
) -> None:
    if what != "nothing":
        assert process.get(policy=STALE if what == "stale" else Cached(60)).ran
    if what == "stale":
        process.age()
    process.get(headers=headers, policy=STALE)
    process.refreshed()
    assert process.held() == []
    assert process.get(policy=STALE).status == 200


@pytest.mark.parametrize("headers", [(("Cache-Control", "no-store"),), (("If-Match", '"a"'),)])
def test_a_request_that_makes_nothing_for_others_keeps_nobody_waiting(
    process: Process, kept: Any, headers: Any
) -> None:
    origin = process.origin
    origin.gate.clear()
    first = process.start(headers=headers)
    origin.wait()
    second = process.start()
    origin.wait()
    assert not first.done() and not second.done()
    origin.gate.set()
    assert first.result(60).ran and second.result(60).ran
    assert not process.get().ran, "the second is stored"


def test_what_only_the_application_can_judge_gets_there(process: Process, kept: Any) -> None:
    """RFC 9111 section 4.3.2."""
    process.get(headers=(("If-Match", '"a"'), ("If-Unmodified-Since", "x")))
    assert process.origin.seen[0].get("if-match") == '"a"' and process.origin.seen[0].get("if-unmodified-since") == "x"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", [(), (("If-None-Match", '"other"'),), (("Range", "bytes=0-0"),)])
@pytest.mark.parametrize("what", ["nothing", "stale", "varies"])
@pytest.mark.parametrize("sent", [True, False])
def test_a_request_that_is_cut_anywhere_before_it_runs_leaves_no_lease(
    process: Process, kept: Any, what: str, headers: Any, method: str, sent: bool
) -> None:
    asked = (*headers, ("Accept-Language", "de"))
    if what != "nothing":
        more = (("Vary", "accept-language"),) if what == "varies" else ()
        process.origin.made = Made(headers=more)
        assert process.get(headers=(("Accept-Language", "en"),), policy=STALE).ran
        if what == "varies":
            assert process.get(headers=(("Accept-Language", "de"),), policy=STALE).ran
        process.age()
    for point in range(4):
        process.room.memory.vary.note(process.lookup()._question.name, ())
        lookup = process.lookup(headers=asked, policy=STALE, method=method)
        flow = Stepped(process.colour.run, lookup.ask())
        for _ in range(point):
            if not flow.is_done:
                flow.step()
        if flow.is_done:
            process.run(lookup.settle())
            break
        flow.cut(sent=sent)
        process.run(lookup.settle())
        assert process.held() == [], point
        assert not process.room.memory.flights._latest
    else:
        raise AssertionError("it never ends")
