"""Our cache with each plain method made of the awaited one, so that tests of the one are tests of the other."""

from collections.abc import Callable
from typing import Any

from colours import Running

from redis_mw_django.cache import RedisCache

METHODS = (
    *("get", "get_many", "has_key", "get_or_set", "set", "set_many", "add", "touch", "delete", "delete_many"),
    *("incr", "decr", "incr_version", "decr_version", "clear"),
)
running = Running()


def made_of(name: str) -> Callable[..., Any]:
    awaited = getattr(RedisCache, f"a{name}")
    return lambda self, *args, **kwargs: running.do(awaited, self, *args, **kwargs)


class AwaitedCache(RedisCache):
    """Its own methods with an ``a`` find none of these: on a loop they would wait for themselves."""


for each in METHODS:
    setattr(AwaitedCache, each, made_of(each))
