"""Which view a request will reach, found before any other middleware runs: its marks, the name of its route, and what
that reads in the path.

Django's resolver is asked, a second time, only where something hangs on it: a view of the URLconf carries a mark, or a
rule needs to know the route. Of a view that is not found here (another middleware changes ``request.urlconf``)
``process_view`` takes care, and the decorators themselves of one whose marks a foreign decorator has dropped.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from django.conf import settings as django_settings
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver
from django.urls.resolvers import LocalePrefixPattern
from django.utils import translation

from redis_mw.http.request import Request
from redis_mw.policy.marks import Placed, marks_of

MOST = 4096
METHODS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")
NOTHING: Mapping[str, str] = {}


class Found(NamedTuple):
    """Where a request goes: the view, its marks, and the pattern of its path; '' if it goes nowhere known.

    ``parameters`` are those of the path, as the view gets them, as text. What a pattern does not name has no name here.
    """

    view: Any = None
    marks: tuple[Placed, ...] = ()
    route: str = ""
    parameters: Mapping[str, str] = NOTHING


NOWHERE = Found()


class Registered(NamedTuple):
    """A view where the URLconf has it, and the names of the parameters that it is called with there."""

    view: Any
    route: str
    parameters: frozenset[str]


class _Known(NamedTuple):
    """What is known of a URLconf: whether a view of it carries a mark, and whether its paths begin with a language."""

    marked: bool
    localised: bool


_marks: dict[tuple[int, str], tuple[Any, tuple[Placed, ...]]] = {}
"""By the identity of the view, which is kept with them: not every view can be a key itself."""
_known: WeakKeyDictionary[URLResolver, _Known] = WeakKeyDictionary()


def find(request: Request, urlconf: Any = None, *, needed: bool) -> Found:
    """Where this request goes. ``needed`` says that a rule hangs on the route; else it costs nothing without marks."""
    resolver = get_resolver(urlconf)
    known = _known.get(resolver)
    if known is None:
        # A URLconf that cannot be read raises here what it would raise when Django reads it.
        known = _known[resolver] = _Known(
            any(all_marks(each.view) for each in views_of(resolver)), _localised(resolver)
        )
    if not needed and not known.marked:
        return NOWHERE
    try:
        with _in_its_language(request.path) if known.localised else nullcontext():
            match = resolver.resolve(request.path)
    except Resolver404:
        return NOWHERE
    marks = marks_for(match.func, request.method)
    return Found(match.func, marks, route_of(match), parameters_of(match))


def route_of(match: Any) -> str:
    """The name of a place in the URLconf; that of the empty path is none."""
    return f"/{match.route}"


def parameters_of(match: Any) -> Mapping[str, str]:
    """What the view is called with, as text: ``007`` and ``7`` are one number where the pattern reads numbers."""
    if not match.kwargs:
        return NOTHING
    return {name: str(value.value if isinstance(value, Enum) else value) for name, value in match.kwargs.items()}


def marks_for(view: Any, method: str) -> tuple[Placed, ...]:
    """The marks that a view enforces for requests of this method: of a class-based view, those of its handler too."""
    known = _marks.get((id(view), method))
    if known is None:
        cls = getattr(view, "view_class", None)
        handler = "get" if method == "HEAD" and not hasattr(cls, "head") else method.lower()
        known = view, marks_of(view, *(() if cls is None else ("dispatch", handler)), cls=cls, above=False)
        if len(_marks) >= MOST:
            _marks.clear()
        _marks[id(view), method] = known
    return known[1]


def all_marks(view: Any) -> tuple[Placed, ...]:
    """The marks that a view enforces for requests of any method."""
    return marks_of(view, "dispatch", *METHODS, cls=getattr(view, "view_class", None), above=False)


def views_of(resolver: URLResolver) -> Iterator[Registered]:
    """Every view of a URLconf and of what it includes. (One that includes itself is read once.)"""
    waiting = [(resolver, "/", frozenset[str]())]
    seen = set[tuple[int, frozenset[str]]]()
    while waiting:
        outer, prefix, names = waiting.pop()
        patterns: list[URLPattern | URLResolver] = outer.url_patterns
        if (id(patterns), names) in seen:
            continue
        seen.add((id(patterns), names))
        for pattern in patterns:
            route = f"{prefix}{pattern.pattern}"
            if isinstance(pattern, URLResolver):
                waiting.append((pattern, route, names | _names_in(pattern.pattern, pattern.default_kwargs)))
            else:
                yield Registered(pattern.callback, route, names | _names_in(pattern.pattern, pattern.default_args))


def _names_in(pattern: Any, more: Mapping[str, object] | None) -> frozenset[str]:
    return frozenset(pattern.regex.groupindex) | frozenset(more or ())


def _localised(resolver: URLResolver) -> bool:
    return any(isinstance(getattr(each, "pattern", None), LocalePrefixPattern) for each in resolver.url_patterns)


def _in_its_language(path: str) -> AbstractContextManager[None]:
    """The language that LocaleMiddleware will choose for this path: patterns match in the language that is active."""
    return translation.override(translation.get_language_from_path(path) or django_settings.LANGUAGE_CODE)
