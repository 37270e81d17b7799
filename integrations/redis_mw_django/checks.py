"""System checks: what is wrong, or not as safe as it looks, in Django's settings about redis-mw.

Errors are E001 to E012, warnings W001 to W008, all under ``redis_mw.``; each says what to do.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from inspect import iscoroutinefunction
from typing import Any, cast

from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.urls import get_resolver
from django.utils.module_loading import import_string

from redis_mw.caching.pages.entry import Entry as Page
from redis_mw.errors import MissingExtra, PolicyError, Problem, SettingsError
from redis_mw.faces.listening import events_of
from redis_mw.idempotency.entry import Entry as Claimed
from redis_mw.layer.entries import Entries
from redis_mw.layer.rooms import rooms_of
from redis_mw.layer.secrets import SHORTEST, must_sign
from redis_mw.locks.entry import Entry as Locked
from redis_mw.sessions.room import furnish
from redis_mw.settings import Cookie, Sessions, Settings
from redis_mw_django.application import djangos_secrets, lifetime_us, rooms_secret, settings_tree
from redis_mw_django.cache import RedisCache
from redis_mw_django.configured import configured
from redis_mw_django.routes import Registered, all_marks, views_of

OURS = "redis_mw_django.middleware.RedisMiddleware"
DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"
JSON = "django.contrib.sessions.serializers.JSONSerializer"

Check = Callable[[], Iterator[CheckMessage]]


def register_all() -> None:
    """Have Django run the checks; those of cookie flags with ``check --deploy``."""
    for check in (settings_hold, limits_enforced, middleware_in_order, sessions_as_set, secrets_strong):
        _ = register(_whole(check), Tags.security)
    _ = register(_whole(caches_hold), Tags.caches)
    _ = register(_whole(ready_to_deploy), Tags.security, deploy=True)


def settings_hold() -> Iterator[CheckMessage]:
    """E001: a problem of ``REDIS_MW``; E002: a policy that cannot hold; E003: a handler that is not there."""
    try:
        tree = settings_tree()
        events = events_of(tree)
        entries = Entries(tree, rooms_of(tree, events, rooms_secret(tree)))
        for view in _views():
            for placed in all_marks(view.view):
                entry = entries.of_mark(placed, "")
                if isinstance(entry, (Locked, Claimed, Page)):
                    for template in entry.templates:
                        template.must_know(view.parameters, f"{placed.place} at {view.route}")
        if tree.sessions is not None:
            _ = furnish(tree, tree.sessions, (), events)
    except SettingsError as error:
        for problem in error.problems:
            path = f"REDIS_MW: {problem.path}" if problem.path else "REDIS_MW"
            yield Error(f"{path}: {problem.message}", hint=problem.remedy or None, id="redis_mw.E001")
    except MissingExtra as error:
        yield Error(f"REDIS_MW: {error}", hint=f'pip install "redis-mw[{error.extra}]"', id="redis_mw.E001")
    except PolicyError as error:
        yield Error(f"REDIS_MW: {error}", hint="Change it as this says, or take it out.", id="redis_mw.E002")
    handler = getattr(django_settings, "REDIS_MW_HANDLER", None)
    if handler is not None:
        try:
            found: Any = import_string(handler)
        except (ImportError, AttributeError):
            found = None
        if not callable(found) or iscoroutinefunction(found):
            yield Error(
                f"REDIS_MW_HANDLER: {handler!r} leads to no plain function",
                hint="Give the dotted path of a function (def, not async def) that takes (request, refusal).",
                id="redis_mw.E003",
            )


def limits_enforced() -> Iterator[CheckMessage]:
    """E009: rules or limits of the settings that nothing enforces; E010: decorated views that nobody could call."""
    tree = _tree()
    if OURS in django_settings.MIDDLEWARE or tree is None:
        return
    limits = tree.limits
    if tree.rules or (limits is not None and (limits.default or limits.deny)):
        yield Error(
            "REDIS_MW has rules or limits, but RedisMiddleware is not in MIDDLEWARE: nothing enforces them",
            hint=f"Put {OURS!r} first in MIDDLEWARE.",
            id="redis_mw.E009",
        )
    places = sorted({place.rpartition("#")[0] for view in _views() for _, place in all_marks(view.view)})
    if places:
        yield Error(
            f"decorated views raise LayerMissing without RedisMiddleware in MIDDLEWARE: {', '.join(places)}",
            hint=f"Put {OURS!r} first in MIDDLEWARE.",
            id="redis_mw.E010",
        )


def middleware_in_order() -> Iterator[CheckMessage]:
    """E004: Django's SessionMiddleware outside ours; E005: or missing; W001: ours not first; W002: ours missing."""
    middleware = list(django_settings.MIDDLEWARE)
    if OURS not in middleware:
        if _engine_is_ours():
            yield Warning(
                "SESSION_ENGINE is redis_mw_django.sessions without RedisMiddleware: cookies carry bare, unsigned ids",
                hint=f"Put {OURS!r} first in MIDDLEWARE, or silence this.",
                id="redis_mw.W002",
            )
        return
    place = middleware.index(OURS)
    if DJANGOS in middleware[:place]:
        yield Error(
            "SessionMiddleware stands before RedisMiddleware and would see signed cookies as ids",
            hint=f"Put {OURS!r} first in MIDDLEWARE.",
            id="redis_mw.E004",
        )
    elif place > 0:
        yield Warning(
            f"RedisMiddleware is not first in MIDDLEWARE: {middleware[0]!r} is",
            hint="Put it first, so that it sees every response that leaves.",
            id="redis_mw.W001",
        )
    if _engine_is_ours() and DJANGOS not in middleware:
        yield Error(
            "RedisMiddleware stands without Django's SessionMiddleware: requests have no session",
            hint=f"Put {DJANGOS!r} after it in MIDDLEWARE.",
            id="redis_mw.E005",
        )


def sessions_as_set() -> Iterator[CheckMessage]:
    """E006: sessions off, but their engine on; W003 and W004: settings that have no effect."""
    tree = _tree()
    if not _engine_is_ours() or tree is None:
        return
    if tree.sessions is None:
        yield Error(
            "REDIS_MW turns sessions off, but SESSION_ENGINE is redis_mw_django.sessions",
            hint='Take "sessions": None out of REDIS_MW, or choose another SESSION_ENGINE.',
            id="redis_mw.E006",
        )
        return
    if django_settings.SESSION_SERIALIZER != JSON:
        yield Warning(
            f"SESSION_SERIALIZER ({django_settings.SESSION_SERIALIZER!r}) is not used for storage",
            hint="Sessions are stored as JSON with tags for tuples, dates, decimals, UUIDs, sets and bytes.",
            id="redis_mw.W003",
        )
    if tree.sessions.cookie != Cookie():
        yield Warning(
            "REDIS_MW: sessions.cookie has no effect under Django",
            hint="Use the SESSION_COOKIE_... settings.",
            id="redis_mw.W004",
        )


def secrets_strong() -> Iterator[CheckMessage]:
    """W005: cookies signed with a short key; W006: unsigned ones accepted; E007 and E008: what cannot work."""
    tree = _tree()
    if not _engine_is_ours():
        return
    if OURS in django_settings.MIDDLEWARE:
        if tree is not None and not tree.secret and len(djangos_secrets()[0]) < SHORTEST:
            yield Warning(
                f"SECRET_KEY signs the session cookie and has fewer than {SHORTEST} characters",
                hint="Use a longer one, or give REDIS_MW a secret of its own.",
                id="redis_mw.W005",
            )
        if getattr(django_settings, "REDIS_MW_ACCEPT_UNSIGNED", False):
            yield Warning(
                "REDIS_MW_ACCEPT_UNSIGNED is on: session ids without a signature are accepted",
                hint="Take it out once the cookies of the time before RedisMiddleware have run out.",
                id="redis_mw.W006",
            )
    for problem in _cookie_problems():
        yield Error(f"{problem.path}: {problem.message}", hint=problem.remedy or None, id="redis_mw.E007")
    for problem in _unusable(tree):
        yield Error(f"{problem.path}: {problem.message}", hint=problem.remedy or None, id="redis_mw.E008")


def caches_hold() -> Iterator[CheckMessage]:
    """E011: a problem of an entry of ``CACHES`` with our backend; E012: one that REDIS_MW turns off."""
    tree = _tree()
    for alias, entry in django_settings.CACHES.items():
        if not isinstance(caches[alias], RedisCache):
            continue
        try:
            _ = configured(entry.get("LOCATION", ""), entry.get("OPTIONS", {}))
        except SettingsError as error:
            for problem in error.problems:
                yield Error(
                    f"CACHES[{alias!r}]: {problem.path}: {problem.message}", hint=problem.remedy, id="redis_mw.E011"
                )
        if tree is not None and tree.cache is None:
            yield Error(
                f"REDIS_MW turns the cache off, but CACHES[{alias!r}] is on redis_mw_django.cache.RedisCache",
                hint='Take "cache": None out of REDIS_MW, or choose another BACKEND.',
                id="redis_mw.E012",
            )


def ready_to_deploy() -> Iterator[CheckMessage]:
    """W007 and W008: the session cookie can be read on the way, or by scripts."""
    if not _engine_is_ours():
        return
    if not django_settings.SESSION_COOKIE_SECURE:
        yield Warning(
            "SESSION_COOKIE_SECURE is not True: the session cookie travels over plain HTTP too",
            hint="Set SESSION_COOKIE_SECURE = True.",
            id="redis_mw.W007",
        )
    if not django_settings.SESSION_COOKIE_HTTPONLY:
        yield Warning(
            "SESSION_COOKIE_HTTPONLY is not True: scripts in the page can read the session cookie",
            hint="Set SESSION_COOKIE_HTTPONLY = True.",
            id="redis_mw.W008",
        )


def _whole(check: Check) -> Callable[..., list[CheckMessage]]:
    """A check as Django calls it."""

    def run(app_configs: object = None, **_: object) -> list[CheckMessage]:
        return list(check())

    return run


def _tree() -> Settings | None:
    """The settings, or None where E001 tells what is wrong with them."""
    try:
        return settings_tree()
    except SettingsError:
        return None


def _views() -> list[Registered]:
    """The site's views, none where the URLconf cannot be read: Django's own checks say why."""
    try:
        return list(views_of(get_resolver()))
    except Exception:
        return []


def _engine_is_ours() -> bool:
    from redis_mw_django.sessions import SessionStore

    try:
        engine = import_module(django_settings.SESSION_ENGINE)
    except ImportError:
        return False  # Django's own error names it
    return issubclass(getattr(engine, "SessionStore", object), SessionStore)


def _cookie_problems() -> tuple[Problem, ...]:
    """Why no browser would keep the cookie, or Django not write it."""
    cookie = Cookie(
        name=django_settings.SESSION_COOKIE_NAME,
        path=django_settings.SESSION_COOKIE_PATH or "/",
        domain=django_settings.SESSION_COOKIE_DOMAIN or None,
        secure=bool(django_settings.SESSION_COOKIE_SECURE),
        same_site=cast(Any, str(django_settings.SESSION_COOKIE_SAMESITE or "lax").lower()),
    )
    try:
        _ = Settings(sessions=Sessions(cookie=cookie))
    except SettingsError as error:
        return tuple(each._replace(path=_djangos_name(each.path)) for each in error.problems)
    return ()


def _djangos_name(path: str) -> str:
    return f"SESSION_COOKIE_{path.rpartition('.')[2].replace('_', '').upper()}"


def _unusable(tree: Settings | None) -> Iterator[Problem]:
    """What is wrong with the secrets and the lifetime that are taken from Django."""
    try:
        _ = lifetime_us()
    except SettingsError as error:
        yield from error.problems
    if tree is not None and not tree.secret:
        try:
            must_sign(djangos_secrets(), named="SECRET_KEY")
        except SettingsError as error:
            yield from error.problems
