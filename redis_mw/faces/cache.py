"""``mw.cache``, in both colours: values that application code keeps, under keys of its own.

A Redis that is away is never an error here: reads are misses, what is missing is made, writes are left out. Only what
is dropped is not forgotten: it is dropped when Redis is back, before anything is read here.

Durations are seconds or a ``timedelta``. ``type`` says what is read, as msgspec understands it; what does not fit is a
miss. Lifetimes are shortened by up to ``jitter`` of them, that of the settings unless it is given (0: not at all), so
that not all ends at once. ``hot`` is under how many keys a value lives that is read more than one server can bear.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ParamSpec, TypeVar

from redis_mw.caching.pages.keep import purge
from redis_mw.caching.pages.names import urls_to_purge
from redis_mw.caching.room import Room
from redis_mw.caching.tags import names_of
from redis_mw.caching.values.ask import counted, getting
from redis_mw.caching.values.asking import Asking, values
from redis_mw.caching.values.commands import named
from redis_mw.caching.values.look import peek
from redis_mw.caching.values.write import Piece, drop, drop_tags, put
from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.sync import SyncDriver
from redis_mw.faces.attending import attend_cache
from redis_mw.faces.making import AsyncLoad, AsyncMaking, Load, SyncMaking
from redis_mw.faces.memoized import AsyncMemoize, KeyOf, Memoized, TagsOf, async_memoizing, memoizing
from redis_mw.flows import together
from redis_mw.settings import Duration

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")


class SyncCache(Asking):
    """Values kept for code that runs in threads."""

    def __init__(self, driver: SyncDriver, room: Room) -> None:
        super().__init__(room)
        self._driver = driver
        self._making = SyncMaking(driver, room)

    def get(self, key: str, *, type: Any = Any, default: Any = None) -> Any:
        """What is stored and fresh, else ``default``. A stored None is None. One round trip."""
        found = self._driver.run(peek(self.room, getting(key, type)))
        attend_cache(self._driver, self.room)
        return default if found.packed is None else found.value

    def get_many(self, keys: Iterable[str], *, type: Any = Any) -> dict[str, Any]:
        """Those of these keys under which something is stored and fresh, with it. One round trip."""
        asks = self.asks(keys, type)
        if not asks:
            return {}
        founds = self._driver.run(together(*[peek(self.room, ask) for ask in asks]))
        attend_cache(self._driver, self.room)
        return values(asks, founds)

    def set(self, key: str, value: Any, *, ttl: Duration | None = None, tags: Sequence[str] = (), hot: int = 1) -> bool:
        """Store a value, for 30 days at most if no ``ttl`` is given. One round trip.

        False: Redis is away, and what was stored before will be dropped. Raises ``CannotEncode`` and ``ValueTooLarge``.
        """
        return self._put([self.piece(key, value, ttl, tags, hot)])

    def set_many(
        self, values: Mapping[str, Any], *, ttl: Duration | None = None, tags: Sequence[str] = (), hot: int = 1
    ) -> bool:
        """Store several values at once, as ``set``. One round trip, and nothing is stored if one cannot be."""
        return self._put([self.piece(key, value, ttl, tags, hot) for key, value in values.items()])

    def delete(self, *keys: str, hot: int = 1) -> bool:
        """Forget values, and have nothing stored that is being made of them now. One round trip.

        False: Redis is away; they are dropped when it is back. ``hot`` says how many copies there are for sure.
        """
        names, copies = tuple(map(named, keys)), counted(hot)
        self._making.forget(names)
        heard = self._driver.run(drop(self.room, names, copies))
        attend_cache(self._driver, self.room)
        return heard

    def get_or_set(
        self,
        key: str,
        load: Load,
        *,
        ttl: Duration,
        tags: Sequence[str] = (),
        type: Any = Any,
        negative: Duration = 10,
        stale: Duration = 0,
        early: bool = True,
        jitter: float | None = None,
        hot: int = 1,
    ) -> Any:
        """What is stored, else what ``load`` gives, which is stored then: one round trip, or two and the load.

        Of all who ask at once, in any process, one loads; the others wait. Shortly before the value ends (``early``),
        and for ``stale`` after that, it is given at once and made anew in the background. A None is kept for
        ``negative``, 0: not at all. What was dropped while it was being made is not stored. What ``load`` raises
        passes through. Raises ``CannotEncode`` and ``ValueTooLarge`` for what it gives.
        """
        return self._making.get(self.ask(key, type, ttl, tags, negative, stale, early, jitter, hot), load)

    def write_through(
        self,
        key: str,
        value: V,
        store: Callable[[V], Any],
        *,
        ttl: Duration | None = None,
        tags: Sequence[str] = (),
    ) -> Any:
        """Call ``store(value)`` and, if it does not raise, keep the value; gives what ``store`` gives.

        Whatever cannot be kept is refused before. If Redis is away, what was there before is dropped when it is back.
        """
        kept = self.piece(key, value, ttl, tags, 1)
        stored = store(value)
        _ = self._put([kept])
        return stored

    def memoize(
        self,
        *,
        ttl: Duration,
        key: KeyOf = None,
        tags: TagsOf = (),
        type: Any = Any,
        negative: Duration = 10,
        stale: Duration = 0,
        early: bool = True,
        jitter: float | None = None,
        hot: int = 1,
    ) -> Callable[[Callable[P, R]], Memoized[P, R]]:
        """Have a function's results kept, as by ``get_or_set``.

        ``key`` and ``tags`` may be templates over its parameters (``"user:{id}"``), or be called with its arguments;
        without a ``key`` it is the function's name and arguments. ``function.cache_drop(*args)`` forgets a result.
        """
        asked = partial(
            self.get_or_set, ttl=ttl, type=type, negative=negative, stale=stale, early=early, jitter=jitter, hot=hot
        )
        return memoizing(asked, partial(self.delete, hot=hot), key, tags)

    def purge(self, url: str) -> bool:
        """Forget every page of an absolute URL, and have nothing stored that is being made of it. One round trip.

        For both schemes, for policies with ``host_any`` too. False: Redis is away; they are purged when it is back.
        ValueError for what is no absolute URL.
        """
        heard = self._driver.run(purge(self.room, urls_to_purge(url)))
        attend_cache(self._driver, self.room)
        return heard

    def drop_tag(self, *tags: str, soft: bool = False) -> bool:
        """Forget whatever hangs on these tags, or with ``soft`` have it made anew when it is next asked for.

        One round trip, and a command for each, however much that is. False: Redis is away; done when it is back.
        """
        names = names_of(tags)
        self._making.forget(tags=names)
        heard = self._driver.run(drop_tags(self.room, names, soft=soft))
        attend_cache(self._driver, self.room)
        return heard

    def close(self) -> None:
        """Wait for what is being made in the background."""
        self._making.close()

    def _put(self, pieces: list[Piece]) -> bool:
        self._making.forget(tuple(each.name for each in pieces))
        stored = self._driver.run(put(self.room, pieces))
        attend_cache(self._driver, self.room)
        return stored


class AsyncCache(Asking):
    """Values kept for code that runs on an event loop; the same names, awaited."""

    def __init__(self, driver: AsyncDriver, room: Room) -> None:
        super().__init__(room)
        self._driver = driver
        self._making = AsyncMaking(driver, room)

    async def get(self, key: str, *, type: Any = Any, default: Any = None) -> Any:
        """What is stored and fresh, else ``default``. A stored None is None. One round trip."""
        found = await self._driver.run(peek(self.room, getting(key, type)))
        attend_cache(self._driver, self.room)
        return default if found.packed is None else found.value

    async def get_many(self, keys: Iterable[str], *, type: Any = Any) -> dict[str, Any]:
        """Those of these keys under which something is stored and fresh, with it. One round trip."""
        asks = self.asks(keys, type)
        if not asks:
            return {}
        founds = await self._driver.run(together(*[peek(self.room, ask) for ask in asks]))
        attend_cache(self._driver, self.room)
        return values(asks, founds)

    async def set(
        self, key: str, value: Any, *, ttl: Duration | None = None, tags: Sequence[str] = (), hot: int = 1
    ) -> bool:
        """Store a value, for 30 days at most if no ``ttl`` is given. One round trip.

        False: Redis is away, and what was stored before will be dropped. Raises ``CannotEncode`` and ``ValueTooLarge``.
        """
        return await self._put([self.piece(key, value, ttl, tags, hot)])

    async def set_many(
        self, values: Mapping[str, Any], *, ttl: Duration | None = None, tags: Sequence[str] = (), hot: int = 1
    ) -> bool:
        """Store several values at once, as ``set``. One round trip, and nothing is stored if one cannot be."""
        return await self._put([self.piece(key, value, ttl, tags, hot) for key, value in values.items()])

    async def delete(self, *keys: str, hot: int = 1) -> bool:
        """Forget values, and have nothing stored that is being made of them now. One round trip.

        False: Redis is away; they are dropped when it is back. ``hot`` says how many copies there are for sure.
        """
        names, copies = tuple(map(named, keys)), counted(hot)
        self._making.forget(names)
        heard = await self._driver.run(drop(self.room, names, copies))
        attend_cache(self._driver, self.room)
        return heard

    async def get_or_set(
        self,
        key: str,
        load: AsyncLoad,
        *,
        ttl: Duration,
        tags: Sequence[str] = (),
        type: Any = Any,
        negative: Duration = 10,
        stale: Duration = 0,
        early: bool = True,
        jitter: float | None = None,
        hot: int = 1,
    ) -> Any:
        """What is stored, else what ``load`` gives, which is stored then: one round trip, or two and the load.

        Of all who ask at once, in any process, one loads; the others wait. Shortly before the value ends (``early``),
        and for ``stale`` after that, it is given at once and made anew in the background. A None is kept for
        ``negative``, 0: not at all. What was dropped while it was being made is not stored. What ``load`` raises
        passes through. Raises ``CannotEncode`` and ``ValueTooLarge`` for what it gives.
        """
        return await self._making.get(self.ask(key, type, ttl, tags, negative, stale, early, jitter, hot), load)

    async def write_through(
        self,
        key: str,
        value: V,
        store: Callable[[V], Any],
        *,
        ttl: Duration | None = None,
        tags: Sequence[str] = (),
    ) -> Any:
        """Call ``store(value)`` and, if it does not raise, keep the value; gives what ``store`` gives.

        Whatever cannot be kept is refused before. If Redis is away, what was there before is dropped when it is back.
        """
        kept = self.piece(key, value, ttl, tags, 1)
        stored = await given(store(value))
        _ = await self._put([kept])
        return stored

    def memoize(
        self,
        *,
        ttl: Duration,
        key: KeyOf = None,
        tags: TagsOf = (),
        type: Any = Any,
        negative: Duration = 10,
        stale: Duration = 0,
        early: bool = True,
        jitter: float | None = None,
        hot: int = 1,
    ) -> AsyncMemoize:
        """Have a function's results kept, as by ``get_or_set``.

        ``key`` and ``tags`` may be templates over its parameters (``"user:{id}"``), or be called with its arguments;
        without a ``key`` it is the function's name and arguments. ``function.cache_drop(*args)`` forgets a result.
        """
        asked = partial(
            self.get_or_set, ttl=ttl, type=type, negative=negative, stale=stale, early=early, jitter=jitter, hot=hot
        )
        return async_memoizing(asked, partial(self.delete, hot=hot), key, tags)

    async def purge(self, url: str) -> bool:
        """Forget every page of an absolute URL; see ``SyncCache.purge``."""
        heard = await self._driver.run(purge(self.room, urls_to_purge(url)))
        attend_cache(self._driver, self.room)
        return heard

    async def drop_tag(self, *tags: str, soft: bool = False) -> bool:
        """Forget whatever hangs on these tags, or with ``soft`` have it made anew when it is next asked for.

        One round trip, and a command for each, however much that is. False: Redis is away; done when it is back.
        """
        names = names_of(tags)
        self._making.forget(tags=names)
        heard = await self._driver.run(drop_tags(self.room, names, soft=soft))
        attend_cache(self._driver, self.room)
        return heard

    async def aclose(self) -> None:
        """Wait for what is being made in the background."""
        await self._making.aclose()

    async def _put(self, pieces: list[Piece]) -> bool:
        self._making.forget(tuple(each.name for each in pieces))
        stored = await self._driver.run(put(self.room, pieces))
        attend_cache(self._driver, self.room)
        return stored


async def given(made: Any) -> Any:
    """What code gave, awaited if it is to be."""
    return await made if inspect.isawaitable(made) else made
