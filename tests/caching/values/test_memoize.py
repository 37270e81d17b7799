"""Functions whose results are kept."""

import asyncio
from typing import Any

import msgspec
import pytest

from redis_mw import AsyncRedisMW, CannotEncode, RedisMW, Settings
from redis_mw.testing import count_round_trips


class User(msgspec.Struct):
    id: int


def test_a_call_is_made_once_however_it_is_written(redis_mw_settings: Settings) -> None:
    with RedisMW(redis_mw_settings) as mw:
        calls: list[Any] = []

        @mw.cache.memoize(ttl=60)
        def add(x: int, y: int = 1, *more: int, **named: int) -> int:
            """Adds."""
            calls.append((x, y))
            return x + y

        assert [add(1), add(1, 1), add(x=1), add(y=1, x=1)] == [2] * 4 and calls == [(1, 1)]
        assert add(2) == 3 and add(1, 2) == 3 and len(calls) == 3
        assert add.__doc__ == "Adds." and add.__name__ == "add"
        assert add.cache_drop(1) is True
        assert add(1) == 2 and len(calls) == 4
        assert add({1: {2}}.__len__()) == 2  # type: ignore[arg-type]


def test_a_coroutine_function_is_awaited_and_a_plain_one_too(redis_mw_settings: Settings) -> None:
    async def main() -> None:
        async with AsyncRedisMW(redis_mw_settings) as mw:
            calls: list[int] = []

            @mw.cache.memoize(ttl=60, type=User, key="user:{id}", tags=["users", "user:{id}"])
            async def user(id: int) -> User:
                calls.append(id)
                return User(id)

            @mw.cache.memoize(ttl=60)
            def double(x: int) -> int:
                calls.append(x)
                return 2 * x

            assert await user(5) == await user(id=5) == User(5) and calls == [5]
            assert await mw.cache.get("user:5", type=User) == User(5)
            _ = await mw.cache.drop_tag("user:5")
            assert await user(5) == User(5) and calls == [5, 5]
            assert await user.cache_drop(5) is True
            assert await mw.cache.get("user:5") is None
            assert await double(4) == await double(4) == 8 and calls == [5, 5, 4]
            assert await asyncio.gather(*[user(9) for _ in range(20)]) == [User(9)] * 20 and calls[3:] == [9]

    asyncio.run(main())


def test_key_and_tags_may_be_told_by_code_and_what_get_or_set_knows_is_passed_on(redis_mw_settings: Settings) -> None:
    with RedisMW(redis_mw_settings) as mw:

        class Shop:
            @mw.cache.memoize(ttl=60, key=lambda self, id: f"price:{id}", tags=lambda self, id: [f"p:{id}"], negative=0)
            def price(self, id: int) -> int | None:
                return id * 10 if id else None

        assert Shop().price(3) == 30 and mw.cache.get("price:3") == 30
        _ = mw.cache.drop_tag("p:3")
        assert mw.cache.get("price:3") is None
        with count_round_trips() as trips:
            assert Shop().price(0) is None
            assert Shop().price(0) is None
        assert trips.awaited == 4


def test_arguments_that_say_nothing_need_a_key(redis_mw_settings: Settings) -> None:
    with RedisMW(redis_mw_settings) as mw:

        class Shop:
            @mw.cache.memoize(ttl=60)
            def price(self, id: int) -> int:
                return id

        with pytest.raises(CannotEncode, match="key="):
            _ = Shop().price(1)
        with pytest.raises(TypeError, match="AsyncRedisMW"):

            @mw.cache.memoize(ttl=60)
            async def coroutine() -> int:
                return 1
