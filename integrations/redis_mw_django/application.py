"""What Django's settings make of redis-mw in this process: the settings tree, the faces, the layer.

Made on first use and kept until a setting that it was made of changes (``override_settings`` in tests).
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

from asgiref.sync import AsyncToSync, sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.http import HttpRequest
from django.utils.encoding import force_str

from redis_mw.caching.room import Room as CacheRoom
from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.sync import SyncDriver
from redis_mw.errors import Problem, SettingsError
from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.faces.attending import attend, attend_cache, page_here
from redis_mw.faces.following import ended, ended_soon
from redis_mw.faces.listening import events_of
from redis_mw.faces.sync import RedisMW
from redis_mw.flows import Flow
from redis_mw.layer.cookie import SessionCookie
from redis_mw.layer.exchange import Exchange, Follow, Opened, Response
from redis_mw.layer.layer import Layer
from redis_mw.layer.rooms import rooms_of
from redis_mw.layer.secrets import signing_secrets
from redis_mw.limits.verdict import Explanation
from redis_mw.processes import once
from redis_mw.sessions.room import Room, furnish
from redis_mw.settings import Settings, microseconds, replace
from redis_mw.settings.urls import is_cluster
from redis_mw_django.arrival import exchange_of
from redis_mw_django.behind import Behind
from redis_mw_django.incoming import kept_fields

T = TypeVar("T")

AFTERWARDS_S = 1.0
"""How long clean-up that no response waits for may take."""

MADE_OF = frozenset(
    {
        *("REDIS_MW", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "SESSION_COOKIE_AGE", "SESSION_COOKIE_NAME"),
        *("ALLOWED_HOSTS", "CSRF_COOKIE_NAME", "CSRF_USE_SESSIONS"),
        *("USE_X_FORWARDED_HOST", "USE_X_FORWARDED_PORT", "SECURE_PROXY_SSL_HEADER"),
    }
)
"""The settings that an application is made of."""


class Application:
    """redis-mw as the current settings of Django describe it; with a ``url``, on that server instead of theirs."""

    def __init__(self, worker: str, url: str = "") -> None:
        settings = settings_tree()
        self.settings = _for_worker(_located(settings, url) if url else settings, worker)
        self.rooms = rooms_of(self.settings, events_of(self.settings), rooms_secret(self.settings))
        if self.rooms.caching is not None and not self.settings.allowed_hosts:
            # With none, too, Django allows some while DEBUG is on: those for which nothing is refused here.
            self.rooms.caching.hosts = frozenset(host.lower() for host in django_settings.ALLOWED_HOSTS)
        self.behind = Behind()
        self.sync = RedisMW(self.settings, rooms=self.rooms)
        self._explained_by(self.sync)
        self._by_loop: dict[asyncio.AbstractEventLoop, AsyncRedisMW] = {}

    @once
    def layer(self) -> Layer:
        """The request layer; raises ``SettingsError`` where cookies cannot be signed."""
        cookie = SessionCookie(name=django_settings.SESSION_COOKIE_NAME)
        csrf = () if django_settings.CSRF_USE_SESSIONS else (django_settings.CSRF_COOKIE_NAME,)
        room = self._furnished()
        return Layer(self.settings, room, cookie, self.rooms, csrf_cookies=csrf, kept_fields=kept_fields())

    @cached_property
    def needs_routes(self) -> bool:
        """Whether a rule depends on the route."""
        return self.layer.needs_routes

    @property
    def room(self) -> Room:
        """The sessions; raises ``ImproperlyConfigured`` where they are turned off."""
        if self.layer.room is None:
            raise ImproperlyConfigured("SESSION_ENGINE is redis_mw_django.sessions, but REDIS_MW turns sessions off")
        return self.layer.room

    @property
    def caching(self) -> CacheRoom:
        """The data cache; raises ``ImproperlyConfigured`` where it is turned off."""
        if self.rooms.caching is None:
            raise ImproperlyConfigured(
                "CACHES names redis_mw_django.cache.RedisCache, but REDIS_MW turns the cache off"
            )
        return self.rooms.caching

    @property
    def aio(self) -> AsyncRedisMW:
        """The face of the running event loop."""
        loop = asyncio.get_running_loop()
        face = self._by_loop.get(loop)
        if face is None:
            for ended in [each for each in self._by_loop if each.is_closed()]:
                del self._by_loop[ended]
            face = self._by_loop[loop] = AsyncRedisMW(self.settings, rooms=self.rooms)
            face.sync = self.sync
            self._explained_by(face)
        return face

    def run(self, flow: Flow[T]) -> T:
        """Perform a flow on this thread."""
        return self.sync.driver.run(flow)

    async def arun(self, flow: Flow[T]) -> T:
        """Perform a flow on the running loop, or, where that lives for this one call only, on its maker's thread."""
        if lives_for_one_call(asyncio.get_running_loop()):
            return await sync_to_async(self.run)(flow)
        return await self.aio.driver.run(flow)

    def page_here(self, exchange: Exchange) -> Response | None:
        """The page that this process has in its memory, where nothing is to be asked before it is sent."""
        return page_here(self._driver(), self.layer, exchange)

    def open(self, exchange: Exchange) -> Opened:
        """Ask what a request needs before its view may run; waits for other requests where that is to be done."""
        opened = self.run(self.layer.open(exchange, eager=False))
        while isinstance(opened, Follow):
            self.attend(exchange)
            opened = self.run(self.layer.follow(exchange, ended=ended(opened), eager=False))
        return opened

    async def aopen(self, exchange: Exchange) -> Opened:
        """The same on the event loop."""
        opened = await self.arun(self.layer.open(exchange, eager=False))
        while isinstance(opened, Follow):
            self.attend(exchange)
            is_over = await ended_soon(opened)
            opened = await self.arun(self.layer.follow(exchange, ended=is_over, eager=False))
        return opened

    def detach(self, flow: Flow[Any]) -> None:
        """Perform a flow that no response waits for."""
        self.sync.driver.detach(flow, AFTERWARDS_S)

    def detacher(self) -> Callable[[Flow[Any]], None]:
        """What does so from any thread, later: on the loop that runs here now if it lives on, else on a thread."""
        driver = self._driver()
        if isinstance(driver, SyncDriver):
            return self.detach
        loop = asyncio.get_running_loop()

        def detach(flow: Flow[Any]) -> None:
            try:
                _ = loop.call_soon_threadsafe(driver.detach, flow, AFTERWARDS_S)
            except RuntimeError:  # the loop has ended meanwhile
                self.detach(flow)

        return detach

    def attend(self, exchange: Exchange) -> None:
        """See to what a request has left to do in this process, after Redis was asked here."""
        attend(self._driver(), self.rooms, exchange)

    def run_cached(self, flow: Flow[T]) -> T:
        """``run`` for a flow of the cache: what it could not drop now is dropped in the background."""
        try:
            return self.run(flow)
        finally:
            attend_cache(self.sync.driver, self.caching)

    async def arun_cached(self, flow: Flow[T]) -> T:
        """``arun`` for a flow of the cache."""
        try:
            return await self.arun(flow)
        finally:
            attend_cache(self._driver(), self.caching)

    @property
    def stays(self) -> bool:
        """Whether this is a loop that lives on after the request."""
        return isinstance(self._driver(), AsyncDriver)

    def _driver(self) -> SyncDriver | AsyncDriver:
        """The driver that ``run`` or, on a loop that lives on, ``arun`` uses here."""
        try:
            passing = lives_for_one_call(asyncio.get_running_loop())
        except RuntimeError:
            passing = True
        return self.sync.driver if passing else self.aio.driver

    def close(self) -> None:
        """Close every face; those of a running loop as soon as it comes round to it."""
        self.sync.close()
        for loop, face in self._by_loop.items():
            if not loop.is_closed():
                _ = loop.call_soon_threadsafe(_close_on, loop, face)
        self._by_loop.clear()

    def _explained_by(self, face: RedisMW | AsyncRedisMW) -> None:
        """Let ``mw.limits.explain`` read Django's requests."""
        if self.rooms.limits is not None:
            face.limits.explainer = self._explain

    def _explain(self, request: HttpRequest) -> Flow[list[Explanation]]:
        return self.layer.explain(exchange_of(self, request))

    def _furnished(self) -> Room | None:
        sessions = self.settings.sessions
        if sessions is None:
            return None
        secrets = signing_secrets(self.settings, djangos_secrets(), named="SECRET_KEY")
        return furnish(self.settings, sessions, secrets, self.sync.events, lifetime_us=lifetime_us(), user_of=_user_of)


def settings_tree() -> Settings:
    """``REDIS_MW`` (a mapping or ``Settings``), else the environment; ``SettingsError`` lists all that is wrong."""
    given: Any = getattr(django_settings, "REDIS_MW", None)
    if given is None:
        return Settings.from_env()
    return given if isinstance(given, Settings) else Settings.from_mapping(given)


def rooms_secret(settings: Settings) -> str | bytes:
    """Django's own key, for where the settings have none: it hashes what may be a credential of a request's sender."""
    return "" if settings.secret else djangos_secrets()[0]


def djangos_secrets() -> list[str | bytes]:
    """SECRET_KEY, then its fallbacks. One that is empty or None stays so: ``str(None)`` would be anybody's secret."""
    secrets = (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS)
    return [each if isinstance(each, bytes) or not each else force_str(each) for each in secrets]


def lifetime_us() -> int | None:
    """SESSION_COOKIE_AGE in microseconds, None where nobody set it; raises ``SettingsError`` for what is no time."""
    if not django_settings.is_overridden("SESSION_COOKIE_AGE"):
        return None
    try:
        return microseconds(django_settings.SESSION_COOKIE_AGE)
    except (TypeError, ValueError, OverflowError) as error:
        raise SettingsError([Problem("SESSION_COOKIE_AGE", str(error), "give a number of seconds")]) from None


def lives_for_one_call(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether ``async_to_sync`` made this loop (an async view under WSGI): a connection of its own would not pay."""
    return loop in AsyncToSync.loop_thread_executors


_made: dict[tuple[str, str], Application] = {}


def application(url: str = "") -> Application:
    """The one of this process and of today's settings, or of those with another server."""
    which = parallel_worker(), url
    made = _made.get(which)
    # setdefault is atomic; one that lost the race has opened no connection.
    return made if made is not None else _made.setdefault(which, Application(*which))


def parallel_worker() -> str:
    """Which of several processes that run tests side by side this is: "" in all others.

    Workers of Django's own runner are known by the number that it gives their databases, those of pytest-xdist by
    the environment.
    """
    runner = sys.modules.get("django.test.runner")
    number = getattr(runner, "_worker_id", 0) if runner is not None else 0
    if number:
        return f"dj{number}"
    # A server that a test starts inherits the variable, and is no worker.
    return os.environ.get("PYTEST_XDIST_WORKER", "") if "pytest" in sys.modules else ""


def _located(settings: Settings, url: str) -> Settings:
    """The settings with a cache elsewhere: a cluster holds it and nothing else."""
    if not is_cluster(url):
        return replace(settings, url=url, read_replicas=False)
    return replace(settings, url={"default": settings.url_of("default"), "cache": url})


def _for_worker(settings: Settings, worker: str) -> Settings:
    """The same with a prefix that no other worker has."""
    if not worker or worker in settings.prefix:
        return settings
    return replace(settings, prefix=f"{settings.prefix[:50]}-{worker}")


def _user_of(data: Mapping[str, Any]) -> object:
    """Where Django's ``login()`` notes the user."""
    return data.get(SESSION_KEY)


def _close_on(loop: asyncio.AbstractEventLoop, face: AsyncRedisMW) -> None:
    closing = loop.create_task(face.driver.aclose())
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()


def _forget(*, setting: str, **_: Any) -> None:
    if setting in MADE_OF:
        while _made:
            _made.popitem()[1].close()


setting_changed.connect(_forget, dispatch_uid="redis_mw_django")
