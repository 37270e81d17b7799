"""Which view a request will reach, found before any other middleware runs: its marks, and the name of its route.

Django's resolver is asked, a second time, only where something hangs on it: a view of the URLconf carries a mark, or
limits count by the route. Of a view that is not found here (another middleware changes ``request.urlconf``)
``process_view`` takes care, and the decorators themselves of one whose marks a foreign decorator has dropped.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from django.conf import settings as django_settings
from django.http import HttpRequest
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver
from django.urls.resolvers import LocalePrefixPattern
from django.utils import translation

from redis_mw.policy.marks import Placed, marks_of

MOST = 4096
METHODS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")


class Found(NamedTuple):
    """Where a request goes: the view, its marks, and the pattern of its path; '' if it goes nowhere known."""

    view: Any = None
    marks: tuple[Placed, ...] = ()
    route: str = ""


NOWHERE = Found()


class _Known(NamedTuple):
    """What is known of a URLconf: whether a view of it carries a mark, and whether its paths begin with a language."""

    marked: bool
    localised: bool


_marks: dict[tuple[int, str], tuple[Any, tuple[Placed, ...]]] = {}
"""By the identity of the view, which is kept with them: not every view can be a key itself."""
_known: WeakKeyDictionary[URLResolver, _Known] = WeakKeyDictionary()


def find(request: HttpRequest, *, needed: bool) -> Found:
    """Where this request goes. ``needed`` says that limits count by the route; else it costs nothing without marks."""
    resolver = get_resolver(getattr(request, "urlconf", None))
    known = _known.get(resolver)
    if known is None:
        # A URLconf that cannot be read raises here what it would raise when Django reads it.
        known = _known[resolver] = _Known(any(map(all_marks, views_of(resolver))), _localised(resolver))
    if not needed and not known.marked:
        return NOWHERE
    try:
        with _in_its_language(request.path_info) if known.localised else nullcontext():
            match = resolver.resolve(request.path_info)
    except Resolver404:
        return NOWHERE
    return Found(match.func, marks_for(match.func, request.method or "GET"), route_of(match))


def route_of(match: Any) -> str:
    """The name of a place in the URLconf; that of the empty path is none."""
    return f"/{match.route}"


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


def views_of(resolver: URLResolver) -> Iterator[Any]:
    """Every view of a URLconf and of what it includes. (One that includes itself is read once.)"""
    waiting, seen = [resolver], set[int]()
    while waiting:
        patterns: list[URLPattern | URLResolver] = waiting.pop().url_patterns
        if id(patterns) in seen:
            continue
        seen.add(id(patterns))
        for pattern in patterns:
            if isinstance(pattern, URLResolver):
                waiting.append(pattern)
            else:
                yield pattern.callback


def _localised(resolver: URLResolver) -> bool:
    return any(isinstance(getattr(each, "pattern", None), LocalePrefixPattern) for each in resolver.url_patterns)


def _in_its_language(path: str) -> AbstractContextManager[None]:
    """The language that LocaleMiddleware will choose for this path: patterns match in the language that is active."""
    return translation.override(translation.get_language_from_path(path) or django_settings.LANGUAGE_CODE)
