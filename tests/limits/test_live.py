"""What limits leave on a real server: nothing without an end, little memory, and numbers that a deploy may change."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from redis_mw import Limit, RedisMW, Settings, Strikes
from redis_mw.limits import direct
from redis_mw.limits.room import Room

LIMITS = {
    "sliding": Limit("100/minute"),
    "sliding, of a day": Limit("999999/day"),
    "gcra": Limit("100/minute", algorithm="gcra", burst=50),
    "strict gcra": Limit("100/minute", algorithm="gcra", burst=50, strict=True),
    "fixed": Limit("100/month", algorithm="fixed"),
    "in flight": Limit("3 in flight"),
    "charged": Limit("100/minute", on_deny="charge"),
    "struck": Limit("100/hour", strikes=Strikes(after=2, ban=600)),
    "struck gcra": Limit("100/hour", algorithm="gcra", burst=9, strikes=Strikes(after=2, ban=600)),
    "struck fixed": Limit("100/week", algorithm="fixed", strikes=Strikes(after=2, ban=600)),
    "ahead": Limit("100/minute", lease=20),
    "long": Limit("5/1800d"),
    "huge": Limit("999999999999/5m"),
}


class Server:
    """A face, a room whose scripts are told the time, and a client that looks at what they leave."""

    def __init__(self, settings: Settings) -> None:
        self.mw = RedisMW(settings)
        self.room = self.mw.limits.room
        self.client = redis.Redis.from_url(settings.url_of("limits"))
        self.prefix = settings.prefix
        self.now = 1_700_000_000_000_000

    def pass_time(self, us: int) -> None:
        self.now += us
        self.room.commands.now_us = self.now  # type: ignore[assignment]

    def stored(self) -> list[str]:
        return [key.decode() for key in self.client.scan_iter(f"{self.prefix}:*", count=1000)]

    def none_lives_for_ever(self) -> None:
        for key in self.stored():
            assert self.client.pttl(key) > 0 or key.endswith("{lists}:z"), key


@pytest.fixture
def server(redis_mw_settings: Settings) -> Iterator[Server]:
    server = Server(redis_mw_settings)
    yield server
    server.mw.close()
    server.client.close()


def hit(room: Room, limit: Limit, cost: int = 1) -> Any:
    return direct.hit(room, [direct.question(room, limit, "192.0.2.7").at(cost)])


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_every_key_has_an_end_at_all_times(server: Server, limit: Limit) -> None:
    took: list[Any] = []
    for turn in range(60):
        server.pass_time(turn * 700_000)
        server.room.forget_denials()
        (verdict,) = server.mw.driver.run(hit(server.room, limit))
        took.append(verdict)
        server.none_lives_for_ever()
        if turn % 7 == 0:
            server.mw.limits.refund(took[turn // 2])
            server.none_lives_for_ever()
    assert server.stored()


def test_only_the_lists_live_until_they_are_changed(server: Server) -> None:
    server.mw.limits.ban("192.0.2.7", 60)
    server.mw.limits.allow("192.0.2.8")
    assert [server.client.pttl(key) for key in server.stored()] == [-1]
    server.mw.limits.unban("192.0.2.7")
    server.mw.limits.disallow("192.0.2.8")
    assert not server.stored()


@pytest.mark.parametrize("limit", list(LIMITS.values())[:-1], ids=list(LIMITS)[:-1])
def test_a_client_costs_256_bytes_at_most(server: Server, limit: Limit) -> None:
    """Filled by a request in each sub-window, denied and banned, with the prefix that nobody changes."""
    room = server.room
    room.commands._head = "rmw:l1:{"
    quota = room.asked_for(limit).quota(None)
    assert quota is not None
    key = direct.question(room, limit, "192.0.2.7").ask.key
    step = quota.unit_us if quota.kind == "s" else 100_000
    cost = max(1, quota.amount // 17) if quota.kind == "s" else 1
    try:
        for _ in range(130):
            server.pass_time(step)
            room.forget_denials()
            _ = server.mw.driver.run(hit(room, limit, cost))
        for _ in range(6):
            room.forget_denials()
            _ = server.mw.driver.run(hit(room, limit, cost))
        assert server.client.pttl(key) > 0
        assert server.client.memory_usage(key, samples=0) <= 256
    finally:
        server.client.delete(key)


CHANGES: dict[str, list[Limit]] = {
    "other numbers": [Limit("5/minute", name="x"), Limit("2/minute", name="x"), Limit("50/minute", name="x")],
    "another period": [Limit("5/minute", name="x"), Limit("5/hour", name="x"), Limit("5/day", name="x")],
    "another algorithm": [
        Limit("5/minute", name="x"),
        Limit("5/minute", name="x", algorithm="gcra", burst=2),
        Limit("5/minute", name="x", algorithm="gcra", burst=4, strict=True),
        Limit("5/minute", name="x", algorithm="fixed"),
        Limit("5/week", name="x", algorithm="fixed"),
        Limit("5/month", name="x", algorithm="fixed"),
        Limit("5/minute", name="x", lease=2),
        Limit("5 in flight", name="x"),
    ],
    "strikes": [
        Limit("5/minute", name="x"),
        Limit("5/minute", name="x", strikes=Strikes(after=1, ban=60)),
        Limit("5/minute", name="x", on_deny="charge"),
        Limit("5/minute", name="x", count="failed"),
        Limit("1/minute", name="x", shadow=True),
    ],
    "a burst": [Limit("9/minute", name="x", algorithm="gcra", burst=burst) for burst in (9, 1, 5)],
    "much less": [Limit("999999999/minute", name="x"), Limit("1/minute", name="x")],
}


@pytest.mark.parametrize("limits", CHANGES.values(), ids=CHANGES)
def test_a_limit_may_change_on_a_live_server(
    make_room: Callable[..., Room], server: Server, limits: list[Limit]
) -> None:
    """Each change is a deploy: a room of its own, on what the others have left. None fails, or shuts out for ever."""

    def room() -> Room:
        made = make_room()
        made.commands.now_us = server.now  # type: ignore[assignment]
        return made

    for before, after in itertools.permutations(limits, 2):
        for limit in (before, after, before):
            for _ in range(12):
                (verdict,) = server.mw.driver.run(hit(room(), limit))
                assert not verdict.degraded, "the script failed"
            server.none_lives_for_ever()
        server.now += 31 * 86_400_000_000 + 120_000_000
        (verdict,) = server.mw.driver.run(hit(room(), after))
        assert verdict, (before, after)
        for key in server.stored():
            server.client.delete(key)


def test_the_largest_numbers_are_counted_exactly(server: Server) -> None:
    limit = Limit("999999999999/5m")
    for cost, left in ((999_999_999_990, 9), (1, 8), (8, 0)):
        (verdict,) = server.mw.driver.run(hit(server.room, limit, cost))
        assert verdict.remaining == left
    (verdict,) = server.mw.driver.run(hit(server.room, limit))
    assert not verdict
