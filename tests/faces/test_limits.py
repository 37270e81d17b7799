"""``mw.limits`` in both colours: every test is run with the face for threads and with the one for asyncio."""

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis

from redis_mw import (
    AsyncRedisMW,
    LayerMissing,
    Limit,
    Limits,
    PolicyError,
    RedisMW,
    RedisUnavailable,
    Settings,
    SettingsError,
    Strikes,
    replace,
)
from redis_mw.faces.limits import AsyncLimiter, AsyncLimits, AsyncRequestLimits, Limiter, RequestLimits, SyncLimits
from redis_mw.testing import count_round_trips, outage

COLOURS = ["threads", "asyncio"]


class Alike:
    """A thing of either colour, called alike; what has to be awaited is awaited."""

    def __init__(self, thing: Any, run: Callable[[Any], Any]) -> None:
        self._thing = thing
        self._run = run

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **given: Any) -> Any:
            answer = getattr(self._thing, name)(*args, **given)
            if inspect.isawaitable(answer):
                answer = self._run(answer)
            return Alike(answer, self._run) if isinstance(answer, (Limiter, AsyncLimiter)) else answer

        return call


class Face(Alike):
    """``mw.limits`` of one colour, and the ``mw`` it belongs to."""

    def __init__(self, mw: Any, run: Callable[[Any], Any]) -> None:
        super().__init__(mw.limits, run)
        self.mw = mw
        self.room = mw.limits.room

    def until(self, condition: Callable[[], bool]) -> None:
        """Let the background go on until it has brought this about; the bound is there to end a broken test."""
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end
            if isinstance(self.mw, AsyncRedisMW):
                self._run(asyncio.sleep(0.005))
            else:
                time.sleep(0.005)


@pytest.fixture(params=COLOURS)
def make(request: pytest.FixtureRequest, redis_mw_settings: Settings) -> Iterator[Callable[..., Face]]:
    """Makes faces of one colour; keyword arguments are those of ``Limits``."""
    with asyncio.Runner() as runner:
        made: list[Any] = []

        def make(**limits: Any) -> Face:
            settings = replace(redis_mw_settings, limits=Limits(**limits))
            made.append(RedisMW(settings) if request.param == "threads" else AsyncRedisMW(settings))
            return Face(made[-1], runner.run)

        yield make
        for mw in made:
            if isinstance(mw, RedisMW):
                mw.close()
            else:
                runner.run(mw.aclose())


@pytest.fixture
def limits(make: Callable[..., Face]) -> Face:
    return make()


@pytest.mark.parametrize(
    ("sync", "aio"), [(SyncLimits, AsyncLimits), (Limiter, AsyncLimiter), (RequestLimits, AsyncRequestLimits)]
)
def test_the_two_faces_have_the_same_methods_with_the_same_signatures(sync: type, aio: type) -> None:
    def public(face: type) -> dict[str, Any]:
        return {name: each for name, each in vars(face).items() if inspect.isfunction(each) and name[0] != "_"}

    one, other = public(sync), public(aio)
    assert set(one) == set(other)
    for name, method in one.items():
        here, there = inspect.signature(method), inspect.signature(other[name])
        assert here.parameters == there.parameters, name
        assert str(here.return_annotation) == str(there.return_annotation).replace("Async", ""), name
        assert method.__doc__ is not None and other[name].__doc__ is not None, name


def test_a_hit_counts_until_the_limit_is_reached(limits: Face) -> None:
    first, second, third = [limits.hit("2/minute", key="10") for _ in range(3)]
    assert (first.allowed, first.limit, first.remaining, first.retry_after, first.name) == (True, 2, 1, 0, "2-per-m")
    assert 0 < first.reset_after <= 64
    assert second and second.remaining == 0
    assert not third and third.remaining == 0 and 0 < third.retry_after <= 64
    assert not (first.degraded or first.shadow or first.banned)
    assert limits.hit("2/minute", key="11").allowed


def test_a_hit_may_cost_more_than_one(limits: Face) -> None:
    assert limits.hit("10/minute", key="a", cost=7).remaining == 3
    assert not limits.hit("10/minute", key="a", cost=4)
    assert limits.hit("10/minute", key="a", cost=3).remaining == 0


