"""Which view a request will reach: the marks that decorators wrote on it, its endpoint, the parameters of its path."""

from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cached_property
from typing import Any

from flask import Flask
from flask.wrappers import Request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule
from werkzeug.routing.converters import DEFAULT_CONVERTERS

from redis_mw.policy.marks import Placed, marks_of, marks_on
from redis_mw.settings import Cached


class Views:
    """The views of an application. Flask has routed a request when this is asked, so nothing is searched."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._known: dict[tuple[str, str], tuple[Any, tuple[Placed, ...]]] = {}

    def find(self, request: Request) -> tuple[tuple[Placed, ...], str, Mapping[str, str]]:
        """The marks that hold for the request, its endpoint, and its parameters; nothing where no view will be called.

        Parameters are those of the view, written as text.
        """
        rule = request.url_rule
        if rule is None:
            return (), "", {}
        parameters = dict(_texts(request.view_args)) if request.view_args else {}
        if request.method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
            return (), rule.endpoint, parameters  # Flask answers, and no view is called
        return self.marks(rule.endpoint, request.method), rule.endpoint, parameters

    def of_path(self, request: Request, path: str) -> tuple[Placed, ...]:
        """The marks of the view that would answer a GET for a path, where another request is answered."""
        adapter = self._app.create_url_adapter(request) if self.cache_something else None
        if adapter is None:
            return ()
        try:
            return self.marks(adapter.match(path, method="GET")[0], "GET")
        except HTTPException:
            return ()

    @cached_property
    def cache_something(self) -> bool:
        """Whether any view has its responses kept. All views are there when the first request comes."""
        marks = (mark for endpoint in self._app.view_functions for mark in self.marks(endpoint, "GET"))
        return any(isinstance(placed.mark.policy, Cached) for placed in marks)

    @cached_property
    def routed_by_url(self) -> bool:
        """Whether a request's URL and method alone decide where it goes, by what Flask and werkzeug have themselves."""
        app = self._app
        stock = type(app).create_url_adapter is Flask.create_url_adapter and "create_url_adapter" not in vars(app)
        converters = {*app.url_map.converters.values()} <= {*DEFAULT_CONVERTERS.values()}
        return stock and converters and app.url_rule_class is Rule and app.request_class is Request

    def marks(self, endpoint: str, method: str) -> tuple[Placed, ...]:
        """The marks that hold for a request of this method which goes to the view of this endpoint."""
        view = self._app.view_functions.get(endpoint)
        cls = getattr(view, "view_class", None)
        known = endpoint, method if cls is not None else ""
        found = self._known.get(known)
        if found is None or found[0] is not view:
            marks = (*self._of_groups(endpoint), *marks_of(view, *_methods(cls, method), cls=cls))
            found = self._known[known] = view, marks
        return found[1]

    def _of_groups(self, endpoint: str) -> Iterator[Placed]:
        """The marks of the application and of the blueprints that the view belongs to, the outermost first."""
        parts = endpoint.split(".")
        names = [".".join(parts[:end]) for end in range(1, len(parts))]
        for group in (self._app, *(self._app.blueprints[name] for name in names)):
            for at, mark in enumerate(marks_on(group), 1):
                yield Placed(mark, f"{group.import_name}:{group.name}#{at}")


def _methods(cls: Any, method: str) -> tuple[str, ...]:
    """What of a class is called for a request: as ``View`` and ``MethodView`` have it."""
    if cls is None:
        return ()
    name = method.lower()
    if name == "head" and not hasattr(cls, name):
        name = "get"
    return "dispatch_request", name


def _texts(read: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What converters made of the path, as text. A default of the rule may be None: then there is no such thing, and
    nothing is locked by it.

    An object that cannot say what it is would be another text for each request. It is left out, which is an error
    where a template asks for it.
    """
    for name, value in read.items():
        if isinstance(value, Enum):
            value = value.value
        kind: Any = type(value)
        if kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__:
            yield name, "" if value is None else str(value)
