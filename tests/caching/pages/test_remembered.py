"""What is answered out of memory without a lookup is what a lookup would have answered."""

from time import monotonic
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from redis_mw import Cache, Cached, Event, Settings
from redis_mw.caching.pages.commands import Question
from redis_mw.caching.pages.entry import Entry
from redis_mw.caching.pages.look import Found
from redis_mw.caching.pages.lookup import begin
from redis_mw.caching.pages.names import url_of
from redis_mw.caching.pages.page import Page
from redis_mw.caching.pages.remembered import Remembered, page_of, remembered
from redis_mw.caching.room import Room
from redis_mw.caching.rules.freshness import SECOND, Freshness
from redis_mw.caching.rules.storing import Storable
from redis_mw.caching.rules.vary import variant
from redis_mw.events import Events
from redis_mw.http.request import Fields, Request

NOW_US = 1_800_000_000 * SECOND
BODY = b"a page that is kept"

fields = st.lists(
    st.sampled_from(
        [
            *(("Cache-Control", "no-cache"), ("cache-control", "max-age=10"), ("Cache-Control", "no-store")),
            *(("Pragma", "no-cache"), ("Authorization", "Bearer x"), ("If-None-Match", '"a"'), ("If-None-Match", "*")),
            *(("If-Modified-Since", "Fri, 15 Jan 2100 09:00:00 GMT"), ("If-Match", '"a"'), ("RANGE", "bytes=1-3")),
            *(("If-Unmodified-Since", "x"), ("If-Range", '"a"'), ("Range", "bytes=99-"), ("X-Kind", "a")),
            *(("Accept", "b"), ("Cookie", "a=1"), ("Cache-Control", "only-if-cached")),
        ]
    ),
    max_size=3,
).map(tuple)


def room_of(*, honours: bool, debugs: bool, heard: list[Event]) -> Room:
    """A cache whose listener is alive, though no server is: nothing is asked here."""
    cache = Cache(honour_client_no_cache=honours)
    settings = Settings(cache=cache, debug_headers=debugs, allowed_hosts=["shop"])
    room = Room(settings, cache, Events([heard.append], lambda: 0.0))
    room.memory.local.begin()
    return room


def keep(room: Room, entry: Entry, request: Request, status: int, age_s: int, left_s: int) -> None:
    """As a page that was read just now, half a second from where its age would be another one."""
    now_us = NOW_US + SECOND // 2
    fresh = Freshness(
        received_us=NOW_US - age_s * SECOND,
        fresh_until_us=NOW_US + left_s * SECOND,
        stale_until_us=NOW_US + (left_s + 60) * SECOND,
        error_until_us=NOW_US + (left_s + 60) * SECOND,
    )
    body = b"" if status == 204 else BODY
    page = Page(
        status=status,
        fields=(("Content-Type", "text/plain"), ("ETag", '"a"'), ("Date", "Fri, 15 Jan 2027 08:00:00 GMT")),
        storable=Storable(fresh),
        length=len(body),
        body=body,
    )
    question = Question(url_of(request).name, entry.vary, variant(request.headers, entry.vary))
    kept = Remembered(Found(question, page, names=entry.vary, now_us=now_us, at=monotonic()), page)
    local: Any = room.memory.local
    assert local.keep(local.mark(), page_of(question), kept, page.size, ())


@given(
    method=st.sampled_from(["GET", "GET", "GET", "HEAD"]),
    fields=fields,
    vary=st.sampled_from([[], ["X-Kind"]]),
    host=st.sampled_from(["shop", "elsewhere"]),
    status=st.sampled_from([200, 200, 204, 404]),
    age_s=st.integers(0, 200),
    left_s=st.sampled_from([-30, 20, 100]),
    honours=st.booleans(),
    debugs=st.booleans(),
)
def test_whatever_is_remembered_is_what_a_lookup_finds(
    method: str,
    fields: tuple[tuple[str, str], ...],
    vary: list[str],
    host: str,
    status: int,
    age_s: int,
    left_s: int,
    honours: bool,
    debugs: bool,
) -> None:
    heard: list[Event] = []
    room = room_of(honours=honours, debugs=debugs, heard=heard)
    entry = Entry(Cached(60, vary=vary), "here", jitter=0.0)
    request = Request(method, "/page", host=host, headers=Fields(fields))
    keep(room, entry, request, status, age_s, left_s)
    found, told = remembered(room, entry, request), [*heard]
    heard.clear()
    lookup = begin(room, entry, request, None, lambda _: None)
    finds = lookup is not None and lookup.local()
    if found is not None:
        assert lookup is not None and finds and found == lookup.answer and told == heard
        assert remembered(room, entry, request) == found
    simple = method == "GET" and host == "shop" and left_s == 100 and not fields
    assert found is not None or not simple


def test_a_page_is_another_answer_every_second() -> None:
    room = room_of(honours=False, debugs=False, heard=[])
    entry, request = Entry(Cached(60), "here", jitter=0.0), Request("GET", "/page", host="shop")
    keep(room, entry, request, 200, 10, 100)
    kept: Any = room.memory.local.get(f"{url_of(request).name} {variant(request.headers, ())}")
    answers = [kept.whole(request, NOW_US + second * SECOND) for second in (0, 0, 1, 0)]
    told = [(dict(each.fields)["Age"], dict(each.fields)["Cache-Status"]) for each in answers]
    assert told == [
        *[("10", "redis-mw;hit;ttl=100")] * 2,
        ("11", "redis-mw;hit;ttl=99"),
        ("10", "redis-mw;hit;ttl=100"),
    ]
    assert answers[0] is answers[1]
