"""redis-mw for Django: translation between the framework and the core, no decisions.

``mw`` and ``amw`` are the direct faces that Django's settings describe, made when first used; ``outermost`` goes around
the application that a server runs. Importing this package reads no setting and connects to nothing.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from redis_mw.errors import MissingExtra

if find_spec("django") is None:
    raise MissingExtra("django", "redis_mw_django")

if TYPE_CHECKING:
    from redis_mw.faces.aio import AsyncRedisMW
    from redis_mw.faces.sync import RedisMW

    mw: RedisMW
    amw: AsyncRedisMW

__all__ = ["amw", "mw", "outermost"]


def outermost(app: Any) -> Any:
    """``outermost(get_wsgi_application())``, ``outermost(get_asgi_application())``: answers what the cache has before
    Django runs, and hands all else on to it. ``RedisMiddleware`` stays: it is what keeps pages, and serves them alone.
    """
    from redis_mw_django.outside import around

    return around(app)


class _Face:
    """Stands for the face of today's settings: tests override settings, so nobody may keep the face itself."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _face(self) -> Any:
        from redis_mw_django.application import application

        return getattr(application(), self._name)

    @property
    def __class__(self) -> Any:
        return type(self._face())

    @__class__.setter
    def __class__(self, kind: Any) -> None:  # pyright cannot have it read-only
        raise AttributeError("__class__")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._face(), name)

    def __repr__(self) -> str:
        return f"<redis_mw_django.{'amw' if self._name == 'aio' else 'mw'}>"


if not TYPE_CHECKING:
    mw = _Face("sync")
    amw = _Face("aio")
