"""Pages made anew behind visitors' backs: by a request of nobody's, so only where anybody's gives the same page."""

from typing import Any

import pytest
from visiting import Made, Origin, Process

from redis_mw import Cached
from redis_mw.http.request import Request

STALE: dict[str, Any] = {"ttl": 1, "stale": 60, "jitter": 0}


def by_cookie(request: Request) -> Made:
    return Made((request.headers.get("cookie") or "nobody").encode())


@pytest.mark.parametrize(
    ("policy", "more"),
    [
        (Cached(**STALE, cookies=["lang"]), {}),
        (Cached(**STALE, cookies="all"), {}),
        (Cached(**STALE, key="of:{user}"), {"filled": {"user": "ann"}}),
        (Cached(**STALE, key="of:{session}"), {"filled": {"session": "5"}}),
        (Cached(**STALE, key="call:builtins.str"), {"native": "ann"}),
    ],
)
def test_a_page_of_somebodys_is_made_anew_by_his_own_request(
    process: Process, kept: Any, policy: Cached, more: Any
) -> None:
    origin = process.origin
    origin.made = by_cookie
    asking: Any = {"headers": (("Cookie", "lang=de"),), "policy": policy, **more}
    first = process.get(**asking)
    process.age(**asking)
    second = process.get(**asking)
    process.refreshed()
    third = process.get(**asking)
    assert origin.runs == 2 and second.ran and not third.ran
    assert first.body == second.body == third.body
    assert process.held(**asking) == []


def test_another_one_gets_it_stale_meanwhile(process: Process, kept: Any) -> None:
    asking: Any = {"headers": (("Cookie", "lang=de"),), "policy": Cached(**STALE, cookies=["lang"])}
    process.get(**asking)
    process.age(**asking)
    process.origin.wait()
    process.origin.gate.clear()
    slow = process.start(**asking)
    process.origin.wait()
    other = type(process)(type(process.colour)(process.colour.mw.settings), Origin())
    try:
        assert not other.get(**asking).ran and not other.refreshes
    finally:
        other.close()
    process.origin.gate.set()
    assert slow.result(60).ran


@pytest.mark.parametrize("policy", [Cached(**STALE), Cached(**STALE, key="x:{id}")])
@pytest.mark.parametrize(
    "headers",
    [
        (("Authorization", "Bearer x"), ("Cookie", "a=1")),
        (("Cache-Control", "no-store"),),
        (("If-None-Match", '"other"'), ("Range", "bytes=0-0")),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_whoever_asks_for_a_stale_page_has_it_made_anew_by_nobody(
    process: Process, kept: Any, policy: Cached, headers: Any, method: str
) -> None:
    origin = process.origin
    origin.made = Made(b"first", (("Cache-Control", "public, max-age=1"),))
    asking: Any = {"policy": policy, "filled": {"id": "7"}}
    process.get(**asking)
    process.age(**asking)
    origin.made = Made(b"second", (("Cache-Control", "max-age=60"),))
    assert not process.get(headers=headers, method=method, **asking).ran
    process.refreshed()
    assert origin.runs == 2
    seen = origin.seen[1]
    assert all(seen.get(name) is None for name in ("authorization", "cookie", "if-none-match", "range"))
    got = process.get(**asking)
    assert got.body == b"second" and not got.ran and origin.runs == 2
    assert process.held(**asking) == []


def test_a_variant_by_what_nobody_has_is_not_made_anew_by_nobody(process: Process, kept: Any) -> None:
    process.origin.made = lambda request: Made(
        (request.headers.get("proxy-authorization") or "nobody").encode(), (("Vary", "Proxy-Authorization"),)
    )
    asking: Any = {"headers": (("Proxy-Authorization", "ann"),), "policy": Cached(**STALE)}
    for _ in range(2):
        assert process.get(**asking).body == b"ann"
        process.age(**asking)
        process.refreshed()
    assert process.get(**asking).body == b"ann"


def test_one_stale_page_is_made_anew_once(process: Process, kept: Any) -> None:
    process.get(policy=Cached(**STALE))
    process.age()
    process.origin.gate.clear()
    assert [process.get(policy=Cached(**STALE)).ran for _ in range(5)] == [False] * 5
    process.origin.gate.set()
    process.refreshed()
    assert process.origin.runs == 2
