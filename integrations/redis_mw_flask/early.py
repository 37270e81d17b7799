"""Requests for cached routes, begun and opened before Flask runs: most of them then need not run it at all."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from flask import Flask
from flask.wrappers import Request
from werkzeug.exceptions import HTTPException

from redis_mw.faces.attending import page_here
from redis_mw.faces.sync import RedisMW
from redis_mw.layer.exchange import Exchange, Response
from redis_mw.layer.layer import Layer
from redis_mw.settings import Settings
from redis_mw_flask.environs import Asked, path_of, request_of
from redis_mw_flask.interface import RedisSessionInterface
from redis_mw_flask.passage import Passage, leave, translated
from redis_mw_flask.views import Views

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

SERVED = ("GET", "HEAD")
ROUTED = (
    *("REQUEST_METHOD", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME", "PATH_INFO"),
    *("HTTP_CONNECTION", "HTTP_UPGRADE"),
)
"""All by which werkzeug decides where a request goes."""
MOST = 4096


class Begun(NamedTuple):
    """A request for a cached route. ``page`` is what this process has in its memory for it: then nothing is opened."""

    layer: Layer
    exchange: Exchange
    page: Response | None


class Routed(NamedTuple):
    """Where a request goes: its endpoint, and the parameters of its path."""

    route: str
    parameters: Mapping[str, str]


class Early:
    """Begins and opens the requests of one application: ``begin``, then, without a page, ``open``.

    ``bare`` gives the layer for requests without a session of ours. Where it cannot be done without Flask, or fails
    otherwise, nothing has been decided: Flask begins anew, and handles it.
    """

    def __init__(
        self,
        app: Flask,
        settings: Settings,
        mw: RedisMW,
        interface: RedisSessionInterface | None,
        bare: Callable[[], Layer],
    ) -> None:
        self._app = app
        self._mw = mw
        self._caches = settings.cache is not None
        self._interface = interface
        self._bare = bare
        self.views = Views(app)
        self._uncached: set[Asked] = set()
        """Requests whose views have nothing kept: a hint, so that these are routed only once."""
        self._routed: dict[Asked, Routed] = {}
        """Where requests go whose views have something kept, as far as nothing else decides that."""

    @property
    def interface(self) -> RedisSessionInterface | None:
        """Ours, as long as the application has it."""
        return self._interface if self._app.session_interface is self._interface else None

    def begin(self, environ: "WSGIEnvironment") -> Begun | None:
        """A request that its view, or a rule, has cached. Costs no round trip."""
        if not self._caches or environ["REQUEST_METHOD"] not in SERVED:
            return None
        try:
            return self._begin(environ)
        except Exception:
            return None

    def open(self, passage: Passage, begun: Begun, environ: "WSGIEnvironment") -> None:
        """Ask, in one round trip, for all that the request needs.

        Users' code is given Flask's own request, but ``flask.request`` and ``flask.session`` are not there yet.
        """
        try:
            passage.begin_early(begun.layer, begun.exchange, environ)
            tokens = passage.enter()
            try:
                passage.ask()
            finally:
                leave(tokens)
        except Exception:
            passage.forget()
        except BaseException:
            passage.finish()
            raise

    def _begin(self, environ: "WSGIEnvironment") -> Begun | None:
        interface = self.interface
        layer = (interface.layer(self._app) if interface is not None else None) or self._bare()
        if not self.views.cache_something and not layer.caches(path_of(environ), ()):
            return None
        known = tuple([environ.get(name) for name in ROUTED])
        if known in self._uncached:
            return None
        routed = self._routed.get(known)
        return self._begin_there(layer, routed, environ) if routed is not None else self._route(layer, known, environ)

    def _begin_there(self, layer: Layer, routed: Routed, environ: "WSGIEnvironment") -> Begun:
        """Begin what goes to a known view. Only if it is to be opened, or has a session, Flask's request is made."""
        request, name = request_of(environ), layer.cookie.name
        native = self._request(environ) if name and name in environ.get("HTTP_COOKIE", "") else None
        cookie = native.cookies.get(name) if native is not None else None
        route, parameters = routed
        marks = self.views.marks(route, request.method)
        exchange = layer.begin(request, cookie, marks=marks, native=native, route=route, parameters=parameters)
        page = page_here(self._mw.driver, layer, exchange)
        if page is None and native is None:
            exchange.native = self._request(environ)
        return Begun(layer, exchange, page)

    def _route(self, layer: Layer, known: Asked, environ: "WSGIEnvironment") -> Begun | None:
        """Begin what has to be routed first, as Flask would."""
        native = self._request(environ)
        marks, route, parameters = self.views.find(native)
        if not layer.caches(native.path, marks):
            if native.url_rule is not None:
                self._remember(known)
            return None
        if native.url_rule is not None and self.views.routed_by_url:
            if len(self._routed) >= MOST:
                self._routed = {}
            self._routed[known] = Routed(route, parameters)
        cookie = native.cookies.get(layer.cookie.name)
        exchange = layer.begin(
            translated(native), cookie, marks=marks, native=native, route=route, parameters=parameters
        )
        return Begun(layer, exchange, page_here(self._mw.driver, layer, exchange))

    def _remember(self, known: Asked) -> None:
        if len(self._uncached) >= MOST:
            self._uncached = set()
        self._uncached.add(known)

    def _request(self, environ: "WSGIEnvironment") -> Request:
        """Flask's own request, routed as Flask will route it."""
        request = self._app.request_class(environ)
        _ = environ.pop("werkzeug.request", None)  # no circle is left for the collector
        request.json_module = self._app.json
        adapter = self._app.create_url_adapter(request)
        assert adapter is not None
        try:
            request.url_rule, arguments = adapter.match(return_rule=True)
            request.view_args = dict(arguments)
        except HTTPException as error:
            request.routing_exception = (
                error  # no view will answer, but what a rule says of the path holds all the same
            )
        return request
