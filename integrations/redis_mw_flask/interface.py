"""Where Flask opens and saves sessions: its ``SessionInterface``, one per application, over the layer."""

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Flask, g, request
from flask.sessions import SessionInterface, SessionMixin
from flask.wrappers import Request, Response

from redis_mw.faces.sync import RedisMW
from redis_mw.http.cookies import SetCookie
from redis_mw.layer.cookie import SessionCookie
from redis_mw.layer.exchange import Exchange
from redis_mw.layer.layer import Layer
from redis_mw.layer.secrets import signing_secrets
from redis_mw.sessions.room import furnish
from redis_mw.sessions.visit import Visit
from redis_mw.settings import Sessions
from redis_mw_flask.answer import Answer
from redis_mw_flask.cookie import check, give, session_cookie
from redis_mw_flask.environs import KEY
from redis_mw_flask.lifetime import PERMANENT, outlives_the_browser, own_idle_us
from redis_mw_flask.passage import Passage, translated
from redis_mw_flask.refusals import raised
from redis_mw_flask.session import NoSecretSession, RedisSession


class Made(msgspec.Struct, frozen=True):
    """The layer, with what it was made from."""

    secrets: tuple[Any, ...]
    cookie: SessionCookie
    layer: Layer


class RedisSessionInterface(SessionInterface):
    """Opens a session without asking Redis anything, and saves it after the view, in one round trip if it changed.

    Flask's configuration is read when it is needed, so it may be completed, or a secret rotated, after ``init_app``.
    """

    null_session_class = NoSecretSession

    def __init__(self, mw: RedisMW, sessions: Sessions) -> None:
        self._mw = mw
        self._sessions = sessions
        self._made: Made | None = None

    def layer(self, app: Flask) -> Layer | None:
        """The layer as Flask's configuration has it now; None as long as no secret is set."""
        cookie = session_cookie(app, self, self._sessions.cookie)
        own = (app.secret_key or "", *(app.config["SECRET_KEY_FALLBACKS"] or ()))
        made = self._made
        if made is None or made.secrets != own or made.cookie != cookie:
            settings = self._mw.settings
            if not settings.secret and not own[0]:
                return None
            check(app, self, self._sessions.cookie)
            secrets = signing_secrets(settings, own, named="app.secret_key (SECRET_KEY)")
            room = furnish(settings, self._sessions, secrets, self._mw.events, user_of=_flask_login_user)
            made = self._made = Made(own, cookie, Layer(settings, room, cookie, self._mw.rooms))
        return made.layer

    def open_session(self, app: Flask, request: Request) -> RedisSession | None:
        """The session that the cookie names, unread; None, which becomes the null session, where no secret is set."""
        passage = Passage.of(request.environ, self._mw)
        g.redis_mw = passage.context
        if not passage.is_early:
            layer = self.layer(app)
            if layer is None:
                return None
            exchange = layer.begin(translated(request), request.cookies.get(layer.cookie.name), native=request)
            passage.begin(layer, exchange)
        layer, exchange = passage.begun
        session = RedisSession(layer, exchange, self._mw.driver.run) if exchange.visit is not None else None
        passage.join(session)
        g.redis_mw = passage.context
        return session

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Write what the view did and give the cookie. A response of 500 and above saves nothing (``save_on_5xx``),
        but a session that the view ended is ended.

        Raises ``StoreUnavailable``, ``SessionTooLarge``, ``CannotEncode`` and ``SessionLimitReached``: nothing was
        written, and the view's response must not be sent (``refusals`` sees to that).
        """
        if not isinstance(session, RedisSession):
            return
        passage, exchange = _passage_of(session.exchange), session.exchange
        answer = passage.answer if passage is not None else None
        if answer is not None:
            answer.note(response)
        if session.accessed:
            response.vary.add("Cookie")
        if session.closed:
            return
        if passage is not None and passage.replays and not session.accessed:
            cookie = self.due(app, session.layer, exchange) if passage.page is not None else None
            if cookie is not None:
                give(response, cookie)
            return
        values = session.close()
        if exchange.refreshing:
            return
        if response.status_code >= 500 and not self._sessions.save_on_5xx:
            if not session.visit.give_up():
                return
            values = None
        cookie = self._save(app, session, values, response, answer)
        if cookie is not None:
            give(response, cookie)

    def _save(
        self,
        app: Flask,
        session: RedisSession,
        values: dict[str, Any] | None,
        response: Response,
        answer: Answer | None,
    ) -> SetCookie | None:
        """Commit, with the response where it is to be kept, and say which cookie it carries."""
        visit, whole = session.visit, answer.whole(response) if answer is not None else None
        if values is not None:
            visit.own_idle_us = own_idle_us(app, self._sessions, visit, values, modified=session.modified)
            if _keeps_quiet(app, visit, values):
                visit.cookie = None
        committed = self._mw.driver.run(session.layer.commit(session.exchange, values, whole))
        if answer is not None:
            answer.settled = True
        if committed.respond is not None:
            raise raised(committed.respond)
        cookie = _as_flask_has_it(committed.set_cookie, visit, values)
        if answer is not None:
            answer.cookie = cookie
        return cookie

    def due(self, app: Flask, layer: Layer, exchange: Exchange) -> SetCookie | None:
        """The session cookie that an answer carries which is not the application's: a page out of the cache."""
        visit = exchange.visit
        if visit is None or _keeps_quiet(app, visit, visit.initial):
            return None
        return _as_flask_has_it(layer.set_cookie(exchange), visit, visit.initial)


def _keeps_quiet(app: Flask, visit: Visit, values: Mapping[str, Any]) -> bool:
    """Whether a cookie that was renewed by a read is not to be told to the browser."""
    return bool(values.get(PERMANENT)) and not visit.stale and not app.config["SESSION_REFRESH_EACH_REQUEST"]


def _as_flask_has_it(cookie: SetCookie | None, visit: Visit, values: Mapping[str, Any] | None) -> SetCookie | None:
    """The cookie, without a Max-Age where the session ends with the browser."""
    if cookie is not None and cookie.max_age and not outlives_the_browser(visit, values):
        return msgspec.structs.replace(cookie, max_age=None)
    return cookie


def _passage_of(exchange: Exchange) -> Passage | None:
    """That which has begun the exchange; it will be finished with the request."""
    passage: Passage | None = request.environ.get(KEY)
    return passage if passage is not None and passage.exchange is exchange else None


def _flask_login_user(data: Mapping[str, Any]) -> object:
    return data.get("_user_id")
