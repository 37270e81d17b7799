"""Cache-Status: one member of ours, behind the others (RFC 9211)."""

from typing import get_args

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.caching.rules.reuse import Forwarded
from redis_mw.caching.rules.status import CacheStatus, with_status
from redis_mw.caching.rules.storing import Reason


@pytest.mark.parametrize(
    ("status", "member"),
    [
        (CacheStatus(hit=True, ttl=30), "redis-mw;hit;ttl=30"),
        (CacheStatus(hit=True, ttl=-5, detail="while-revalidate"), "redis-mw;hit;ttl=-5;detail=while-revalidate"),
        (CacheStatus(forwarded="uri-miss", stored=True), "redis-mw;fwd=uri-miss;stored"),
        (CacheStatus(forwarded="stale", status=304, collapsed=True), "redis-mw;fwd=stale;fwd-status=304;collapsed"),
        (CacheStatus(forwarded="miss", detail="no-store"), "redis-mw;fwd=miss;detail=no-store"),
        (
            CacheStatus(forwarded="bypass", key='a"ä', detail="two words"),
            'redis-mw;fwd=bypass;key="a\\"?";detail="two words"',
        ),
        (CacheStatus(hit=True, forwarded="stale", status=500), "redis-mw;hit"),  # section 2.2: one or the other
        (CacheStatus(), "redis-mw"),
    ],
)
def test_a_member_says_what_became_of_a_request(status: CacheStatus, member: str) -> None:
    assert status.member() == member


def test_it_stands_behind_the_caches_that_are_nearer_to_the_origin() -> None:
    """RFC 9211 section 2."""
    found = with_status((("Cache-Status", "upstream;hit"), ("X", "1")), CacheStatus(hit=True))
    assert found == (("Cache-Status", "upstream;hit"), ("X", "1"), ("Cache-Status", "redis-mw;hit"))


@pytest.mark.parametrize("reason", get_args(Reason))
def test_each_reason_is_a_token(reason: Reason) -> None:
    assert CacheStatus(detail=reason).member() == f"redis-mw;detail={reason}"


texts = st.none() | st.text(st.characters(exclude_categories=()), max_size=20)


@given(
    st.builds(
        CacheStatus,
        hit=st.booleans(),
        forwarded=st.none() | st.sampled_from(get_args(Forwarded)),
        status=st.none() | st.integers(100, 599),
        ttl=st.none() | st.integers(),
        stored=st.booleans(),
        collapsed=st.booleans(),
        key=texts,
        detail=texts,
    )
)
def test_every_member_is_a_structured_field(status: CacheStatus) -> None:
    [(name, parameters)] = http_sf.parse(status.member().encode("ascii"), tltype="list")
    assert str(name) == "redis-mw" and ("hit" in parameters) is status.hit
    assert not ("hit" in parameters and "fwd" in parameters)
