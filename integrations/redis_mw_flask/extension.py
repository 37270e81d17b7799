"""The extension: gives an application its redis-mw, and each of its requests the context."""

import os
import warnings
from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Flask, current_app, g
from flask.sessions import SecureCookieSessionInterface
from werkzeug.local import LocalProxy

from redis_mw.errors import LayerMissing, Problem, SettingsError
from redis_mw.faces.sync import RedisMW
from redis_mw.policy.current import CURRENT, Context
from redis_mw.policy.table import Table
from redis_mw.settings import Settings
from redis_mw_flask.cookie import check
from redis_mw_flask.interface import RedisSessionInterface
from redis_mw_flask.lifetime import lifetime_us
from redis_mw_flask.refusals import answer_refusals
from redis_mw_flask.session import RedisSession

NAME = "redis_mw"
PREFIX = "REDIS_MW_"


class Mounted(msgspec.Struct, frozen=True):
    """What ``app.extensions["redis_mw"]`` holds: the direct face, and the session interface unless sessions are off."""

    mw: RedisMW
    interface: RedisSessionInterface | None


class RedisExtension:
    """redis-mw for one application, or, by ``init_app``, for several: it keeps nothing itself.

    Nothing connects before the first request that needs Redis (unless ``connect="eager"``), so an application may be
    made before its server forks.
    """

    def __init__(self, app: Flask | None = None, settings: Settings | Mapping[str, Any] | None = None) -> None:
        if app is not None:
            self.init_app(app, settings)

    def init_app(self, app: Flask, settings: Settings | Mapping[str, Any] | None = None) -> None:
        """Mount redis-mw on the application and take over its sessions.

        The settings are the argument, else ``app.config["REDIS_MW"]`` (a mapping or ``Settings``), else what
        ``REDIS_MW_URL``, ``REDIS_MW_SESSIONS__IDLE`` and so on say in ``app.config`` or the environment. Raises
        ``SettingsError`` for anything in them that cannot be, for a session cookie that no browser would take, and
        when the application has redis-mw already.
        """
        if NAME in app.extensions:
            raise SettingsError([Problem(f"app.extensions[{NAME!r}]", "is there already", "call init_app once an app")])
        mw = RedisMW(_settings(app, settings))
        _ = Table(mw.settings)  # what the rules ask for in vain is told now, not at the first request
        interface = None
        if mw.settings.sessions is not None:
            interface = RedisSessionInterface(mw, mw.settings.sessions)
            check(app, interface, mw.settings.sessions.cookie)
            _ = lifetime_us(app)
            _ = interface.layer(app)  # secrets that cannot sign are told now, if they are set already
            _warn_of_another(app)
            app.session_interface = interface
        answer_refusals(app)
        mounted = app.extensions[NAME] = Mounted(mw, interface)
        app.before_request_funcs.setdefault(None, []).insert(0, lambda: _enter(mounted))
        _ = app.teardown_request(_leave)


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
    """Before each request: ``redis_mw.current()`` knows it from here on."""
    context: Context = g.setdefault("redis_mw", Context(mounted.mw))
    g.setdefault("_redis_mw_tokens", []).append(CURRENT.set(context))
    if mounted.interface is not None and isinstance(context.session, RedisSession):
        mounted.interface.admit(context.session)


def _leave(error: BaseException | None = None) -> None:
    """After it; a request whose URL was refused before any function of the application ran has nothing to leave."""
    tokens = g.get("_redis_mw_tokens")
    if tokens:
        CURRENT.reset(tokens.pop())


def _mw() -> RedisMW:
    mounted: Mounted | None = current_app.extensions.get(NAME)
    if mounted is None:
        raise LayerMissing(f"redis-mw is not mounted on {current_app.name!r}: call RedisExtension().init_app(app)")
    return mounted.mw


mw: RedisMW = LocalProxy(_mw)  # type: ignore[assignment]
"""The direct face of the current application: ``mw.sessions.of_user(...)``, in a view or an application context."""
