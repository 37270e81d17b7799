"""``CACHES = {"default": {"BACKEND": "redis_mw_django.cache.RedisCache"}}``: Django's cache on the data cache.

Each operation is one flow, run on a thread by the plain method and on the event loop by the one with an ``a``.

A Redis that is away is never an error here: reads are misses, ``add``, ``touch`` and ``delete`` say False, ``incr``
finds nothing. What was set, deleted or cleared meanwhile is dropped when Redis is back, before anything is read.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from redis_mw.caching.room import Room
from redis_mw.caching.values.commands import Uncounted
from redis_mw.caching.values.look import Found
from redis_mw.flows import Flow
from redis_mw_django.application import Application, application
from redis_mw_django.configured import Configured, configured
from redis_mw_django.entries import Entries

_MISSING: Any = object()
_DEFAULT: Any = DEFAULT_TIMEOUT


class RedisCache(BaseCache):
    """Django's cache: one round trip for each call, unless its own line says more.

    Nothing is kept longer than 30 days, with a timeout of None too. What cannot be stored is refused with
    ``CannotEncode``, unless ``OPTIONS["serializer"]`` names one that can; it runs where it is called, so what it would
    read from a database on an event loop is to be read before. ``clear`` forgets what has this KEY_PREFIX on
    this server, at once. LOCATION is the url of a server, that of REDIS_MW if it is left out. What is wrong with an
    entry of CACHES is a system check (E011), and a ``SettingsError`` on first use.
    """

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._location = server
        self._options: dict[str, Any] = params.get("OPTIONS", {})

    @cached_property
    def _configured(self) -> Configured:
        return configured(self._location, self._options)

    @cached_property
    def _entries(self) -> Entries:
        return Entries(self._configured.encoding, self.key_prefix)

    @property
    def _application(self) -> Application:
        # Asked for each time: Django makes a cache for each thread, and a test may override settings.
        return application(self._configured.url)

    @property
    def _room(self) -> Room:
        return self._application.caching

    def get_backend_timeout(self, timeout: float | None = _DEFAULT) -> float | None:
        """A timeout in seconds, 0 for one that is over; None: as long as this backend keeps anything."""
        given = self.default_timeout if timeout == DEFAULT_TIMEOUT else timeout
        return None if given is None else max(0.0, float(given))

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """What is stored, else ``default``. One round trip."""
        key = self.make_and_validate_key(key, version=version)
        return _value(self._application.run_cached(self._entries.get(self._room, key)), default)

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        key = self.make_and_validate_key(key, version=version)
        return _value(await self._application.arun_cached(self._entries.get(self._room, key)), default)

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """What is stored of these. One round trip."""
        asked = self._made(keys, version)
        found = self._application.run_cached(self._entries.get_many(self._room, asked))
        return {asked[key]: value for key, value in found.items()}

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        asked = self._made(keys, version)
        found = await self._application.arun_cached(self._entries.get_many(self._room, asked))
        return {asked[key]: value for key, value in found.items()}

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Whether something is stored, which stays where it is. One round trip."""
        key = self.make_and_validate_key(key, version=version)
        return self._application.run_cached(self._entries.has(self._room, key))

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        key = self.make_and_validate_key(key, version=version)
        return await self._application.arun_cached(self._entries.has(self._room, key))

    def set(self, key: Any, value: Any, timeout: float | None = _DEFAULT, version: int | None = None) -> None:
        """Store a value. One round trip. Raises ``CannotEncode`` and ``ValueTooLarge``."""
        _ = self.set_many({key: value}, timeout, version)

    async def aset(self, key: Any, value: Any, timeout: float | None = _DEFAULT, version: int | None = None) -> None:
        _ = await self.aset_many({key: value}, timeout, version)

    def set_many(
        self, data: Mapping[Any, Any], timeout: float | None = _DEFAULT, version: int | None = None
    ) -> list[Any]:
        """Store values, all or none where one cannot be encoded; those that Redis did not take. One round trip."""
        asked = self._made(data, version)
        values = {key: data[given] for key, given in asked.items()}
        flow = self._entries.set_many(self._room, values, self.get_backend_timeout(timeout))
        return [asked[key] for key in self._application.run_cached(flow)]

    async def aset_many(
        self, data: Mapping[Any, Any], timeout: float | None = _DEFAULT, version: int | None = None
    ) -> list[Any]:
        asked = self._made(data, version)
        values = {key: data[given] for key, given in asked.items()}
        flow = self._entries.set_many(self._room, values, self.get_backend_timeout(timeout))
        return [asked[key] for key in await self._application.arun_cached(flow)]

    def add(self, key: Any, value: Any, timeout: float | None = _DEFAULT, version: int | None = None) -> bool:
        """Store a value where none is, one caller of any number; whether it was. One round trip."""
        key = self.make_and_validate_key(key, version=version)
        flow = self._entries.add(self._room, key, value, self.get_backend_timeout(timeout))
        return self._application.run_cached(flow)

    async def aadd(self, key: Any, value: Any, timeout: float | None = _DEFAULT, version: int | None = None) -> bool:
        key = self.make_and_validate_key(key, version=version)
        flow = self._entries.add(self._room, key, value, self.get_backend_timeout(timeout))
        return await self._application.arun_cached(flow)

    def touch(self, key: Any, timeout: float | None = _DEFAULT, version: int | None = None) -> bool:
        """Have a value last so long from now on; whether there is one. One round trip."""
        key = self.make_and_validate_key(key, version=version)
        return self._application.run_cached(self._entries.touch(self._room, key, self.get_backend_timeout(timeout)))

    async def atouch(self, key: Any, timeout: float | None = _DEFAULT, version: int | None = None) -> bool:
        key = self.make_and_validate_key(key, version=version)
        flow = self._entries.touch(self._room, key, self.get_backend_timeout(timeout))
        return await self._application.arun_cached(flow)

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Forget a value; whether there was one. One round trip."""
        key = self.make_and_validate_key(key, version=version)
        return self._application.run_cached(self._entries.delete(self._room, key))

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        key = self.make_and_validate_key(key, version=version)
        return await self._application.arun_cached(self._entries.delete(self._room, key))

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Forget values. One round trip."""
        _ = self._application.run_cached(self._entries.delete_many(self._room, self._made(keys, version)))

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        _ = await self._application.arun_cached(self._entries.delete_many(self._room, self._made(keys, version)))

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to an integer, which lasts as long as before; its new value. One round trip, and no addition is lost.

        ``ValueError`` where nothing is stored, ``TypeError`` for what is no integer, ``OverflowError`` over 64 bits.
        """
        made = self.make_and_validate_key(key, version=version)
        return _counted(key, self._application.run_cached(self._entries.incr(self._room, made, delta)))

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        made = self.make_and_validate_key(key, version=version)
        return _counted(key, await self._application.arun_cached(self._entries.incr(self._room, made, delta)))

    def get_or_set(self, key: Any, default: Any, timeout: float | None = _DEFAULT, version: int | None = None) -> Any:
        """What is stored, else ``default`` (called, if it can be), which is added. One round trip, or two, or three."""
        found = self.get(key, _MISSING, version=version)
        if found is not _MISSING:
            return found
        made = default() if callable(default) else default
        if self.add(key, made, timeout=timeout, version=version):
            return made
        return self.get(key, made, version=version)  # another one was faster

    async def aget_or_set(
        self, key: Any, default: Any, timeout: float | None = _DEFAULT, version: int | None = None
    ) -> Any:
        found = await self.aget(key, _MISSING, version=version)
        if found is not _MISSING:
            return found
        made = default() if callable(default) else default
        if await self.aadd(key, made, timeout=timeout, version=version):
            return made
        return await self.aget(key, made, version=version)

    def incr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Have a value in another version, for the default timeout; which. Two round trips.

        ``ValueError`` where nothing is stored.
        """
        new = (self.version if version is None else version) + delta
        return _moved(key, new, self._application.run_cached(self._moving(key, version, new)))

    async def aincr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        new = (self.version if version is None else version) + delta
        return _moved(key, new, await self._application.arun_cached(self._moving(key, version, new)))

    def _moving(self, key: Any, version: int | None, new: int) -> Flow[bool]:
        here, there = (self.make_and_validate_key(key, version=each) for each in (version, new))
        return self._entries.move(self._room, here, there, self.get_backend_timeout())

    async def aclose(self, **kwargs: Any) -> None:
        """Nothing to do, as for ``close``: connections belong to the process, not to a request."""

    def clear(self) -> None:
        """Forget all that has this KEY_PREFIX: one command, however much that is."""
        _ = self._application.run_cached(self._entries.clear(self._room))

    async def aclear(self) -> None:
        _ = await self._application.arun_cached(self._entries.clear(self._room))

    def _made(self, keys: Iterable[Any], version: int | None) -> dict[str, Any]:
        """The complete keys, each with what it was made of."""
        return {self.make_and_validate_key(key, version=version): key for key in keys}


def _value(found: Found, default: Any) -> Any:
    return default if found.packed is None else found.value


def _moved(key: Any, version: int, found: bool) -> int:
    if not found:
        raise ValueError(f"Key '{key}' not found")
    return version


def _counted(key: Any, counted: int | Uncounted) -> int:
    match counted:
        case "nothing":
            raise ValueError(f"Key '{key}' not found")
        case "no integer":
            raise TypeError(f"what is stored under '{key}' is no integer of 64 bits")
        case "too large":
            raise OverflowError(f"the integer under '{key}' would have more than 64 bits")
        case _:
            return counted
