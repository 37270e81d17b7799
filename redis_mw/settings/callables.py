"""Callables that settings name by a dotted path: the way from the text to the function."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from redis_mw.errors import Problem, SettingsError


def resolve(target: "str | Callable[..., Any]", path: str = "") -> Callable[..., Any]:
    """The callable itself, or what the dotted path (``package.module.name``, with or without ``call:``) leads to.

    ``path`` says in the SettingsError which setting named it. Errors raised *inside* the imported module are its own
    and pass through, so that they keep their traceback.
    """
    if not isinstance(target, str):
        return target
    module_path, _, name = target.removeprefix("call:").rpartition(".")
    where = path or target
    if not module_path:
        raise SettingsError([Problem(where, f"{target!r} is not a dotted path", "write package.module.function")])
    try:
        module = import_module(module_path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_path}.".startswith(f"{error.name}."):
            raise
        raise SettingsError([Problem(where, f"there is no module {error.name!r}", "check its name")]) from None
    found = getattr(module, name, None)
    if found is None:
        raise SettingsError([Problem(where, f"module {module_path!r} has no {name!r}", "check its name")])
    if not callable(found):
        raise SettingsError([Problem(where, f"{target!r} is not callable", "name a function or a class")])
    result: Callable[..., Any] = found
    return result
