"""The environment as a mapping: names become paths, texts become the kinds of value the tree wants there.

What a text then means, and whether it is right, is the reader's business, as for every other mapping.
"""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Annotated, Any, get_args, get_origin

import msgspec

from redis_mw.errors import Problem
from redis_mw.settings.part import Part
from redis_mw.settings.reading import alternatives, fields_of, shape

FOREIGN = frozenset({"ACCEPT_UNSIGNED", "HANDLER", "TEST_URL"})
"""Names that share our prefix: settings of Django's and Flask's own, and where the tests find a server."""

_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def gathered(root: type[Part], prefix: str, environ: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The mapping that the names under ``prefix`` spell, and what is wrong with them.

    A value that is no text (of Flask's config, which has such names too) stands for itself.
    """
    mapping: dict[str, Any] = {}
    problems: list[Problem] = []
    # Sorted, so that REDIS_MW_SESSIONS comes before REDIS_MW_SESSIONS__IDLE, which adds to it.
    for name in sorted(environ):
        if not name.startswith(prefix) or name.removeprefix(prefix) in FOREIGN:
            continue
        steps = name.removeprefix(prefix).lower().split("__")
        path = ".".join(steps)
        try:
            given = environ[name]
            value = _value(given, _kind_at(root, steps)) if isinstance(given, str) else copy(given)
        except (msgspec.DecodeError, RecursionError):
            problems.append(Problem(path, "is not valid JSON", "start it with [ or { only where it is JSON"))
            continue
        if not _put(mapping, steps, value):
            whole = prefix + "__".join(steps[:-1]).upper()
            problems.append(Problem(path, f"stands beside {whole}, which is not a mapping", "set one of the two"))
    return mapping, problems


def _put(mapping: dict[str, Any], steps: list[str], value: Any) -> bool:
    for step in steps[:-1]:
        inner: Any = mapping.setdefault(step, {})
        if not isinstance(inner, dict):
            return False
        mapping = inner
    mapping[steps[-1]] = value
    return True


def _kind_at(root: type[Part], steps: list[str]) -> tuple[Any, ...]:
    """The alternatives of what stands at the end of a path; none where the tree has no such place."""
    options: tuple[Any, ...] = (root,)
    for step in steps:
        inner: tuple[Any, ...] = ()
        for option in options:
            if shape(option) is Part:
                types = {field.name: field.type for field in fields_of(option)}
                inner += alternatives(types[step]) if step in types else ()
            elif shape(option) is dict:
                inner += alternatives(get_args(option)[1])
        options = inner
    return options


def _value(text: str, options: tuple[Any, ...]) -> Any:
    shapes = {shape(option) for option in options}
    if text.strip().lower() in ("", "none") and type(None) in options:
        return None
    if text.lstrip()[:1] in ("[", "{") and shapes & {list, tuple, dict, Part}:
        return msgspec.json.decode(text)
    bare = tuple(get_args(option)[0] if get_origin(option) is Annotated else option for option in options)
    leaves = {leaf for option in bare for leaf in alternatives(option)}
    if bool in leaves and text.strip().lower() in _FLAGS:
        return _FLAGS[text.strip().lower()]
    for number in (int, float):
        if number in leaves and (value := _number(number, text)) is not None:
            return value
    if str not in leaves and shapes & {list, tuple}:
        return [item.strip() for item in text.split(",") if item.strip()]
    return text


def _number(number: Callable[[str], Any], text: str) -> Any:
    try:
        return number(text)
    except ValueError:
        return None
