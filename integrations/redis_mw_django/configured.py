"""What an entry of ``CACHES`` says of our backend: the server it is on, and how values become bytes.

Django makes a cache for each thread and each request on an event loop, in its own system checks too. So a cache reads
its entry on first use, and the check of ours is reached before anything raises.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from redis_mw.errors import Problem, SettingsError
from redis_mw.settings import Settings
from redis_mw.settings.nearest import nearest
from redis_mw.settings.urls import is_cluster
from redis_mw_django.encoding import Encoding, encoding_of

OPTIONS = ("serializer",)
CULLING = ("MAX_ENTRIES", "CULL_FREQUENCY")
"""Django's, for backends that hold their entries themselves."""


class Configured(NamedTuple):
    """``url`` is "" for the server of REDIS_MW."""

    url: str
    encoding: Encoding


def configured(location: Any, options: Mapping[str, Any]) -> Configured:
    """What the entry says; ``SettingsError`` lists all that is wrong with it. No message repeats LOCATION, which may
    hold a password.
    """
    problems = [*_unknown(options)]
    url, encoding = "", Encoding()
    try:
        url = _url(location)
    except SettingsError as error:
        problems += error.problems
    try:
        encoding = encoding_of(options.get("serializer"))
    except SettingsError as error:
        problems += error.problems
    if problems:
        raise SettingsError(problems)
    return Configured(url, encoding)


def _unknown(options: Iterable[str]) -> Iterable[Problem]:
    for name in options:
        if name in CULLING:
            yield Problem(f"OPTIONS.{name}", "has no effect", "take it out: maxmemory of the server bounds the cache")
        elif name not in OPTIONS:
            remedy = f"{nearest(name, OPTIONS)} (what belongs to a connection stands in LOCATION or in REDIS_MW)"
            yield Problem(f"OPTIONS.{name}", "unknown", remedy)


def _url(location: Any) -> str:
    urls = [location] if isinstance(location, str) else list(location) if isinstance(location, (list, tuple)) else []
    if len(urls) != 1 or not isinstance(urls[0], str) or not _is_one(urls[0]):
        remedy = 'write it like "redis://127.0.0.1:6379/0", or leave it out for the server of REDIS_MW'
        raise SettingsError([Problem("LOCATION", "is not one url", remedy)])
    _must_be_served(urls[0])
    return urls[0]


def _is_one(url: str) -> bool:
    """Whether this is one url, as far as that is seen from its separators."""
    return ";" not in url and ("," not in url or is_cluster(url))


@lru_cache(64)
def _must_be_served(url: str) -> None:
    try:
        if is_cluster(url):
            _ = Settings(url={"default": "redis://", "cache": url})
        elif url:
            _ = Settings(url=url)
    except SettingsError as error:
        raise SettingsError([each._replace(path="LOCATION") for each in error.problems]) from None
