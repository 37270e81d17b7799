"""Functions whose results are kept, and what their calls are called: by function and arguments, or as is said."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial, wraps
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

from redis_mw.caching.values.plain import encode
from redis_mw.errors import CannotEncode
from redis_mw.keys import digest

KeyOf: TypeAlias = str | Callable[..., str] | None
TagsOf: TypeAlias = Sequence[str] | Callable[..., Sequence[str]]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Memoized(Protocol[P, R_co]):
    """A function whose results are kept; ``cache_drop`` forgets that of a call, as ``delete`` does."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def __get__(self, instance: Any, owner: Any = None) -> Any: ...

    def cache_drop(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...


class AsyncMemoized(Protocol[P, R_co]):
    """The same, awaited."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]: ...

    def __get__(self, instance: Any, owner: Any = None) -> Any: ...

    def cache_drop(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, bool]: ...


class AsyncMemoize(Protocol):
    """A decorator of coroutine functions, and of plain ones, which are awaited then too."""

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> AsyncMemoized[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> AsyncMemoized[P, R]: ...


def memoizing(
    get: Callable[..., Any], delete: Callable[[str], bool], key: KeyOf, tags: TagsOf
) -> Callable[[Callable[P, R]], Memoized[P, R]]:
    """A decorator of functions that run in threads; ``get`` is ``get_or_set`` with all but the call."""

    def decorate(function: Callable[P, R]) -> Memoized[P, R]:
        if inspect.iscoroutinefunction(function):
            raise TypeError("a coroutine function is memoized by AsyncRedisMW")
        calls = Calls(function, key, tags)

        @wraps(function)
        def memoized(*args: P.args, **kwargs: P.kwargs) -> Any:
            load = partial(function, *args, **kwargs)
            return get(calls.key(args, kwargs), load, tags=calls.tags(args, kwargs))

        def cache_drop(*args: P.args, **kwargs: P.kwargs) -> bool:
            return delete(calls.key(args, kwargs))

        made: Memoized[P, R] = _with(memoized, cache_drop)
        return made

    return decorate


def async_memoizing(
    get: Callable[..., Awaitable[Any]], delete: Callable[[str], Awaitable[bool]], key: KeyOf, tags: TagsOf
) -> AsyncMemoize:
    """The same for functions that are awaited."""

    def decorate(function: Callable[..., Any]) -> Any:
        calls = Calls(function, key, tags)

        @wraps(function)
        async def memoized(*args: Any, **kwargs: Any) -> Any:
            load = partial(function, *args, **kwargs)
            return await get(calls.key(args, kwargs), load, tags=calls.tags(args, kwargs))

        async def cache_drop(*args: Any, **kwargs: Any) -> bool:
            return await delete(calls.key(args, kwargs))

        return _with(memoized, cache_drop)

    return cast(AsyncMemoize, decorate)


def _with(memoized: Any, cache_drop: Any) -> Any:
    memoized.cache_drop = cache_drop
    return memoized


class Calls:
    """The calls of one function. ``key`` and ``tags`` may be templates over its parameters, or be called with them.

    ``f(1)`` and ``f(x=1)`` are one call, and defaults count.
    """

    def __init__(self, function: Callable[..., Any], key: KeyOf, tags: TagsOf) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._signature = inspect.signature(function)
        self._key = key
        self._tags = tags

    def key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The key of a call; ``CannotEncode`` where its arguments cannot be told apart by what they are."""
        if callable(self._key):
            return self._key(*args, **kwargs)
        arguments = self._arguments(args, kwargs)
        if self._key is not None:
            return self._key.format_map(arguments)
        try:
            said = encode(list(arguments.items()), "arguments", typed=False)[1]
        except CannotEncode as problem:
            raise CannotEncode(problem.type, f"{self._name}: {problem.path}", "say what the call is: key=...") from None
        return f"{self._name}({digest(said.hex())})"

    def tags(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[str]:
        """The tags of a call."""
        if callable(self._tags):
            return self._tags(*args, **kwargs)
        if not any("{" in tag for tag in self._tags):
            return self._tags
        arguments = self._arguments(args, kwargs)
        return [tag.format_map(arguments) for tag in self._tags]

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments
