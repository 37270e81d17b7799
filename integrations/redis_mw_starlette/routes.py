"""Which view a request will reach, found before the application runs: its marks, the name of its route, and what that
reads in the path.

Starlette's router is asked for nothing: its routes, with those of mounted applications and included routers, are read
once into a tree of patterns that are tried in the same order. Of a view that is found nowhere here (a router of
another kind) the decorators take care themselves.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from functools import partial
from re import Pattern
from typing import Any, NamedTuple, TypeAlias

from msgspec import structs
from starlette.routing import Host, Mount, WebSocketRoute
from starlette.types import Scope

from redis_mw.http.request import Request
from redis_mw.policy.marks import Placed, marks_of
from redis_mw.settings import Limit

MOST_METHODS = 4096
"""Methods are whatever a client writes."""


Read: TypeAlias = Mapping[str, Callable[[str], object]]
"""How each parameter of a path is read, by its name; ValueError where the view would not be called for it."""

NOTHING: Mapping[str, str] = {}


class Found(NamedTuple):
    """Where a request goes: the marks of its view, the pattern of its path, '' if it goes nowhere known, and its
    parameters as the view gets them, as text, where a policy may ask for them.
    """

    marks: tuple[Placed, ...] = ()
    route: str = ""
    parameters: Mapping[str, str] = NOTHING


NOWHERE = Found()


class _Leaf(NamedTuple):
    """A route, with the ``methods`` that it takes; None where it takes any."""

    regex: Pattern[str]
    route: str
    websocket: bool
    methods: frozenset[str] | None
    endpoint: Any
    more: tuple[Any, ...]
    read: Read

    def marks(self, method: str) -> tuple[Placed, ...]:
        endpoint = self.endpoint
        cls = endpoint if isinstance(endpoint, type) else None
        found = marks_of(endpoint, "dispatch", method.lower(), cls=cls)
        for dependency in self.more:
            found += tuple(Placed(mark, f"{self.route} {place}") for mark, place in marks_of(dependency))
        return found


class _Branch(NamedTuple):
    """A mounted application, or one of its own for a host."""

    regex: Pattern[str]
    route: str
    host: bool
    read: Read
    nodes: "tuple[_Leaf | _Branch, ...]"


class Routes:
    """The routes of the applications inside one middleware. ``needed`` says that rules depend on the route."""

    def __init__(self, app: Any, *, needed: bool) -> None:
        self._app = app
        self._needed = needed
        self._read: dict[int, tuple[int, tuple[_Leaf | _Branch, ...], bool]] = {}
        self._found: dict[tuple[int, str], Found] = {}

    def find(self, scope: Scope, request: Request) -> Found:
        """Where this request goes. Costs nothing where no view has a mark."""
        app = scope.get("app") or self._app
        routes = getattr(app, "routes", None)
        if routes is None:
            return NOWHERE
        read = self._read.get(id(app))
        if read is None or read[0] != len(routes):
            nodes = tuple(_nodes(routes, ""))
            read = self._read[id(app)] = (len(routes), nodes, self._needed or any(map(_has_marks, nodes)))
            self._found.clear()
        if not read[2]:
            return NOWHERE
        is_websocket = scope["type"] == "websocket"
        texts: dict[str, str] = {}
        leaf = _search(read[1], request.path, request, is_websocket, texts)
        if leaf is None or isinstance(leaf, _Branch):
            return Found((), leaf.route if leaf is not None else "")
        known = id(leaf), request.method
        found = self._found.get(known)
        if found is None:
            found = Found(leaf.marks(request.method), leaf.route)
            if len(self._found) < MOST_METHODS:
                self._found[known] = found
        return found._replace(parameters=texts) if texts and (self._needed or _ask(found.marks)) else found

    def of_path(self, scope: Scope, request: Request, path: str) -> tuple[Placed, ...]:
        """The marks of the view that would answer a GET for a path, where another one is answered."""
        return self.find(scope, structs.replace(request, method="GET", path=path)).marks


def _ask(marks: tuple[Placed, ...]) -> bool:
    """Whether a policy may be filled with parameters of the path."""
    return any(not isinstance(mark.policy, Limit) for mark, _ in marks)


def _search(
    nodes: Iterable[_Leaf | _Branch], path: str, request: Request, is_websocket: bool, texts: dict[str, str]
) -> _Leaf | _Branch | None:
    """The first that takes the request. One that does not take its method answers 405, and has no view to protect.

    ``texts`` is filled with the parameters of its path.
    """
    for node in nodes:
        if isinstance(node, _Leaf):
            takes = node.methods is None or request.method in node.methods
            match = node.regex.match(path) if node.websocket is is_websocket and takes else None
            if match:
                texts.update(_texts(match.groupdict(), node.read))
                return node
            continue
        match = node.regex.match(request.host.partition(":")[0] if node.host else path)
        if match:
            groups = match.groupdict()
            rest = path if node.host else "/" + groups.pop("path").lstrip("/")
            texts.update(_texts(groups, node.read))
            return _search(node.nodes, rest, request, is_websocket, texts) or node
    return None


def _texts(groups: Mapping[str, str], read: Read) -> Iterator[tuple[str, str]]:
    """The parameters as the view gets them. What cannot be read so never reaches the view: it is left as it is."""
    for name, raw in groups.items():
        value: object = raw
        if name in read:
            try:
                value = read[name](raw)
            except ValueError:
                pass
        yield name, str(value.value if isinstance(value, Enum) else value)


def _nodes(routes: Iterable[Any], prefix: str) -> Iterator[_Leaf | _Branch]:
    for route in _each(routes):
        regex = getattr(route, "path_regex", None) or getattr(route, "host_regex", None)
        if regex is None:
            continue
        original = getattr(route, "original_route", route)
        if isinstance(original, (Mount, Host)):
            is_host = isinstance(original, Host)
            path = prefix if is_host else prefix + str(getattr(route, "path", ""))
            yield _Branch(regex, path + "/*", is_host, _read_by(route), tuple(_nodes(route.routes or (), path)))
        elif getattr(route, "endpoint", None) is not None:
            methods = getattr(route, "methods", None)
            yield _Leaf(
                regex=regex,
                route=prefix + str(getattr(route, "path", "")),
                websocket=isinstance(original, WebSocketRoute),
                methods=frozenset(methods) if methods else None,
                endpoint=_bare(route.endpoint),
                more=tuple(_dependencies(getattr(route, "dependant", None))),
                read=_read_by(route),
            )


def _read_by(route: Any) -> Read:
    """How a route reads its parameters: Starlette by its convertors, FastAPI then by the annotations of the view."""
    read = {name: each.convert for name, each in (getattr(route, "param_convertors", None) or {}).items()}
    waiting = [getattr(route, "dependant", None)]
    while waiting:
        dependant = waiting.pop()
        for field in getattr(dependant, "path_params", ()):
            if not isinstance(read.get(field.alias), partial):
                read[field.alias] = partial(_validated, field)
        waiting += getattr(dependant, "dependencies", ())
    return read


def _validated(field: Any, text: str) -> object:
    value, errors = field.validate(text, {}, loc=("path", field.alias))
    if errors:
        raise ValueError(text)
    return value


def _each(routes: Iterable[Any]) -> Iterator[Any]:
    """Starlette's routes as they are; FastAPI shows those of included routers only when it is asked for them."""
    fastapi = sys.modules.get("fastapi.routing")
    contexts = getattr(fastapi, "iter_route_contexts", None)
    yield from routes if contexts is None else contexts(list(routes))


def _dependencies(dependant: Any) -> Iterator[Any]:
    """Everything that FastAPI calls before an endpoint."""
    for each in getattr(dependant, "dependencies", ()):
        yield each.call
        yield from _dependencies(each)


def _bare(endpoint: Any) -> Any:
    while isinstance(endpoint, partial):
        endpoint = endpoint.func
    return endpoint


def _has_marks(node: _Leaf | _Branch) -> bool:
    if isinstance(node, _Branch):
        return any(map(_has_marks, node.nodes))
    endpoint = node.endpoint
    methods = ("get", "post", "put", "patch", "delete", "options", "head", "dispatch")
    carriers = [endpoint, *node.more, *(getattr(endpoint, name, None) for name in methods)]
    return any(marks_of(carrier) for carrier in carriers if carrier is not None)
