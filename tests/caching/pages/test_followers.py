"""Many who want one page: one run in a process, and what becomes of those who follow it."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from stepping import Stepped
from visiting import FOR_EVER, Made, Process

from redis_mw import Cached
from redis_mw.caching.pages.keep import purge
from redis_mw.caching.pages.names import urls_to_purge
from redis_mw.testing import count_round_trips, outage

Make = Callable[..., Process]
STALE: dict[str, Any] = {"ttl": 1, "jitter": 0}


def gathered(asking: list[Any]) -> list[Any]:
    return [each.result(FOR_EVER) for each in asking]


def test_a_hundred_at_once_are_one_run_one_look_and_one_store(process: Process, kept: Any) -> None:
    process.origin.gate.clear()
    with count_round_trips() as trips:
        asking = [process.start() for _ in range(100)]
        process.origin.wait()
        time.sleep(0.2)  # in which anybody else would begin
        process.origin.gate.set()
        got = gathered(asking)
    assert process.origin.runs == 1 and {each.body for each in got} == {b"made"}
    assert sum(each.ran for each in got) == 1
    assert trips.awaited == 2


def test_who_follows_gets_another_variant_by_a_run_of_its_own(process: Process, kept: Any) -> None:
    process.origin.made = lambda request: Made(
        (request.headers.get("accept-language") or "").encode(), (("Vary", "Accept-Language"),)
    )
    process.origin.gate.clear()
    first = process.start(headers=(("Accept-Language", "de"),))
    process.origin.wait()
    others = [process.start(headers=(("Accept-Language", each),)) for each in ("en", "fr", "de")]
    time.sleep(0.1)
    process.origin.gate.set()
    assert [each.body for each in gathered([first, *others])] == [b"de", b"en", b"fr", b"de"]
    assert process.origin.runs == 3
    assert not any(process.get(headers=(("Accept-Language", each),)).ran for each in ("de", "en", "fr"))


def test_one_that_fails_is_followed_by_another_that_leads(process: Process, kept: Any) -> None:
    process.origin.made = LookupError("no row")
    process.origin.gate.clear()
    first = process.start()
    process.origin.wait()
    others = [process.start() for _ in range(5)]
    time.sleep(0.1)
    process.origin.made = Made(b"better")
    process.origin.gate.set()
    with pytest.raises(LookupError):
        first.result(FOR_EVER)
    assert {each.body for each in gathered(others)} == {b"better"}
    assert process.origin.runs == 2


@pytest.mark.parametrize("headers", [(("Set-Cookie", "a=1"),), (("Cache-Control", "private"),)])
def test_an_answer_that_cannot_be_stored_makes_nobody_wait_twice(make: Make, kept: Any, headers: Any) -> None:
    process = make(wait=FOR_EVER)
    origin = process.origin
    origin.made = Made(headers=headers)
    assert process.get().ran
    origin.wait()
    origin.gate.clear()
    asking = [process.start() for _ in range(10)]
    for _ in range(10):
        origin.wait()
    assert origin.most == 10, "all at once"
    origin.gate.set()
    assert all(each.ran for each in gathered(asking))
    origin.made = Made(b"public")
    assert process.get().ran and not process.get().ran, "and one that can be is stored again"


def test_over_processes_nobody_waits_for_what_cannot_be_stored(make: Make, kept: Any) -> None:
    one, other = make(), make(wait=FOR_EVER)
    one.origin.made = other.origin.made = Made(headers=(("Set-Cookie", "a=1"),))
    assert one.get().ran
    one.origin.wait()
    one.origin.gate.clear()
    slow = one.start()
    one.origin.wait()
    assert other.get().ran and not slow.done()
    one.origin.gate.set()
    assert slow.result(FOR_EVER).ran


def test_one_run_that_takes_too_long_is_joined_by_others_up_to_the_cap_and_never_more(make: Make, kept: Any) -> None:
    process = make(wait=0.1, origin_cap=3)
    process.origin.gate.clear()
    asking = [process.start() for _ in range(10)]
    for _ in range(3):
        process.origin.wait()
    time.sleep(1)
    assert process.origin.runs == 3
    process.origin.gate.set()
    assert {each.body for each in gathered(asking)} == {b"made"}
    assert process.origin.runs == 3


def test_one_run_that_takes_too_long_is_stood_in_for_by_what_is_stale(make: Make, kept: Any) -> None:
    process = make(wait=0.1, origin_cap=3)
    policy = Cached(**STALE, stale_if_error=60)
    process.get(policy=policy)
    process.origin.wait()
    process.age()
    process.origin.gate.clear()
    slow = process.start(policy=policy)
    process.origin.wait()
    others = [process.start(policy=policy) for _ in range(5)]
    assert not any(each.ran for each in gathered(others)) and not slow.done()
    process.origin.gate.set()
    assert slow.result(FOR_EVER).ran and process.origin.runs == 2


def test_who_may_have_it_stale_waits_for_nobody_of_this_process(process: Process, kept: Any) -> None:
    asking: Any = {"headers": (("Cookie", "lang=de"),), "policy": Cached(**STALE, stale=60, cookies=["lang"])}
    process.get(**asking)
    process.origin.wait()
    process.age(**asking)
    process.origin.gate.clear()
    slow = process.start(**asking)
    process.origin.wait()
    assert not process.get(**asking).ran and not slow.done()
    process.origin.gate.set()
    assert slow.result(FOR_EVER).ran


@pytest.mark.parametrize("how", ["follows", "useless", "late"])
def test_who_wants_what_is_stored_only_never_has_the_application_run(make: Make, kept: Any, how: str) -> None:
    process = make(wait=0.1 if how == "late" else 3, origin_cap=3)
    process.origin.made = Made(headers=(("Set-Cookie", "a=1"),)) if how == "useless" else Made()
    process.origin.gate.clear()
    first = process.start()
    process.origin.wait()
    other = process.start(headers=(("Cache-Control", "only-if-cached"),))
    time.sleep(0.5 if how == "late" else 0.1)
    process.origin.gate.set()
    assert first.result(FOR_EVER).ran
    assert other.result(FOR_EVER).status == (200 if how == "follows" else 504)
    assert process.origin.runs == 1


def test_the_failure_of_a_request_with_credentials_is_not_covered_up_by_what_others_get(
    process: Process, kept: Any
) -> None:
    """RFC 9111 section 3.5: a page that may not answer such a request does not stand in for the answer either."""
    policy = Cached(60, stale_if_error=60, jitter=0)
    asking: Any = {"headers": (("Authorization", "Bearer x"),), "policy": policy}
    assert process.get(policy=policy).ran
    process.origin.made = Made(b"failed", status=503)
    assert process.get(**asking).status == 503
    process.origin.made = LookupError("no row")
    with pytest.raises(LookupError):
        process.get(**asking)
    assert process.origin.seen[-1].get("if-none-match") is None
    assert process.get(policy=policy).body == b"made"


def test_credentials_that_nothing_can_be_stored_for_keep_nobody_from_being_waited_for(
    process: Process, kept: Any
) -> None:
    assert process.get(headers=(("Authorization", "Bearer x"),)).ran
    process.origin.wait()
    process.origin.gate.clear()
    asking = [process.start() for _ in range(5)]
    process.origin.wait()
    time.sleep(0.1)
    assert process.origin.runs == 2
    process.origin.gate.set()
    assert sum(each.ran for each in gathered(asking)) == 1


def test_who_wants_it_anew_does_not_wait_and_gets_it_anew(make: Make, kept: Any) -> None:
    process = make(honour_client_no_cache=True, wait=FOR_EVER)
    process.get()
    process.origin.wait()
    process.origin.gate.clear()
    asking = [process.start(headers=(("Cache-Control", "no-cache"),)) for _ in range(3)]
    for _ in range(3):
        process.origin.wait()
    process.origin.gate.set()
    assert all(each.ran for each in gathered(asking)) and process.held() == []


def test_who_names_an_age_that_is_met_makes_nothing_run(make: Make, kept: Any) -> None:
    process = make(honour_client_no_cache=True)
    process.get()
    for line in ("max-age=60", "min-fresh=1"):
        assert not process.get(headers=(("Cache-Control", line),)).ran
    process.refreshed()
    assert process.origin.runs == 1 and process.held() == []


@pytest.mark.parametrize("how", ["purge", "tag", "soft", "late tag"])
def test_who_comes_after_a_drop_does_not_follow_who_looked_before_it(process: Process, kept: Any, how: str) -> None:
    policy = Cached(60, jitter=0, tags=["t"])
    process.origin.made = Made(headers=(("Cache-Groups", '"g"'),))
    assert process.get(policy=policy).ran
    early = process.lookup(policy=policy)
    looking = Stepped(process.colour.run, early.ask())
    looked = looking.perform()  # its answer is on its way
    match how:
        case "purge":
            process.purge()
        case "late tag":
            process.drop_tag("g")
        case _:
            process.drop_tag("t", soft=how == "soft")
    later = process.lookup(policy=policy)
    process.run(later.ask())
    assert later.state == "runs"
    looking.receive(looked)
    assert early.state == "answered"
    process.run(later.settle())


def test_a_drop_forgets_who_began_to_look_while_it_was_on_its_way(process: Process, kept: Any) -> None:
    assert process.get().ran
    dropping = Stepped(process.colour.run, purge(process.room, urls_to_purge("http://example.com/")))
    early = process.lookup()
    looking = Stepped(process.colour.run, early.ask())
    looked = looking.perform()
    dropping.finish()
    later = process.lookup()
    process.run(later.ask())
    assert later.state == "runs"
    looking.receive(looked)
    assert early.state == "answered"
    process.run(later.settle())


def test_without_redis_everybody_is_answered_by_the_application(process: Process, kept: Any) -> None:
    process.get()
    with outage(process.colour.mw):
        asking = [process.start() for _ in range(10)]
        assert all(each.status == 200 for each in gathered(asking))
    assert not process.get().ran
