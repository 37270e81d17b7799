"""Limits without a framework: rooms with a clock of the test's own, flows run by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from redis_mw import Limits, Settings, replace
from redis_mw.events import Event, Events
from redis_mw.limits.room import Room


class Clock:
    """Seconds that pass when a test says so; the room's monotonic clock and its time of day."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def us(self) -> int:
        return 1_700_000_000_000_000 + round(self.seconds * 1_000_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heard() -> list[Event]:
    """The events of the test, in order."""
    return []


@pytest.fixture
def make_room(redis_mw_settings: Settings, heard: list[Event], clock: Clock) -> Callable[..., Room]:
    """Makes a room of the test's own prefix and clock; keyword arguments are those of ``Limits``."""

    def make(secret: str = "s" * 32, *, workers: int | None = None, **limits: Any) -> Room:
        settings = replace(redis_mw_settings, limits=Limits(**limits), workers=workers)
        assert settings.limits is not None
        events = Events([heard.append], lambda: 0.0)
        return Room(settings, settings.limits, events, secret=secret, clock=clock, now_us=clock.us)

    return make
