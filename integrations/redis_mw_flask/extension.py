"""The extension: gives an application its redis-mw, and each of its requests the context."""

import os
import warnings
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Flask, Response, current_app, g, request
from flask.sessions import SecureCookieSessionInterface
from flask.wrappers import Request
from werkzeug.local import LocalProxy

from redis_mw.caching.rules.invalidation import SAFE
from redis_mw.errors import LayerMissing, Problem, SettingsError
from redis_mw.faces.listening import events_of
from redis_mw.faces.sync import RedisMW
from redis_mw.flows import Flow
from redis_mw.layer.cookie import SessionCookie
from redis_mw.layer.layer import Layer
from redis_mw.layer.rooms import rooms_of
from redis_mw.limits.verdict import Explanation
from redis_mw.settings import Settings
from redis_mw_flask.around import put_around
from redis_mw_flask.cookie import check
from redis_mw_flask.early import Early
from redis_mw_flask.environs import KEY
from redis_mw_flask.handling import answer_refusals
from redis_mw_flask.interface import RedisSessionInterface
from redis_mw_flask.lifetime import lifetime_us
from redis_mw_flask.passage import Passage, leave, translated
from redis_mw_flask.views import Views

if TYPE_CHECKING:
    from flask.ctx import RequestContext

NAME = "redis_mw"
PREFIX = "REDIS_MW_"


class Mounted(msgspec.Struct, frozen=True):
    """What ``app.extensions["redis_mw"]`` holds: the direct face, and the session interface unless sessions are off.

    ``bare`` makes, once, the layer for requests without a session: sessions are off, or not ours, or no secret is set.
    """

    mw: RedisMW
    interface: RedisSessionInterface | None
    bare: Callable[[], Layer]
    views: Views


class RedisExtension:
    """redis-mw for one application, or, by ``init_app``, for several: it keeps nothing itself.

    Nothing connects before the first request that needs Redis (unless ``connect="eager"``), so an application may be
    made before its server forks.
    """

    def __init__(self, app: Flask | None = None, settings: Settings | Mapping[str, Any] | None = None) -> None:
        if app is not None:
            self.init_app(app, settings)

    def init_app(self, app: Flask, settings: Settings | Mapping[str, Any] | None = None) -> None:
        """Mount redis-mw on the application: take over its sessions, and have its requests counted.

        The settings are the argument, else ``app.config["REDIS_MW"]`` (a mapping or ``Settings``), else what
        ``REDIS_MW_URL``, ``REDIS_MW_SESSIONS__IDLE`` and so on say in ``app.config`` or the environment. Raises
        ``SettingsError`` for anything in them that cannot be, for a session cookie that no browser would take, and
        when the application has redis-mw already.
        """
        if NAME in app.extensions:
            raise SettingsError([Problem(f"app.extensions[{NAME!r}]", "is there already", "call init_app once an app")])
        tree = _settings(app, settings)
        rooms = rooms_of(tree, events_of(tree), lambda: app.secret_key or "")
        mw = RedisMW(tree, rooms=rooms)
        # A session that is not ours is the application's to look at: it then says that the response varies by it.
        theirs = app.config["SESSION_COOKIE_NAME"]
        bare = cache(lambda: Layer(tree, None, SessionCookie(name=""), rooms, csrf_cookies=(theirs,)))
        interface = None
        if mw.settings.sessions is not None:
            interface = RedisSessionInterface(mw, mw.settings.sessions)
            check(app, interface, mw.settings.sessions.cookie)
            _ = lifetime_us(app)
        # What rules ask for in vain is told now, and secrets that cannot sign, if they are set already.
        if interface is None or interface.layer(app) is None:
            _ = bare()
        if interface is not None:
            _warn_of_another(app)
            app.session_interface = interface
        early = Early(app, tree, mw, interface, bare)
        mounted = app.extensions[NAME] = Mounted(mw, interface, bare, early.views)
        if rooms.limits is not None:
            mw.limits.explainer = lambda asked: _explain(mounted, asked)
        answer_refusals(app, _close, _seal, _keep)
        _hide(app)
        app.before_request_funcs.setdefault(None, []).insert(0, lambda: _enter(mounted))
        _ = app.teardown_request(_leave)
        put_around(app, mw, early)


def _settings(app: Flask, given: Settings | Mapping[str, Any] | None) -> Settings:
    if given is None:
        given = app.config.get("REDIS_MW")
    if given is None:
        named = {name: value for name, value in app.config.items() if name.startswith(PREFIX)}
        return Settings.from_env(PREFIX, {**os.environ, **named})
    return given if isinstance(given, Settings) else Settings.from_mapping(given)


def _warn_of_another(app: Flask) -> None:
    there = type(app.session_interface)
    if there is not SecureCookieSessionInterface:
        warnings.warn(
            f"redis-mw replaces the session interface {there.__module__}.{there.__qualname__} of {app.name!r}: "
            "sessions that it stored are not read any more. Initialise one session extension only.",
            stacklevel=4,
        )


def _enter(mounted: Mounted) -> None:
    """Before each request, when Flask has routed it: ``redis_mw.current()`` knows it from here on, if it may pass."""
    passage = _passage(mounted, request._get_current_object())  # type: ignore[attr-defined]
    g.redis_mw = passage.context
    g.setdefault("_redis_mw_tokens", []).append(passage.enter())
    passage.open()


def _passage(mounted: Mounted, native: Request) -> Passage:
    """That of a request; its session, if it has one, has begun it."""
    passage = Passage.of(native.environ, mounted.mw)
    if passage.exchange is None:
        layer = mounted.bare()
        passage.begin(layer, layer.begin(translated(native), native=native))
    passage.route(*mounted.views.find(native))
    if native.method not in SAFE:
        passage.begun[1].views = partial(mounted.views.of_path, native)
    return passage


def _hide(app: Flask) -> None:
    """Have Flask make its request of what the application is to see; asked innermost, after every middleware."""
    make = app.request_context

    def request_context(environ: dict[str, Any]) -> "RequestContext":
        passage: Passage | None = environ.get(KEY)
        return make(environ if passage is None else passage.seen(environ))

    app.request_context = request_context  # type: ignore[method-assign]


def _close(response: Response) -> Response:
    passage: Passage | None = request.environ.get(KEY)
    return response if passage is None or passage.answer is None else passage.answer.close(response)


def _seal(response: Response) -> None:
    passage: Passage | None = request.environ.get(KEY)
    if passage is not None:
        passage.seal(response)


def _keep(response: Response) -> None:
    passage: Passage | None = request.environ.get(KEY)
    if passage is not None and passage.answer is not None:
        passage.answer.keep(response)


def _leave(error: BaseException | None = None) -> None:
    """After it; a request whose URL was refused before any function of the application ran has nothing to leave."""
    tokens = g.get("_redis_mw_tokens")
    if tokens:
        leave(tokens.pop())
    passage: Passage | None = request.environ.get(KEY)
    if passage is not None and not passage.around:
        passage.finish()


def _explain(mounted: Mounted, asked: Request) -> Flow[list[Explanation]]:
    """What the limits say of a request, be it the one that is being answered or one that a test or a tool made."""
    layer, exchange = _passage(mounted, asked).begun
    return layer.explain(exchange)


def _mw() -> RedisMW:
    mounted: Mounted | None = current_app.extensions.get(NAME)
    if mounted is None:
        raise LayerMissing(f"redis-mw is not mounted on {current_app.name!r}: call RedisExtension().init_app(app)")
    return mounted.mw


mw: RedisMW = LocalProxy(_mw)  # type: ignore[assignment]
"""The direct face of the current application: ``mw.sessions.of_user(...)``, in a view or an application context."""
