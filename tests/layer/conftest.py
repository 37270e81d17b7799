"""Applications without a framework, for the tests of what the layer makes of locks and idempotency keys."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from layered import App

from redis_mw import Idempotency, Locks, Rule, Settings, replace


@pytest.fixture
def make_app(redis_mw_settings: Settings) -> Iterator[Callable[..., App]]:
    """Makes applications with these rules; ``locks`` and ``idempotency`` are settings of theirs, or None."""
    made: list[App] = []

    def make(*rules: Rule, locks: Any = (), idempotency: Any = (), **more: Any) -> App:
        settings = replace(
            redis_mw_settings,
            rules=list(rules),
            locks=None if locks is None else Locks(**{"patience": 10, **dict(locks)}),
            idempotency=None if idempotency is None else Idempotency(**{"patience": 10, **dict(idempotency)}),
            **more,
        )
        made.append(App(settings))
        return made[-1]

    yield make
    for app in made:
        app.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool
