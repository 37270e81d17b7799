"""``flask.session``: Flask's mapping over a visit, loaded when first used, and the one for apps without a secret."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from flask.sessions import NullSession, SessionMixin

from redis_mw.errors import SessionClosed, SessionUnavailable
from redis_mw.flows import Flow
from redis_mw.layer.exchange import Exchange, refused
from redis_mw.layer.layer import Layer
from redis_mw.sessions.session import SessionMethods
from redis_mw.sessions.visit import Visit
from redis_mw_flask.lifetime import PERMANENT
from redis_mw_flask.refusals import StoreUnavailable


class RedisSession(SessionMethods, SessionMixin):
    """A request's session. Its first use reads it, in one round trip; a request that does not use it costs none.

    Edits deep inside a value are noticed when it is saved. What Flask saves after the view cannot be changed later: a
    write then raises ``SessionClosed``. In an outage every use raises ``StoreUnavailable``, a 503.
    """

    def __init__(self, layer: Layer, exchange: Exchange, run: Callable[[Flow[Any]], Any]) -> None:
        assert exchange.visit is not None  # the interface has a room
        self.layer = layer
        self.exchange = exchange
        self.accessed = False
        self.modified = False
        self.read = False
        """Whether more of it was looked at than whose it is."""
        self._visit = exchange.visit
        self._run = run
        self._values: dict[str, Any] | None = None
        self._closed = False

    # As SessionMethods wants it

    def _look(self) -> None:
        _ = self._loaded()

    def _look_at_user(self) -> None:
        _ = self._known()

    def _empty(self) -> None:
        self.accessed = self.modified = True
        self._values = {}

    def logout(self) -> None:
        """End the session: nothing of it remains, and no request in flight can bring it back."""
        self._still_open()
        try:
            super().logout()
        except SessionUnavailable as error:
            raise self._unavailable(error) from None

    def login(self, user_id: object) -> None:
        """Bind the session to a user and give it a new id; see ``SessionMethods.login``."""
        _ = self._writable()
        super().login(user_id)
        self.modified = True

    def regenerate(self) -> None:
        """Give the session a new id and keep its values; for any change of privilege."""
        _ = self._writable()
        super().regenerate()
        self.modified = True

    # As Flask wants it

    @property
    def new(self) -> bool:  # type: ignore[override]
        """Whether nothing of this session is stored yet."""
        _ = self._loaded()
        return self._visit.record is None

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser, with PERMANENT_SESSION_LIFETIME; kept as Flask keeps it."""
        return bool(self.get(PERMANENT, False))

    @permanent.setter
    def permanent(self, value: bool) -> None:
        # Many applications say this before every request: saying it again is no change.
        if self.permanent != bool(value):
            self[PERMANENT] = bool(value)

    def clear(self) -> None:
        """End the session, as ``logout`` does: Flask has no other word for it. A later write begins a new one."""
        self.logout()

    def __getitem__(self, key: str) -> Any:
        return self._loaded()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._writable()[key] = value
        self.modified = True

    def __delitem__(self, key: str) -> None:
        del self._writable()[key]
        self.modified = True

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def __repr__(self) -> str:
        shown = "unread" if self._values is None else ", ".join(map(repr, self._values))
        return f"<{type(self).__name__}: {shown}>"

    # As the interface wants it

    @property
    def visit(self) -> Visit:
        """What the core knows of this session."""
        return self._visit

    def close(self) -> dict[str, Any] | None:
        """The values as the view left them, None if nobody looked. From now on a write raises ``SessionClosed``."""
        self._closed = True
        values = self._values
        if values is not None and self._visit.record is None and self._visit.logging_in is None:
            # A wish for a long life is no reason to store a session that holds nothing.
            return {} if values.keys() == {PERMANENT} else values
        return values

    def changed(self) -> bool:
        """Whether this request has changed it, written or not yet."""
        return self._visit.changed(self._values)

    @property
    def closed(self) -> bool:
        """Whether it was saved, or given up, already."""
        return self._closed

    def _loaded(self) -> dict[str, Any]:
        self.read = True
        return self._known()

    def _known(self) -> dict[str, Any]:
        self.accessed = True
        if self._values is not None:
            return self._values
        if not self._visit.loaded and self._visit.away is None:
            self._run(self._visit.load())
        try:
            self._visit.must_read()
        except SessionUnavailable as error:
            raise self._unavailable(error) from None
        self._values = dict(self._visit.initial)
        return self._values

    def _writable(self) -> dict[str, Any]:
        self._still_open()
        values = self._loaded()
        try:
            self._visit.must_write()
        except SessionUnavailable as error:
            raise self._unavailable(error) from None
        return values

    def _still_open(self) -> None:
        if self._closed:
            raise SessionClosed("the session was saved after the view; a stream or a teardown can only read it")

    def _unavailable(self, error: SessionUnavailable) -> StoreUnavailable:
        return StoreUnavailable(refused(error, self.exchange.request.headers.get("accept")), error.reason)


class NoSecretSession(NullSession):
    """The session of an application that has no secret to sign its cookie with: it is empty and every write raises."""

    user_id = handle = created = last_seen = None
    unavailable = False

    def fresh(self, max_age: object) -> bool:
        """No: nobody logged in."""
        return False

    def _fail(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(
            "The session is unavailable because no secret key was set. Set app.secret_key (SECRET_KEY), or the secret "
            "of redis-mw's settings, to 32 random characters or more."
        )

    __setitem__ = __delitem__ = clear = pop = popitem = update = setdefault = _fail
    login = logout = regenerate = _fail