def test_each_call_costs_the_trips_it_says(make: Callable[..., Face]) -> None:
    limits = make(named={"slow": Limit("9/hour", by="user")})
    with count_round_trips() as trips:
        for _ in range(2):
            limits.hit("1/minute", key="a")
        assert (trips.awaited, trips.commands) == (2, ["EVALSHA"] * 2)
        assert not limits.hit("1/minute", key="a")
        assert trips.awaited == 2  # a denied repeat is known
        limits.peek("1/minute", key="a")
        limits.hit_all([("1/hour", "a", 1), ("slow", 42, 3), ("5/day", "b", 5)])
        assert (trips.awaited, trips.detached) == (4, 0)
        limits.reset("1/minute", key="a")
        assert trips.awaited == 5


def test_several_limits_are_taken_from_together_or_not_at_all(limits: Face) -> None:
    wide, narrow = Limit("10/minute", by="global"), "1/minute"
    for _ in range(4):
        verdicts = limits.hit_all([(wide, "all", 2), (narrow, "a", 1)])
    assert [verdict.allowed for verdict in verdicts] == [True, False]
    assert [verdict.limit for verdict in verdicts] == [10, 1]
    assert limits.peek(wide, key="all").remaining == 8
    assert limits.hit_all([]) == []


def test_a_peek_counts_nothing_and_sees_what_a_hit_would(limits: Face) -> None:
    for _ in range(3):
        assert limits.peek("1/minute", key="a").remaining == 1
    limits.hit("1/minute", key="a")
    denied = limits.peek("1/minute", key="a")
    assert not denied and denied.retry_after > 0
    assert not limits.room.memory.denials, "a peek is no denial"


def test_what_a_hit_took_is_given_back_once(limits: Face) -> None:
    one, two = limits.hit("3/minute", key="a"), limits.hit("3/minute", key="a", cost=2)
    assert not limits.hit("3/minute", key="a")
    for _ in range(3):
        limits.refund(two)
    assert limits.peek("3/minute", key="a").remaining == 2
    assert limits.hit("3/minute", key="a"), "a refund clears what was known here"
    limits.refund(one)
    assert limits.peek("3/minute", key="a").remaining == 2
    limits.refund(limits.peek("3/minute", key="a"))
    assert limits.peek("3/minute", key="a").remaining == 2


@pytest.mark.parametrize("limit", [Limit("5/minute", algorithm="gcra", burst=3), Limit("3/day", algorithm="fixed")],
                         ids=["gcra", "fixed"])  # fmt: skip
def test_every_algorithm_gives_back(limits: Face, limit: Limit) -> None:
    verdicts = [limits.hit(limit, key="a") for _ in range(3)]
    assert not limits.hit(limit, key="a")
    for _ in range(2):
        limits.refund(verdicts[0])
    assert [bool(limits.hit(limit, key="a")) for _ in range(2)] == [True, False]


def test_slots_are_held_until_they_are_given_back_and_renewed_meanwhile(limits: Face) -> None:
    limit = Limit("2 in flight")
    first, second = limits.hit(limit, key="a"), limits.hit(limit, key="a")
    assert not limits.hit(limit, key="a") and limits.hit(limit, key="b")
    assert len(limits.room.memory.slots._held) == 3
    limits.refund(first)
    limits.refund(first)
    assert limits.hit(limit, key="a") and not limits.hit(limit, key="a")
    limits.refund(second)
    assert limits.peek(limit, key="a").remaining == 1
    assert not limits.room.memory.denials, "a slot may be free any moment: nothing is remembered"


def test_a_reset_forgets_counts_and_bans(limits: Face) -> None:
    limit = Limit("1/minute", strikes=Strikes(after=1, ban=3600))
    assert limits.hit(limit, key="a")
    assert limits.hit(limit, key="a").banned
    assert limits.hit(limit, key="a").retry_after > 3000
    limits.reset(limit, key="a")
    assert limits.hit(limit, key="a") and limits.peek(limit, key="a").remaining == 0


