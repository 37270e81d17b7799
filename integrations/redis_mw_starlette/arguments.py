"""The arguments of Starlette's own SessionMiddleware, brought into one with the settings; contradictions are errors."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, cast

import msgspec

from redis_mw.errors import Problem, SettingsError
from redis_mw.http.cookies import effective_name
from redis_mw.layer.cookie import SessionCookie
from redis_mw.settings import Cookie, Sessions, Settings, is_default, replace
from redis_mw.settings.defaults import Default, DefaultFlag, DefaultText

SameSite: TypeAlias = Literal["lax", "strict", "none"]

# Starlette's defaults, as values that can be told from the same ones given by the user.
SESSION_COOKIE: str = DefaultText("session")
MAX_AGE: int | None = Default(14 * 24 * 60 * 60)
PATH: str = DefaultText("/")
SAME_SITE = cast(SameSite, DefaultText("lax"))
HTTPS_ONLY = cast(bool, DefaultFlag(False))
PARTITIONED = cast(bool, DefaultFlag(False))


class Arguments(msgspec.Struct, frozen=True, kw_only=True):
    """What ``RedisMiddleware`` was given besides the settings; ``max_age`` in seconds, None for no Max-Age.

    ``secrets`` are ``secret_key``, if it was given, and then ``old_secrets``.
    """

    secrets: Sequence[str]
    old_secrets: Sequence[str]
    session_cookie: str
    max_age: int | None
    path: str
    same_site: SameSite
    https_only: bool
    domain: str | None
    partitioned: bool

    @property
    def lifetime_us(self) -> int | None:
        """The lifetime that the user asked for in Starlette's way, if so."""
        return None if self.max_age is None or is_default(self.max_age) else self.max_age * 1_000_000

    def merged(self, settings: Settings) -> Settings:
        """The settings with the cookie described here; raises ``SettingsError`` with all that contradicts."""
        sessions = settings.sessions
        if sessions is None:
            return settings
        problems: list[Problem] = []
        if settings.secret and self.secrets and self.secrets[0] != settings.secret:
            problems.append(Problem("secret_key", "is not the secret of the settings", "give one of the two"))
        if self.old_secrets and (settings.secret or not self.secrets):
            signs = "settings.secret signs" if settings.secret else "there is no secret_key"
            what = f"belong to secret_key, and {signs}: they would not be accepted"
            problems.append(Problem("old_secret_keys", what, "put them in the settings, as old_secrets"))
        max_age: object = self.max_age  # not every caller is type-checked
        if max_age is not None and type(max_age) not in (int, Default):
            problems.append(Problem("max_age", f"is {max_age!r}", "give whole seconds, or None"))
        elif self.max_age is not None and self.max_age <= 0:
            problems.append(Problem("max_age", f"is {self.max_age}", "give a number above 0, or None for no Max-Age"))
        cookie = self._cookie(sessions.cookie, problems)
        if not cookie.secure and (cookie.same_site == "none" or cookie.partitioned):
            what = "partitioned" if cookie.partitioned else 'same_site="none"'
            problems.append(Problem("https_only", f"a cookie with {what} must be secure", "set https_only=True"))
        if problems:
            raise SettingsError(problems)
        return replace(settings, sessions=replace(sessions, cookie=cookie))

    def session_cookie_of(self, sessions: Sessions | None) -> SessionCookie:
        """The cookie of merged settings; ``__Host-`` only before the name that nobody chose."""
        cookie = sessions.cookie if sessions is not None else Cookie()
        secure = bool(cookie.secure)
        name = cookie.name or effective_name(
            SESSION_COOKIE, host_prefix=cookie.host_prefix, secure=secure, path=cookie.path, domain=cookie.domain
        )
        return SessionCookie(
            name=name,
            path=cookie.path,
            domain=cookie.domain,
            secure=secure,
            http_only=cookie.http_only,
            same_site=cookie.same_site,
            partitioned=cookie.partitioned,
        )

    def _cookie(self, cookie: Cookie, problems: list[Problem]) -> Cookie:
        """The settings' cookie with our arguments in the places that nobody set there."""
        untouched = Cookie()
        persistent = cast(bool, DefaultFlag(True)) if is_default(self.max_age) else self.max_age is not None
        given: tuple[tuple[str, str, Any], ...] = (
            ("session_cookie", "name", self.session_cookie),
            ("path", "path", self.path),
            ("domain", "domain", self.domain),
            ("https_only", "secure", self.https_only),
            ("same_site", "same_site", self.same_site),
            ("partitioned", "partitioned", self.partitioned),
            ("max_age", "persistent", persistent),
        )
        changes: dict[str, Any] = {}
        for argument, field, value in given:
            if is_default(value) or value is None:
                continue
            there = getattr(cookie, field)
            if there != getattr(untouched, field) and there != value:
                problems.append(
                    Problem(argument, f"contradicts sessions.cookie.{field}, which is {there!r}", "give one of the two")
                )
            changes[field] = value
        return replace(cookie, **{"secure": bool(cookie.secure), **changes})
