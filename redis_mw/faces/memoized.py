"""What a call of a function is called in the cache: by the function and its arguments, or as the application says."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from redis_mw.caching.values.plain import encode
from redis_mw.errors import CannotEncode
from redis_mw.keys import digest

KeyOf: TypeAlias = str | Callable[..., str] | None
TagsOf: TypeAlias = Sequence[str] | Callable[..., Sequence[str]]


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
