"""Cookies that are not ours, through each framework's own parsing: an empty session, no error, and Redis not asked."""

import json
from string import ascii_letters, digits
from typing import Any

import pytest
import redis
from examples import scaled
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.sessions.ids import Signer
from redis_mw.testing import count_round_trips

FRAMEWORKS = ("flask", "django", "starlette")
NAME = b"shared"
STRANGER = Signer(["quite another secret, long enough"])

noise = st.binary(max_size=200)
ids = st.text(ascii_letters + digits + "-_", min_size=47, max_size=47)
signed_by_another = ids.map(lambda id: STRANGER.sign(id).encode())


@st.composite
def values(draw: st.DrawFn, ours: Signer) -> bytes:
    """What could stand where our cookie should: noise, and what is nearly ours."""
    ours_cut = st.builds(lambda id, at: ours.sign(id)[:at].encode(), ids, st.integers(0, 80))
    value = draw(noise | ids.map(str.encode) | signed_by_another | ours_cut)
    return draw(st.sampled_from([value, value * 20, b'"' + value, b'"' + value + b'"', value + draw(noise)]))


@st.composite
def fields(draw: st.DrawFn, ours: Signer) -> bytes:
    """A Cookie field: junk under our name, among other junk."""
    pairs = st.lists(noise | values(ours).map(lambda value: NAME + b"=" + value), min_size=1, max_size=3)
    return draw(st.sampled_from([b"; ", b";", b",", b" "])).join(draw(pairs))


@pytest.mark.hypothesis  # so that the long profile includes it
def test_junk_is_an_empty_session_and_costs_nothing_in_any_framework(raw: Any, redis_mw_settings: Any) -> None:
    ours = Signer([redis_mw_settings.secret])

    @scaled(3.5)
    @given(st.lists(fields(ours), min_size=1, max_size=2))
    def costs_nothing(cookies: list[bytes]) -> None:
        for where in FRAMEWORKS:
            with count_round_trips() as trips:
                answer = raw(where, "/read/-", cookies)
            assert (where, answer.status, trips.total) == (where, 200, 0)
            assert json.loads(answer.body) == {"values": {}, "user": None, "handle": None}
            assert not any(name.lower() == "set-cookie" for name, _ in answer.headers)

    costs_nothing()
    with redis.Redis.from_url(redis_mw_settings.url_of("sessions")) as server:
        assert list(server.scan_iter(f"{redis_mw_settings.prefix}:*", count=1000)) == []
