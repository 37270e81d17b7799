"""One request at a time: what it costs, what it is answered with, and what is stored of it."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from by_hand import until
from kept import listeners as listening
from stepping import Stepped
from visiting import DAMAGES, FOR_EVER, Made, Process, damage

from redis_mw import Cached, Event
from redis_mw.caching.pages.commands import Question
from redis_mw.caching.values.entry import CHUNK
from redis_mw.http.request import Fields, Request
from redis_mw.testing import count_round_trips, outage

Make = Callable[..., Process]
STALE: dict[str, Any] = {"ttl": 1, "jitter": 0}
TAGGED = Cached(60, jitter=0, tags=["t"])


def language(request: Request) -> Made:
    return Made((request.headers.get("accept-language") or "").encode(), (("Vary", "Accept-Language"),))


def asks(**fields: str) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", "-"), value) for name, value in fields.items())


def trips(process: Process, *args: Any, **kwargs: Any) -> int:
    with count_round_trips() as counted:
        _ = process.get(*args, **kwargs)
    return counted.awaited


# What it costs


def test_a_miss_takes_two_trips_and_a_hit_one(process: Process, kept: Any) -> None:
    assert trips(process, policy=TAGGED) == 2
    assert trips(process, policy=TAGGED) == 1
    assert process.origin.runs == 1


def test_a_wrong_guess_of_the_variant_takes_one_trip_more_once(make: Make, kept: Any) -> None:
    process, other = make(), make()
    process.origin.made = other.origin.made = language
    assert trips(process, headers=asks(Accept_Language="de")) == 2
    assert trips(process, headers=asks(Accept_Language="en")) == 2, "it has learned it"
    assert trips(other, headers=asks(Accept_Language="de")) == 2, "it has not: two looks"
    assert trips(other, headers=asks(Accept_Language="en")) == 1
    assert trips(other, headers=asks(Accept_Language="fr")) == 2
    assert (process.origin.runs, other.origin.runs) == (2, 1)


def test_what_needs_no_body_moves_none(process: Process, kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    etag = process.get().headers.get("etag")
    process.get()
    looks: list[tuple[Question, bytes]] = []
    look = process.room.pages.look

    def listened(question: Question, *args: Any, **kwargs: Any) -> Any:
        command = look(question, *args, **kwargs)

        def parse(reply: Any) -> Any:
            looks.append((question, reply[6]))
            return command.parse(reply)

        return msgspec.structs.replace(command, parse=parse)

    monkeypatch.setattr(process.room.pages, "look", listened)
    for headers, method, status in [
        (asks(If_None_Match=str(etag)), "GET", 304),
        ((), "HEAD", 200),
        (asks(If_None_Match=str(etag)), "HEAD", 304),
        (asks(Range="bytes=9-"), "HEAD", 200),
    ]:
        with count_round_trips() as counted:
            got = process.get(headers=headers, method=method)
        assert (got.status, got.body, counted.awaited) == (status, b"", 1)
    assert [body for _, body in looks] == [b""] * 4
    assert process.get().body == b"made" and looks[-1][1] == b"made"


def test_a_condition_that_is_not_met_gets_the_body_by_one_trip_more(process: Process, kept: Any) -> None:
    process.get()
    with count_round_trips() as counted:
        got = process.get(headers=asks(If_None_Match='"other"'))
    assert (got.status, got.body, got.ran, counted.awaited) == (200, b"made", False, 2)


# What is asked with regard to a copy


def test_the_application_is_asked_for_the_whole_and_the_client_gets_what_it_asked_for(
    process: Process, kept: Any
) -> None:
    got = process.get(headers=asks(Range="bytes=1-2", If_None_Match='"x"'))
    assert (got.status, got.body) == (206, b"ad") and process.origin.seen[0].get("range") is None
    etag = process.get().headers.get("etag")
    process.purge()
    got = process.get(headers=asks(If_None_Match=str(etag)))
    assert (got.status, got.body, got.ran) == (304, b"", True)
    assert process.get(headers=asks(Range="bytes=9-")).status == 416
    assert process.get().body == b"made" and process.origin.runs == 2


def test_a_304_of_the_application_freshens_what_is_stored_and_leaves_its_body(process: Process, kept: Any) -> None:
    policy = Cached(**STALE, stale_if_error=60, tags=["t"])
    origin = process.origin
    origin.made = Made(b"body", (("ETag", '"v1"'), ("X-A", "1"), ("Cache-Groups", '"g"')))
    process.get(policy=policy)
    process.age(policy=policy)
    origin.made = Made(b"", (("ETag", '"v1"'), ("X-A", "2"), ("Cache-Control", "max-age=60")), 304)
    got = process.get(policy=policy)
    assert (got.status, got.body, got.headers.get("x-a"), got.ran) == (200, b"body", "2", True)
    assert origin.seen[1].get("if-none-match") == '"v1"'
    got = process.get(policy=policy)
    assert (got.body, got.headers.get("x-a"), got.ran) == (b"body", "2", False)
    process.drop_tag("g")
    origin.made = Made(b"new")
    assert process.get(policy=policy).body == b"new", "the groups of the page are still its own"


def test_a_304_that_nobody_asked_for_freshens_nothing(process: Process, kept: Any) -> None:
    policy = Cached(60, stale_if_error=60)
    process.origin.made = Made(b"", (("Expires", "0"), ("X-A", "1")), 301)
    process.get(policy=policy)
    process.origin.made = Made(b"", (("X-A", "2"),), 304)
    got = process.get(policy=policy)
    assert (got.status, got.ran, process.origin.seen[1].get("if-none-match")) == (304, True, None)
    assert process.held(policy=policy) == []
    process.origin.made = Made(b"", (), 503)
    assert process.get(policy=policy).headers.get("x-a") == "1"


def test_the_body_that_a_304_leaves_must_still_be_there(process: Process, kept: Any) -> None:
    policy = Cached(**STALE, stale_if_error=60)
    process.origin.made = Made(b"body", (("ETag", '"v1"'),))
    process.get(policy=policy)
    process.age()

    def purged_meanwhile(_: Request) -> Made:
        process.purge()
        return Made(b"", (("ETag", '"v1"'), ("Cache-Control", "max-age=60")), 304)

    process.origin.made = purged_meanwhile
    got = process.get(policy=policy)
    assert (got.status, got.body) == (200, b"body")
    process.origin.made = Made(b"new")
    assert process.get(policy=policy).body == b"new"


# Stale


def test_a_soft_drop_has_the_stale_page_served_and_made_anew_once(process: Process, kept: Any) -> None:
    policy = Cached(60, stale=60, jitter=0, tags=["t"])
    process.get(policy=policy)
    process.drop_tag("t", soft=True)
    process.origin.made = Made(b"new")
    assert process.get(policy=policy).body == b"made"
    process.refreshed()
    assert process.get(policy=policy).body == b"new" and process.origin.runs == 2


def test_the_haste_of_who_asks_is_what_the_cost_and_the_time_left_call_for(process: Process, kept: Any) -> None:
    policy = Cached(100, jitter=0)
    process.origin.made = lambda _: (time.sleep(0.05), Made())[1]
    process.get(policy=policy)
    process.age(seconds=99, policy=policy)
    process.room.luck = lambda: 0.0  # type: ignore[method-assign]
    assert not process.get(policy=policy).ran and not process.refreshes
    process.room.luck = lambda: 1 - 1e-15  # type: ignore[method-assign]
    assert not process.get(policy=policy).ran and process.refreshes
    process.refreshed()
    assert process.origin.runs == 2


@pytest.mark.parametrize("how", ["raises", 500, 502, 503, 504])
def test_what_is_stale_stands_in_for_a_failure(process: Process, kept: Any, how: Any) -> None:
    policy = Cached(**STALE, stale_if_error=60)
    process.get(policy=policy)
    process.age()
    process.origin.made = LookupError() if how == "raises" else Made(b"failed", status=how)
    got = process.get(policy=policy)
    assert (got.status, got.body, got.ran) == (200, b"made", True)
    assert "stale" in str(got.headers.get("cache-status"))
    assert process.held() == []
    process.age(seconds=100)
    process.origin.made = Made(b"failed", status=503)
    assert process.get(policy=policy).status == 503


def test_a_failure_that_is_kept_by_its_name_is_kept_beside_what_has_ended(process: Process, kept: Any) -> None:
    policy = Cached(**STALE, stale_if_error=10, negative={503: 60})
    process.get(policy=policy)
    process.age(seconds=20)
    lookup = process.lookup(policy=policy)
    process.run(lookup.ask())
    fetch = lookup.fetch
    assert fetch is not None
    fetch.judge(503, (), accessed=False, csrf=False)
    assert fetch.records and not fetch.closes
    process.run(lookup.complete(b"failed", accessed=False, csrf=False, sent=False))
    got = process.get(policy=policy)
    assert (got.status, got.ran) == (503, False)


def test_negative_answers_live_as_long_as_the_policy_says(process: Process, kept: Any) -> None:
    process.origin.made = Made(b"no", status=404)
    policy = Cached(60, negative={404: 5}, jitter=0)
    process.get(policy=policy)
    assert process.get(policy=policy).status == 404 and process.origin.runs == 1
    process.age(seconds=5, policy=policy)
    process.get(policy=policy)
    assert process.origin.runs == 2
    assert process.get("/b", policy=Cached(60, negative=0)).ran and process.get("/b", policy=Cached(60, negative=0)).ran


def test_the_age_that_a_response_comes_with_counts(process: Process, kept: Any) -> None:
    process.origin.made = Made(b"old", (("Cache-Control", "max-age=60"), ("Age", "50")))
    process.get()
    assert process.get().headers.get("age") in ("50", "51")
    process.age(seconds=10)
    assert process.get().ran


# Fenced


@pytest.mark.parametrize("how", ["purge", "tag", "late tag", "group"])
def test_what_is_dropped_while_it_is_made_is_not_stored(process: Process, kept: Any, how: str) -> None:
    def dropping(_: Request) -> Made:
        match how:
            case "purge":
                process.purge()
            case "tag":
                process.drop_tag("t")
            case _:
                process.drop_tag("late")
        return Made(b"old", (("Cache-Groups", '"late"'),))

    process.drop_tag("late", "t")
    time.sleep(0.002)
    process.origin.made = dropping
    assert process.get(policy=TAGGED).ran
    process.origin.made = Made(b"new")
    got = process.get(policy=TAGGED)
    assert got.ran and got.body == b"new"
    assert process.held() == []


def test_a_soft_drop_while_it_is_made_wins_too(process: Process, kept: Any) -> None:
    process.get("/other", policy=TAGGED)  # the tag has a version

    def dropping(_: Request) -> Made:
        process.drop_tag("t", soft=True)
        return Made(b"old")

    process.origin.made = dropping
    assert process.get(policy=TAGGED).ran
    process.origin.made = Made(b"new")
    assert process.get(policy=TAGGED).body == b"new"


def test_a_late_tag_that_was_only_drawn_meanwhile_changes_nothing(process: Process, kept: Any) -> None:
    def drawing(_: Request) -> Made:
        other = process.lookup("/other", policy=Cached(60, tags=["late"]))
        process.run(other.ask())
        process.run(other.settle())
        return Made(b"made", (("Cache-Groups", '"late"'),))

    process.origin.made = drawing
    assert process.get().ran and not process.get().ran
    process.drop_tag("late")
    assert process.get().ran


# Variants, and what is in the way


def test_a_url_that_varies_by_more_forgets_its_variants(process: Process, kept: Any) -> None:
    process.origin.made = language
    process.get(headers=asks(Accept_Language="de"))
    process.origin.made = Made(b"both", (("Vary", "Accept-Language, X-A"),))
    assert process.get(headers=asks(Accept_Language="en", X_A="1")).ran
    assert process.get(headers=asks(Accept_Language="de")).body == b"both"
    assert not process.get(headers=asks(Accept_Language="en", X_A="1")).ran
    assert process.get(headers=asks(Accept_Language="en", X_A="2")).ran


def test_of_variants_there_are_only_so_many_and_what_has_ended_gives_way(make: Make, kept: Any) -> None:
    process = make(variants=2)
    process.origin.made = language
    for each in ("de", "en", "fr", "it"):
        assert process.get(headers=asks(Accept_Language=each)).ran
    assert [process.get(headers=asks(Accept_Language=each)).ran for each in ("de", "en", "fr")] == [False, False, True]
    process.age(seconds=100)
    process.get(headers=asks(Accept_Language="fr"))
    assert not process.get(headers=asks(Accept_Language="fr")).ran


def test_markers_of_useless_variants_do_not_grow_without_bound(process: Process, kept: Any) -> None:
    process.origin.made = language
    process.get(headers=asks(Accept_Language="de"))
    process.origin.made = Made(b"", (("Set-Cookie", "a=1"), ("Vary", "Accept-Language")))
    for number in range(600):
        process.get(headers=asks(Accept_Language=str(number)))
    assert kept.hlen(process.room.pages.key(process.name())) <= 512
    assert not process.get(headers=asks(Accept_Language="de")).ran


@pytest.mark.parametrize("how", [*DAMAGES, "names in other bytes"])
def test_what_is_damaged_or_foreign_is_a_miss_is_told_and_is_replaced(
    process: Process, kept: Any, heard: list[Event], how: str
) -> None:
    process.get()
    damage(kept, process.room.pages.key(process.name()), how)
    heard.clear()
    assert process.get().ran
    assert [event.name for event in heard][:1] == ["cache.damaged"]
    assert not process.get().ran


# Large bodies


BODY = bytes(range(256)) * (CHUNK // 256) * 2 + b"end"
INCOMPRESSIBLE = (("Content-Type", "image/png"),)


def test_a_body_that_is_too_large_is_passed_on_and_not_stored(make: Make, kept: Any) -> None:
    process = make(max_body=1000)
    process.origin.made = Made(b"x" * 1001, INCOMPRESSIBLE)
    assert [process.get().body == b"x" * 1001 for _ in range(2)] == [True, True] and process.origin.runs == 2


def test_a_large_body_is_stored_in_parts_and_read_back_whole(make: Make, kept: Any) -> None:
    process = make(max_body=1000, chunks=True)
    process.origin.made = Made(BODY, INCOMPRESSIBLE)
    assert process.get().ran
    got = process.get()
    assert got.body == BODY and not got.ran
    assert process.get(headers=asks(Range="bytes=-3")).body == b"end"
    at = process.room.pages.key(process.name())
    parts = [field for field in kept.hkeys(at) if field[:2] == b"c:"]
    assert len(parts) == 3
    kept.hdel(at, parts[1])
    assert process.get().ran
    assert process.get().body == BODY and process.origin.runs == 2
    assert len([field for field in kept.hkeys(at) if field[:2] == b"c:"]) <= 5


def test_the_parts_of_a_body_survive_that_its_url_varies_by_more(make: Make, kept: Any) -> None:
    process = make(max_body=1000, chunks=True)
    process.origin.made = language
    process.get(headers=asks(Accept_Language="de"))
    process.origin.made = Made(BODY, (*INCOMPRESSIBLE, ("Vary", "X-A")))
    assert process.get(headers=asks(Accept_Language="en")).ran
    got = process.get(headers=asks(Accept_Language="en"))
    assert got.body == BODY and not got.ran


@pytest.mark.one_server  # elsewhere what was dropped softly meanwhile is stored, and stale
def test_the_parts_of_a_body_that_is_not_stored_are_forgotten(make: Make, kept: Any) -> None:
    process = make(max_body=1000, chunks=True)
    policy = Cached(60, stale=60, jitter=0, tags=["t"])
    process.get(policy=policy)
    process.drop_tag("t", soft=True)

    def dropping(_: Request) -> Made:
        process.drop_tag("t", soft=True)
        return Made(BODY, INCOMPRESSIBLE)

    process.origin.made = dropping
    assert not process.get(policy=policy).ran
    process.refreshed()
    assert not [field for field in kept.hkeys(process.room.pages.key(process.name())) if field[:2] == b"c:"]


# Redis away


def test_redis_may_go_at_every_step_and_nobody_notices(process: Process, kept: Any) -> None:
    for gone in range(4):
        for what in ("miss", "hit", "304"):
            path = f"/{gone}/{what}"
            if what != "miss":
                process.get(path)
            lookup = process.lookup(path, asks(If_None_Match='"other"') if what == "304" else ())
            step = 0

            def away(flow: Any, gone: int = gone) -> None:
                nonlocal step
                stepped = Stepped(process.colour.run, flow)
                while not stepped.is_done:
                    if step >= gone:
                        stepped.meet_an_outage()
                    else:
                        stepped.step()
                    step += 1

            away(lookup.ask())
            if lookup.state == "answered":
                assert lookup.answer is not None and lookup.answer.body == b"made"
            else:
                assert lookup.state == "runs" and lookup.fetch is not None
                lookup.fetch.judge(200, (), accessed=False, csrf=False)
                if lookup.fetch.records:
                    away(lookup.complete(b"made", accessed=False, csrf=False, sent=False))
            away(lookup.settle())
            assert process.get(path).status == 200
            assert len(process.room.memory.page_leases) == 0


def test_what_was_dropped_while_redis_was_away_is_dropped_before_anything_is_read(process: Process, kept: Any) -> None:
    process.get()
    process.get("/t", policy=TAGGED)
    with outage(process.colour.mw):
        assert process.purge() is False
        process.drop_tag("t")
    with count_round_trips() as counted:
        assert process.get().ran
    assert counted.awaited == 3, "they are sent first, and then as ever"
    assert process.get("/t", policy=TAGGED).ran


def test_what_was_dropped_while_redis_was_away_is_sent_though_nobody_asks(process: Process, kept: Any) -> None:
    process.get()
    at = process.room.pages.key(process.name())
    with outage(process.colour.mw):
        process.purge()
        process.attend()
    until(lambda: not kept.exists(at), "it is sent")


# Over processes


def listeners(process: Process) -> int:
    return listening(process.redis, process.room.pages.channel(process.name()))


@pytest.mark.parametrize("how", ["store", "release", "purge", "useless"])
def test_one_who_waits_for_another_process_is_woken(make: Make, kept: Any, how: str) -> None:
    one, other = make(), make(wait=FOR_EVER)
    one.origin.gate.clear()
    one.origin.made = {
        "store": Made(b"one"),
        "release": LookupError(),
        "purge": Made(b"one"),
        "useless": Made(b"one", (("Cache-Control", "private"),)),
    }[how]
    first = one.start()
    one.origin.wait()
    with count_round_trips() as counted:
        waiting = other.start()
        until(lambda: listeners(one) == 1 and counted.awaited >= 2, "it sleeps")
        time.sleep(0.2)
        assert counted.awaited == 2, "nobody polls"
        others = [other.start() for _ in range(10)]
        time.sleep(0.1)
        assert counted.awaited == 2, "one waits for all"
        if how == "purge":
            one.purge()
            assert waiting.result(FOR_EVER).ran
        one.origin.gate.set()
        got = waiting.result(FOR_EVER)
        assert got.ran == (how != "store") and got.body == (b"one" if how == "store" else b"made")
        assert all(each.result(FOR_EVER).status == 200 for each in others)
    if how != "release":
        assert first.result(FOR_EVER).ran
    if how == "store":
        assert counted.awaited <= 4, "three, and the store"


def test_a_wait_has_an_end_and_then_the_application_runs_and_nothing_is_stored(make: Make, kept: Any) -> None:
    one, other = make(), make(wait=0.3)
    one.origin.gate.clear()
    first = one.start()
    one.origin.wait()
    began = time.monotonic()
    assert other.get().ran and time.monotonic() - began >= 0.3
    assert not [field for field in kept.hkeys(one.room.pages.key(one.name())) if field[:2] == b"m:"]
    one.origin.gate.set()
    assert first.result(FOR_EVER).ran and not other.get().ran


def test_a_wait_has_an_end_and_then_what_is_stale_will_do(make: Make, kept: Any) -> None:
    policy = Cached(**STALE, stale_if_error=60)
    one, other = make(), make(wait=0.3)
    one.get(policy=policy)
    one.origin.wait()
    one.age()
    one.origin.gate.clear()
    first = one.start(policy=policy)
    one.origin.wait()
    assert not other.get(policy=policy).ran
    one.origin.gate.set()
    assert first.result(FOR_EVER).ran


def test_a_lease_is_renewed_while_its_owner_is_at_work_and_replaced_once_he_is_not(make: Make, kept: Any) -> None:
    one, other = make(), make(wait=FOR_EVER)
    one.origin.gate.clear()
    first = one.start()
    one.origin.wait()
    time.sleep(3)  # longer than the lease
    assert one.held() == [one.held()[0], "renewed"]
    with one.room.memory.page_leases._lock:
        one.room.memory.page_leases._held.clear()  # as if it were killed
    assert other.get().ran
    one.origin.gate.set()
    assert first.result(FOR_EVER).ran and other.get().body == b"made"


def test_keys_are_told_apart_and_fields_that_only_one_visitor_sent_are_hidden(process: Process, kept: Any) -> None:
    process.get(
        headers=asks(Cookie="a=1; session=x; b=2", X_Forwarded_Host="evil.example"), policy=Cached(60, cookies=["b"])
    )
    seen = process.origin.seen[0]
    assert seen.get("cookie") == "session=x; b=2" and seen.get("x-forwarded-host") is None
    assert isinstance(seen, Fields)