def test_a_reset_is_heard_by_other_processes(make: Callable[..., Face], redis_mw_settings: Settings) -> None:
    here, there = make(), make()
    assert [bool(there.hit("1/hour", key="a")) for _ in range(2)] == [True, False]
    client = redis.Redis.from_url(redis_mw_settings.url_of("limits"))
    there.until(lambda: client.pubsub_numsub(there.room.commands.channel)[0][1] == 1)
    there.until(lambda: not there.hit("1/hour", key="a"))
    here.reset("1/hour", key="a")
    there.until(lambda: not there.room.memory.denials)
    assert there.hit("1/hour", key="a")
    client.close()


def test_a_ban_refuses_whatever_is_asked(limits: Face) -> None:
    limits.ban("192.0.2.7", 600)
    for limit in ("5/minute", Limit("9/hour", by="global"), Limit("1 in flight")):
        verdict = limits.hit(limit, key="192.0.2.7")
        assert bool(verdict) == (limit != "5/minute" and limit.by == "global")
    verdict = limits.hit("5/minute", key="192.0.2.7")
    assert verdict.banned and 590 < verdict.retry_after <= 600 and verdict.remaining == 0
    assert limits.hit("5/minute", key="192.0.2.8")
    limits.unban("192.0.2.7")
    assert limits.hit("5/minute", key="192.0.2.7")


def test_a_ban_may_last_for_ever_and_allowing_is_stronger(limits: Face) -> None:
    limits.ban("42", by="user")
    limit = Limit("1/hour", by="user")
    verdict = limits.hit(limit, key=42)
    assert not verdict and verdict.banned and verdict.retry_after == 0
    limits.allow("42", by="user")
    assert all(limits.hit(limit, key=42) for _ in range(3))
    limits.disallow("42", by="user")
    assert not limits.hit(limit, key=42)
    limits.unban("42", by="user")
    assert [bool(limits.hit(limit, key=42)) for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("192.0.2.0/24", "192.0.2.200", "192.0.3.1"),
        ("192.0.0.0/16", "192.0.200.1", "192.1.0.1"),
        ("192.0.2.1/32", "192.0.2.1", "192.0.2.2"),
        ("::ffff:192.0.2.0/120", None, None),
        ("2001:db8:1:2::/64", "2001:db8:1:2:3::4", "2001:db8:1:3::1"),
        ("2001:db8:1::/48", "2001:db8:1:ffff::1", "2001:db8:2::1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
        ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"),
    ],
)
def test_networks_are_banned_and_allowed(limits: Face, network: str, inside: str | None, outside: str | None) -> None:
    if inside is None:
        with pytest.raises(ValueError, match="networks of /64, /48, /32"):
            limits.ban(network)
        return
    limits.ban(network, timedelta(hours=1))
    assert not limits.hit("9/minute", key=inside) and limits.hit("9/minute", key=outside)
    limits.allow(network)
    assert limits.hit("9/minute", key=inside)


@pytest.mark.parametrize(("key", "by"), [("10.0.0.0/8", "client"), ("2001:db8::/33", "client"), ("a", "route"),
                                         ("a", "global"), ("a", "nobody"), ("10.0.0.0/99", "client")])  # fmt: skip
def test_what_no_request_would_be_called_cannot_be_listed(limits: Face, key: str, by: str) -> None:
    for change in (limits.ban, limits.unban, limits.allow, limits.disallow):
        with pytest.raises(ValueError):
            change(key, by=by)


@pytest.mark.parametrize("seconds", [0, -1, timedelta(0), float("nan"), 10**12])
def test_a_ban_has_a_length(limits: Face, seconds: Any) -> None:
    with pytest.raises(ValueError):
        limits.ban("192.0.2.7", seconds)


def test_bans_that_are_over_are_taken_off_the_list(limits: Face, redis_mw_settings: Settings) -> None:
    with redis.Redis.from_url(redis_mw_settings.url_of("limits")) as client:
        limits.ban("192.0.2.7", 0.05)
        assert not limits.hit("5/minute", key="192.0.2.7")
        limits.until(lambda: bool(limits.hit("1000000/minute", key="192.0.2.7")))
        limits.ban("192.0.2.8", 60)
        assert client.zcard(limits.room.commands._lists) == 1


