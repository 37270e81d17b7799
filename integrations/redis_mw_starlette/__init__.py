"""redis-mw for Starlette and FastAPI: translation between the framework and the core, no decisions.

``RedisMiddleware`` stands in the place of Starlette's SessionMiddleware. ``MW``, ``SyncMW`` and ``Session`` are
parameters of FastAPI endpoints and ``Limited`` a dependency; FastAPI is imported only by who asks for one of them.
"""

from typing import TYPE_CHECKING, Any

from redis_mw.errors import MissingExtra

try:
    import starlette as _starlette  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError:
    raise MissingExtra("starlette", "redis_mw_starlette") from None

from redis_mw_starlette.middleware import RedisMiddleware
from redis_mw_starlette.session import RequestSession

if TYPE_CHECKING:
    from redis_mw_starlette.dependencies import MW, Limited, Session, SyncMW

__all__ = ["MW", "Limited", "RedisMiddleware", "RequestSession", "Session", "SyncMW"]


def __getattr__(name: str) -> Any:
    if name in ("MW", "Limited", "Session", "SyncMW"):
        from redis_mw_starlette import dependencies

        return getattr(dependencies, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
