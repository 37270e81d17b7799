"""Cached routes without a framework, in both colours, on a real server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from visiting import COLOURS, Origin, Process

from redis_mw import Cache, Event, Settings, replace


@pytest.fixture(params=["threads", "asyncio"])
def make(
    request: pytest.FixtureRequest, redis_mw_settings: Settings, heard: list[Event]
) -> Iterator[Callable[..., Process]]:
    """Makes processes of one colour, ``make(origin, url=..., **cache)``; every test that asks for this is run with
    both.
    """
    made: list[Process] = []

    def make(origin: Origin | None = None, *, url: str | None = None, **cache: Any) -> Process:
        settings = replace(redis_mw_settings, cache=Cache(l1_bytes=0, **cache), on_event=[heard.append])
        settings = replace(settings, url=url) if url is not None else settings
        made.append(Process(COLOURS[request.param](settings), origin or Origin()))
        return made[-1]

    yield make
    for process in made:
        process.close()


@pytest.fixture
def process(make: Callable[..., Process]) -> Process:
    return make()
