"""``SESSION_ENGINE = "redis_mw_django.sessions"``: Django's session object.

Each operation is one flow, run on a thread by the plain method and on the event loop by the one with an ``a``.
"""

from importlib import import_module
from typing import Any

from django.conf import settings as django_settings
from django.http import HttpRequest

from redis_mw.sessions.visit import Closed
from redis_mw_django.operations import Operations

_MISSING: Any = object()


class SessionStore(Operations):
    """Django's session in Redis: a save writes only what changed, and never brings back a session that was ended.

    ``cycle_key`` marks; the new key is known at once and stored, together with a login, by the next ``save``.
    ``flush`` and ``delete`` act at once. An outage raises ``SessionUnavailable``.
    """

    def load(self) -> dict[str, Any]:
        """What is stored, read anew if it was read before; ``{}`` for a session that does not exist."""
        return self._application.run(self._loading())

    async def aload(self) -> dict[str, Any]:
        return await self._application.arun(self._loading())

    def exists(self, session_key: str | None) -> bool:
        """Whether there is a session of this key; one that was cycled away no longer counts."""
        return self._application.run(self._existing(session_key))

    async def aexists(self, session_key: str | None) -> bool:
        return await self._application.arun(self._existing(session_key))

    def save(self, must_create: bool = False) -> None:
        """Write what changed. ``UpdateError`` if it ended meanwhile, ``CreateError`` if it must be new and is not."""
        self._afterwards(self._application.run(self._saving(must_create)))

    async def asave(self, must_create: bool = False) -> None:
        self._afterwards(await self._application.arun(self._saving(must_create)))

    def create(self) -> None:
        """Store a new session, with what is in this one, under a key of its own."""
        self._afterwards(self._application.run(self._creating()))

    async def acreate(self) -> None:
        self._afterwards(await self._application.arun(self._creating()))

    def cycle_key(self) -> None:
        """Give the session a new key, which ``session_key`` tells from now on; the next ``save`` stores it."""
        self._look()
        self._cycle()

    async def acycle_key(self) -> None:
        await self._alook()
        self._cycle()

    def flush(self) -> None:
        """End the session, now, whether it was read or not; what is written after this begins a new one."""
        self._afterwards(self._application.run(self._flushing()))

    async def aflush(self) -> None:
        self._afterwards(await self._application.arun(self._flushing()))

    def delete(self, session_key: str | None = None) -> None:
        """End the session of this key, or this one."""
        self._afterwards(self._application.run(self._deleting(session_key)))

    async def adelete(self, session_key: str | None = None) -> None:
        self._afterwards(await self._application.arun(self._deleting(session_key)))

    @classmethod
    def clear_expired(cls) -> None:
        """Nothing to do: Redis forgets sessions that are over."""

    @classmethod
    async def aclear_expired(cls) -> None:
        return None

    # Ours, where Django has a word of its own for it

    def login(self, user_id: object) -> None:
        super().login(user_id)
        self._mark()

    async def alogin(self, user_id: object) -> None:
        """``login`` in async code."""
        await self._alook()
        if self._visit.is_of_another(user_id):
            await self.aflush()
        self.login(user_id)

    def logout(self) -> None:
        self.flush()

    async def alogout(self) -> None:
        """``logout`` in async code."""
        await self.aflush()

    def regenerate(self) -> None:
        self.cycle_key()

    async def aregenerate(self) -> None:
        """``regenerate`` in async code."""
        await self.acycle_key()

    @property
    def user_id(self) -> str | None:
        self._look_at_user()
        return self._visit.logging_in or self._visit.room.user_in(self._session_cache) or self._visit.user_id

    # Django's, done better: a miss marks nothing as unmodified, the async test cookie is saved

    def pop(self, key: str, default: Any = _MISSING) -> Any:
        self._look()
        return self._popped(key, default)

    async def apop(self, key: str, default: Any = _MISSING) -> Any:
        await self._alook()
        return self._popped(key, default)

    def _popped(self, key: str, default: Any) -> Any:
        if key in self._session_cache:
            self._mark()
        return self._session_cache.pop(key) if default is _MISSING else self._session_cache.pop(key, default)

    async def adelete_test_cookie(self) -> None:
        _ = await self.apop(self.TEST_COOKIE_NAME)

    def _afterwards(self, closed: Closed) -> None:
        """Leave to the background what nobody waits for."""
        if closed.after is not None:
            self._application.detach(closed.after())


def engine_is_ours() -> bool:
    """Whether the site's sessions are these."""
    return issubclass(import_module(django_settings.SESSION_ENGINE).SessionStore, SessionStore)


def session_of(request: HttpRequest) -> SessionStore | None:
    """The session of a request, None where it has none, or one of another engine."""
    session = getattr(request, "session", None)
    return session if isinstance(session, SessionStore) else None
