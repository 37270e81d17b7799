"""Many workers at once, in any order, on a real server: what holds whatever happens first.

Each worker takes some locks, exclusive or shared, and gives them back, or vanishes with them, or is cancelled while it
waits. The test keeps its own account of who is inside.
"""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redis_mw import AsyncRedisMW, Settings
from redis_mw.locks.lease import Lease

WORKERS, TURNS = 12, 6
PATIENT = 50


class Account:
    """Who is inside of what, and the last fence of each lock."""

    def __init__(self) -> None:
        self.inside: dict[str, dict[Lease, bool]] = {}
        self.fences: dict[str, int] = {}
        self.entered = 0

    def enter(self, lease: Lease) -> None:
        self.entered += 1
        for name in lease.names:
            others = self.inside.setdefault(name, {})
            alive = [shared for other, shared in others.items() if not other.lost]
            assert not alive or (lease.shared and all(alive)), f"two hold {name}"
            others[lease] = lease.shared
            assert lease.fence > self.fences.get(name, 0), "a fence did not grow"
            if not lease.shared:
                self.fences[name] = lease.fence

    def leave(self, lease: Lease) -> None:
        for name in lease.names:
            _ = self.inside[name].pop(lease)


async def work(mw: AsyncRedisMW, account: Account, dice: random.Random) -> None:
    """One worker's turns."""
    for _ in range(TURNS):
        names = dice.sample("abc", dice.choice([1, 1, 2, 3]))
        fate = dice.choice(["release", "release", "release", "vanish", "cancel"])
        lock = mw.locks.lock(*names, shared=dice.random() < 0.4, ttl=0.3 if fate == "vanish" else 20, wait=PATIENT)
        getting = asyncio.create_task(lock.acquire())
        if fate == "cancel":
            await asyncio.sleep(dice.random() * 0.02)
            if not getting.done():
                _ = getting.cancel()
                _ = await asyncio.wait({getting})
                if getting.cancelled():
                    continue
        lease = await getting  # LockTimeout here: somebody starves
        account.enter(lease)
        if fate == "vanish":
            mw.locks.room.memory.held.drop(lease.hold)
            account.leave(lease)
            continue
        await asyncio.sleep(dice.choice([0.0, 0.0, 0.001, 0.01]))
        assert not lease.lost
        account.leave(lease)
        await lock.release()


async def schedule(settings: Settings, seed: int) -> None:
    account = Account()
    dice = random.Random(seed)
    async with AsyncRedisMW(settings) as one, AsyncRedisMW(settings) as other:
        workers = [work(dice.choice([one, other]), account, random.Random(dice.random())) for _ in range(WORKERS)]
        _ = await asyncio.gather(*workers)
        # Whoever vanished is over by and by, and nothing of what was cancelled is left.
        async with one.locks.lock("a", "b", "c", wait=PATIENT) as lease:
            account.enter(lease)


@pytest.mark.hypothesis  # so that the long profile includes it
def test_no_schedule_lets_two_inside_or_lets_anybody_starve(redis_mw_settings: Settings, kept: Any) -> None:
    @given(st.integers(0, 2**32))
    @settings(max_examples=max(10, settings().max_examples // 20), deadline=None)
    def schedules(seed: int) -> None:
        asyncio.run(schedule(redis_mw_settings, seed))
        assert kept.lives_for_ever() == []
        assert kept.nothing()

    schedules()
