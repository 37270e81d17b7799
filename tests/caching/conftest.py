"""The cache of each test on one server, and once more spread over a cluster."""

from collections.abc import Iterator
from typing import Any

import pytest
from kept import kept_by

from redis_mw import Event, Settings, replace


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "one_server: what it looks at is the same, or not there, in a cluster")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        alone = metafunc.definition.get_closest_marker("one_server") is not None
        metafunc.parametrize("place", ["server"] if alone else ["server", "cluster"])


@pytest.fixture
def redis_mw_settings(redis_mw_settings: Settings, place: str, request: pytest.FixtureRequest) -> Settings:
    """Those of the plugin; in a cluster the cache lives on all of its servers."""
    if place == "server":
        return redis_mw_settings
    cluster = request.getfixturevalue("cluster")
    return replace(redis_mw_settings, url={"default": redis_mw_settings.url_of("default"), "cache": cluster.url})


@pytest.fixture
def heard() -> list[Event]:
    """The events of the test, in order."""
    return []


@pytest.fixture
def kept(redis_mw_settings: Settings) -> Iterator[Any]:
    """What the server keeps; nothing of it for ever."""
    with kept_by(redis_mw_settings) as client:
        yield client
        for key in client.scan_iter(f"{redis_mw_settings.prefix}:*", count=1000):
            assert client.pttl(key) != -1, key
