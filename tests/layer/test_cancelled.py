"""A request on the event loop that is cancelled at any of its await points, over a slow line, leaves nothing behind."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from cutting import cut
from layered import App

from redis_mw import AsyncRedisMW, Idempotent, Lock, Locks, Rule, Settings, replace
from redis_mw.faces.attending import attend
from redis_mw.layer.exchange import Exchange

DELAY = 0.02
MOST_POINTS = 40
RULE = Rule("/pay", limits=["9 in flight"], lock=Lock("pay", wait=20), idempotency=Idempotent())

afters = pytest.mark.parametrize("after", [0.0, 1.5 * DELAY], ids=["as it waits", "with the reply on its way"])


async def answered(mw: AsyncRedisMW, app: App, exchange: Exchange) -> None:
    """What an adapter does around an application that answers at once."""
    try:
        await mw.driver.run(app.layer.open(exchange, eager=True))
        attend(mw.driver, app.rooms, exchange)
        exchange.status = 200
        await mw.driver.run(app.layer.commit(exchange, {"a": 2}, b"done"))
    finally:
        if app.layer.finishes(exchange):
            mw.driver.detach(app.layer.finish(exchange), 10)


async def nothing_is_left(app: App) -> None:
    for _ in range(500):
        if not app.left_behind():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(app.left_behind())


@afters
@pytest.mark.parametrize("busy", [False, True], ids=["free", "while another one runs"])
def test_a_request_cancelled_anywhere_leaves_nothing(
    redis_mw_settings: Settings, delaying_proxy: Callable[..., Any], after: float, busy: bool
) -> None:
    line = delaying_proxy(redis_mw_settings.url, delay=DELAY)
    app = App(replace(redis_mw_settings, rules=[RULE], locks=Locks(patience=10)))
    cookie = app.stored({"a": 1})

    async def everywhere() -> int:
        cuts = 0
        async with AsyncRedisMW(replace(app.settings, url=line.url), rooms=app.rooms) as slow:
            await slow.ping()
            for point in range(MOST_POINTS):
                other = app.opened("/pay", key=f"other-{point}") if busy else None
                exchange = app.begin("/pay", key=f"k{point}", cookie=cookie)
                reached = True
                task = asyncio.create_task(cut(answered(slow, app, exchange), point, after))
                if other is not None:
                    asyncio.get_running_loop().call_later(4 * DELAY, app.finish, other)
                try:
                    reached = await task
                except asyncio.CancelledError:
                    cuts += 1
                await nothing_is_left(app)
                if exchange.attempt is not None and exchange.status == 200 and not task.cancelled():
                    assert app.replayed("/pay", key=f"k{point}", cookie=cookie) == b"done"
                if not reached:
                    return cuts
        raise AssertionError("it never came to its end")

    assert asyncio.run(everywhere()) >= 2
    app.close()
