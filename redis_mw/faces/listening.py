"""The listeners that the settings name, ready to be told."""

import time

from redis_mw.events import Events
from redis_mw.settings import Settings, resolve


def events_of(settings: Settings) -> Events:
    """An ``Events`` with the listeners of ``on_event``; ``SettingsError`` if a dotted path leads nowhere."""
    listeners = [resolve(listener, f"on_event[{index}]") for index, listener in enumerate(settings.on_event)]
    return Events(listeners, time.time)
