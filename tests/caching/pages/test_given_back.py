"""Leases are given back: by whoever makes nothing of them, and wherever a request is cut."""

from typing import Any

import pytest
from stepping import Stepped
from visiting import Made, Origin, Process, refreshed

from redis_mw import Cached

STALE = Cached(1, stale=60, stale_if_error=60, jitter=0)


def held(process: Process, kept: Any, path: str = "/", **kwargs: Any) -> list[str]:
    """The leases on a URL, those that this process goes on renewing too."""
    name = process.lookup(path, **kwargs)._question.name
    stored = [each.decode() for each in kept.hkeys(process.room.pages.key(name)) if each.startswith(b"l:")]
    return stored + ["renewed"] * len(process.room.memory.page_leases)


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
        age(process, kept)
    process.get(headers=headers, policy=STALE)
    refreshed(process)
    assert held(process, kept) == []
    assert process.get(policy=STALE).status == 200


@pytest.mark.parametrize("headers", [(("Cache-Control", "no-store"),), (("If-Match", '"a"'),)])
def test_a_request_that_makes_nothing_for_others_keeps_nobody_waiting(process: Process, kept: Any, headers: Any) -> None:
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


def age(process: Process, kept: Any, path: str = "/", seconds: int = 2, **kwargs: Any) -> None:
    """Have what is stored of a URL be older by so many seconds."""
    at = process.room.pages.key(process.lookup(path, **kwargs)._question.name)
    for field, meta in kept.hgetall(at).items():
        if field.startswith(b"m:"):
            times = [int.from_bytes(meta[start : start + 8], "big") for start in (5, 21, 29, 37)]
            for start, us in zip((5, 21, 29, 37), times, strict=True):
                meta = meta[:start] + (us - seconds * 1_000_000).to_bytes(8, "big") + meta[start + 8 :]
            kept.hset(at, field, meta)


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
        age(process, kept)
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
        assert held(process, kept) == [], point
        assert not process.room.memory.flights._latest
    else:
        raise AssertionError("it never ends")
