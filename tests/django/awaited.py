"""Our cache with each plain method made of the awaited one, so that tests of the one are tests of the other."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from redis_mw_django.cache import RedisCache

METHODS = (
    *("get", "get_many", "has_key", "get_or_set", "set", "set_many", "add", "touch", "delete", "delete_many"),
    *("incr", "decr", "incr_version", "decr_version", "clear"),
)
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()


def made_of(name: str) -> Callable[..., Any]:
    awaited = getattr(RedisCache, f"a{name}")

    def method(self: RedisCache, *args: Any, **kwargs: Any) -> Any:
        async def call() -> Any:
            return await awaited(self, *args, **kwargs)

        return asyncio.run_coroutine_threadsafe(call(), loop).result(60)

    return method


class AwaitedCache(RedisCache):
    """Its own methods with an ``a`` find none of these: on a loop they would wait for themselves."""


for each in METHODS:
    setattr(AwaitedCache, each, made_of(each))
