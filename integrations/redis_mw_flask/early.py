"""Requests for cached routes, opened before Flask runs: most of them then need not run it at all."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import Flask
from flask.wrappers import Request
from werkzeug.exceptions import HTTPException

from redis_mw.layer.layer import Layer
from redis_mw.settings import Settings
from redis_mw_flask.environs import path_of
from redis_mw_flask.interface import RedisSessionInterface
from redis_mw_flask.passage import Passage, leave, translated
from redis_mw_flask.views import Views

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

SERVED = ("GET", "HEAD")


class Early:
    """Opens the requests of one application. ``bare`` gives the layer for those without a session of ours."""

    def __init__(
        self, app: Flask, settings: Settings, interface: RedisSessionInterface | None, bare: Callable[[], Layer]
    ) -> None:
        self._app = app
        self._caches = settings.cache is not None
        self._interface = interface
        self._bare = bare
        self.views = Views(app)

    @property
    def interface(self) -> RedisSessionInterface | None:
        """Ours, as long as the application has it."""
        return self._interface if self._app.session_interface is self._interface else None

    def layer_for(self, environ: "WSGIEnvironment") -> Layer | None:
        """The layer that a request goes through, if the response may be kept, or may have been; costs little."""
        if not self._caches or environ["REQUEST_METHOD"] not in SERVED:
            return None
        interface = self.interface
        layer = interface.layer(self._app) if interface is not None else None
        layer = layer if layer is not None else self._bare()
        return layer if self.views.cache_something or layer.caches(path_of(environ), ()) else None

    def open(self, passage: Passage, layer: Layer, environ: "WSGIEnvironment") -> None:
        """Ask, in one round trip, for all that the request needs, if its view or a rule has it cached.

        Users' code is given Flask's own request, but ``flask.request`` and ``flask.session`` are not there yet. Where
        it cannot do without them, or fails otherwise, nothing has been decided: Flask asks once more, and handles it.
        """
        try:
            native = self._request(environ)
            marks, route, parameters = self.views.find(native)
            if not layer.caches(native.path, marks):
                return
            cookie = native.cookies.get(layer.cookie.name)
            exchange = layer.begin(
                translated(native), cookie, marks=marks, native=native, route=route, parameters=parameters
            )
            passage.begin_early(layer, exchange, environ)
            tokens = passage.enter()
            try:
                passage.ask()
            finally:
                leave(tokens)
        except Exception:
            passage.forget()

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