def test_a_list_is_seen_by_other_processes(make: Callable[..., Face]) -> None:
    here, there = make(), make()
    assert there.hit("9/minute", key="192.0.2.7")
    here.ban("192.0.2.7")
    there.until(lambda: not there.hit("1000000/minute", key="192.0.2.7"))
    here.unban("192.0.2.7")
    there.until(lambda: bool(there.hit("1000000/minute", key="192.0.2.7")))


def test_named_limits_are_asked_by_their_names(make: Callable[..., Face]) -> None:
    limits = make(named={"login": Limit("2/hour", by=["user", "client"]), "api": "3/minute"})
    assert limits.hit("login", key=("42", "192.0.2.7")).name == "login"
    assert limits.hit("login", key=(42, "192.0.2.7")).remaining == 0
    assert limits.hit("login", key=["42", "192.0.2.8"]).remaining == 1
    assert limits.hit("api", key="x").name == "api"
    assert limits.hit("3/minute", key="x").remaining == 2, "the rate alone is another limit"


def test_a_limiter_is_hit_again_and_again(limits: Face) -> None:
    messages = limits.limiter("3/minute", key="socket")
    assert [bool(messages.hit(cost)) for cost in (2, 2, 1, 1)] == [True, False, True, False]
    assert limits.peek("3/minute", key="socket").remaining == 0


def test_limits_may_be_written_with_lists_and_asked_again_and_again(limits: Face) -> None:
    for remaining in (1, 0):
        limit = Limit("2/minute", by=["user", "header:X-Api-Key"], methods=["POST"])
        assert limits.hit(limit, key=("42", "a key")).remaining == remaining


def test_a_rate_that_changes_is_asked_each_time(limits: Face) -> None:
    rates = iter(["2/minute", "2/minute", "5/minute", None])
    limit = Limit(lambda request: next(rates))
    assert [limits.hit(limit, key="a").remaining for _ in range(3)] == [1, 0, 2]
    with pytest.raises(ValueError, match="has no rate here"):
        limits.hit(limit, key="a")


def test_what_cannot_be_asked_says_so(make: Callable[..., Face]) -> None:
    limits = make(named={"login": "5/minute"})
    with pytest.raises(SettingsError, match='write it like "5/minute"'):
        limits.hit("logon", key="a")
    with pytest.raises(SettingsError, match="gcra only"):
        limits.hit(Limit("5/minute", strict=True), key="a")
    with pytest.raises(ValueError, match="give a key of as many"):
        limits.hit("login", key=("a", "b"))
    with pytest.raises(ValueError, match="give a key of as many"):
        limits.hit(Limit("5/minute", by=["user", "client"]), key="a")
    for cost in (0, -1, 6, 1.5, "1", True):
        with pytest.raises(ValueError, match="a cost is a whole number from 1 to 5 here"):
            limits.hit("login", key="a", cost=cost)
    with pytest.raises(ValueError, match="from 1 to 2 here"):
        limits.hit(Limit("5/minute", algorithm="gcra", burst=2), key="a", cost=3)
    with pytest.raises(ValueError, match="from 1 to 1 here"):
        limits.hit(Limit("5 in flight"), key="a", cost=2)
    with pytest.raises(ValueError, match="asked twice"):
        limits.hit_all([("login", "a", 1), ("login", "a", 1)])
    with pytest.raises(PolicyError, match="not the one of that name"):
        limits.hit(Limit("6/minute", name="login"), key="a")
    with pytest.raises(LayerMissing):
        limits.explain(object())


