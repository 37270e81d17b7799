"""Who takes part."""

from importlib.metadata import version

from benchmarks.caching import ours, with_fastapi, with_starlette, with_wsgi
from benchmarks.caching.contender import Contender, Factory

OURS = "redis-mw"
"""How it is called in tables, and what it is installed as."""

IN_PROCESS = "redis-mw, L1"
"""The row of pages that need no server, as this process holds them in its own memory."""


def contenders() -> dict[str, Contender]:
    """Ours asks Redis for every hit here; that it need not is a row of its own where pages are measured."""
    rows = [
        Contender(OURS, OURS, "starlette", ours.without_l1, ours.tag),
        Contender("fastapi-cache2", "fastapi-cache2", "fastapi", with_fastapi.fastapi_cache2, with_fastapi.namespace),
        Contender(
            "fastapi-redis-sdk", "fastapi-redis-sdk", "fastapi", with_fastapi.fastapi_redis_sdk, with_fastapi.group
        ),
        Contender("hishel", "hishel", "starlette", with_starlette.hishel),
        Contender("cashews", "cashews", "starlette", with_starlette.cashews, with_starlette.tag, quick=False),
        Contender("cashews, lock", "cashews", "starlette", with_starlette.cashews_lock),
        Contender("cashews, early", "cashews", "starlette", with_starlette.cashews_early),
        Contender("aiocache", "aiocache", "starlette", with_starlette.aiocache_cached, quick=False),
        Contender("aiocache, stampede", "aiocache", "starlette", with_starlette.aiocache_stampede, quick=False),
        Contender("cachefence", "cachefence", "starlette", with_starlette.cachefence, quick=False),
        Contender("dogpile.cache", "dogpile.cache", "wsgi", with_wsgi.dogpile, quick=False),
        Contender("dogpile.cache, lock", "dogpile.cache", "wsgi", with_wsgi.dogpile_lock),
        Contender("Flask-Caching", "Flask-Caching", "wsgi", with_wsgi.flask_caching, quick=False),
        Contender("Django cache_page", "Django", "wsgi", with_wsgi.django_cache_page),
    ]
    return {row.name: row for row in rows}


BARE = "{} alone"
READY = "starlette alone, rendered before"


def beside() -> dict[str, Factory]:
    """What cached pages are measured beside: the same handlers with no cache, and ours with its memory."""
    return {
        BARE.format("starlette"): ours.bare,
        BARE.format("fastapi"): with_fastapi.bare,
        READY: ours.ready,
        IN_PROCESS: ours.shop,
    }


def versions() -> str:
    packages = dict.fromkeys([*(row.package for row in contenders().values()), "starlette", "fastapi", "redis"])
    return ", ".join(f"{name} {version(name)}" for name in packages)
