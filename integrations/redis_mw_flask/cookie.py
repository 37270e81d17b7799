"""The session cookie of a Flask application: redis-mw's settings where they say something, else Flask's own."""

from flask import Flask, Response
from flask.sessions import SessionInterface

from redis_mw.errors import Problem, SettingsError
from redis_mw.http.cookies import SetCookie
from redis_mw.layer.cookie import SessionCookie
from redis_mw.settings import Cookie, Sessions, Settings

PLAIN = Cookie()


def session_cookie(app: Flask, flasks: SessionInterface, ours: Cookie) -> SessionCookie:
    """How this cookie is given; ``flasks`` answers for SESSION_COOKIE_*. Where neither says so, SameSite is Lax.

    A cookie that asks to be partitioned is made secure, since no browser takes it otherwise.
    """
    partitioned = ours.partitioned or flasks.get_cookie_partitioned(app)
    secure = flasks.get_cookie_secure(app) if ours.secure is None else ours.secure
    same_site = ours.same_site if ours.same_site != PLAIN.same_site else flasks.get_cookie_samesite(app)
    return SessionCookie(
        name=ours.name or flasks.get_cookie_name(app),
        path=ours.path if ours.path != PLAIN.path else flasks.get_cookie_path(app),
        domain=ours.domain or flasks.get_cookie_domain(app) or None,
        secure=bool(secure or partitioned),
        http_only=ours.http_only and flasks.get_cookie_httponly(app),
        same_site=str(same_site or PLAIN.same_site).lower(),
        partitioned=bool(partitioned),
    )


def check(app: Flask, flasks: SessionInterface, ours: Cookie) -> None:
    """Raise ``SettingsError`` for a cookie that no browser would take, naming what set it: Flask's key or ours."""
    cookie = session_cookie(app, flasks, ours)
    whole = Cookie(
        name=cookie.name,
        path=cookie.path,
        domain=cookie.domain,
        secure=cookie.secure,
        same_site=cookie.same_site,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        partitioned=cookie.partitioned,
    )
    try:
        _ = Settings(sessions=Sessions(cookie=whole))
    except SettingsError as error:
        raise SettingsError([_named(problem, ours) for problem in error.problems]) from None


def _named(problem: Problem, ours: Cookie) -> Problem:
    field = problem.path.rpartition(".")[2]
    if getattr(ours, field) != getattr(PLAIN, field):
        return problem
    return problem._replace(path=f"SESSION_COOKIE_{field.replace('_', '').upper()}")


def give(response: Response, cookie: SetCookie) -> None:
    """Set the session cookie, in place of any of that name that the view set."""
    others = [each for each in response.headers.getlist("Set-Cookie") if not each.startswith(f"{cookie.name}=")]
    response.headers.setlist("Set-Cookie", [*others, cookie.header()])
    response.vary.add("Cookie")