def test_a_credential_is_only_hashed_with_a_secret(redis_mw_settings: Settings) -> None:
    limit = Limit("5/minute", by="header:X-Api-Key")
    with RedisMW(replace(redis_mw_settings, secret="")) as mw:
        with pytest.raises(PolicyError, match="hashed with a secret"):
            mw.limits.hit(limit, key="a key")
    with RedisMW(redis_mw_settings) as mw, redis.Redis.from_url(redis_mw_settings.url_of("limits")) as client:
        assert mw.limits.hit(limit, key="a key of somebody")
        mw.limits.ban("a key of somebody", by="header:X-Api-Key")
        assert not mw.limits.hit(limit, key="a key of somebody")
        keys = list(client.scan_iter(f"{redis_mw_settings.prefix}:*"))
        dumps = [client.dump(key) for key in keys]
        assert len(keys) == 2 and not any(b"somebody" in each for each in [*keys, *dumps])


def test_without_limits_the_face_says_that_they_are_off(redis_mw_settings: Settings) -> None:
    with RedisMW(replace(redis_mw_settings, limits=None)) as mw, pytest.raises(SettingsError, match="turned off"):
        _ = mw.limits
    with pytest.raises(SettingsError, match="turned off"):
        _ = AsyncRedisMW(replace(redis_mw_settings, limits=None)).limits


def test_while_redis_is_away_each_limit_answers_by_its_own_policy(make: Callable[..., Face]) -> None:
    limits = make()
    local, open_ = Limit("2/minute", on_outage="local"), Limit("3/minute", on_outage="open")
    closed = Limit("4/minute", on_outage="closed")
    with outage(limits.mw):
        answers = [limits.hit(local, key="a") for _ in range(3)]
        assert [(answer.allowed, answer.degraded) for answer in answers] == [(True, True), (True, True), (False, True)]
        assert all(limits.hit(open_, key="a").degraded and limits.hit(open_, key="a") for _ in range(3))
        for ask in (limits.hit, limits.peek):
            with pytest.raises(RedisUnavailable):
                ask(closed, key="a")
        with pytest.raises(RedisUnavailable):
            limits.hit_all([(local, "b", 1), (closed, "b", 1)])
        assert limits.peek(local, key="b").remaining == 2, "nothing was taken where one is closed"
        for _ in range(2):
            limits.refund(answers[0])
        assert limits.peek(local, key="a").remaining == 1
        for change in (limits.ban, limits.unban, limits.allow, limits.disallow):
            with pytest.raises(RedisUnavailable):
                change("192.0.2.7")
        with pytest.raises(RedisUnavailable):
            limits.reset(local, key="a")
    assert limits.hit(local, key="a").remaining == 1 and not limits.room.memory.denials
    limits.refund(answers[1])  # what was counted here only is not given back elsewhere
    assert limits.peek(local, key="a").remaining == 1


@pytest.mark.parametrize(("workers", "share"), [(1, 10), (4, 2), (100, 1)])
def test_each_of_several_processes_has_its_share_of_a_limit_while_redis_is_away(
    redis_mw_settings: Settings, workers: int, share: int
) -> None:
    with RedisMW(replace(redis_mw_settings, workers=workers)) as mw, outage(mw):
        assert sum(mw.limits.hit("10/minute", key="a").allowed for _ in range(20)) == share
        assert mw.limits.hit("10/minute", key="b", cost=10), "what asks for more than the share has all of it"


def test_a_verdict_of_a_shadowed_limit_is_true_and_says_when_it_would_not_be(limits: Face) -> None:
    limit = Limit("1/minute", shadow=True)
    verdicts = [limits.hit(limit, key="a") for _ in range(2)]
    assert [(verdict.allowed, verdict.shadow, verdict.retry_after > 0) for verdict in verdicts] == [
        (True, True, False),
        (True, True, True),
    ]


def test_what_is_taken_ahead_costs_no_trips_and_is_never_too_much(limits: Face) -> None:
    limit = Limit("20/day", algorithm="fixed", lease=5)
    with count_round_trips() as trips:
        verdicts = [limits.hit(limit, key="a") for _ in range(25)]
    assert sum(verdict.allowed for verdict in verdicts) == 20
    assert trips.awaited < 15
    for verdict in verdicts[:5]:
        limits.refund(verdict)
        limits.refund(verdict)
    assert sum(limits.hit(limit, key="a").allowed for _ in range(10)) == 5
