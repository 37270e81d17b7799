"""What goes on in the background for the limits of a process, once requests have made it necessary."""

from collections.abc import Callable

from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.sync import SyncDriver
from redis_mw.limits.room import Room


def attend(driver: SyncDriver | AsyncDriver, room: Room) -> None:
    """Hear when denials may be over, if some are remembered; renew slots, if some are held. Costs nothing twice."""
    memory = room.memory
    if memory.denials:
        driver.hear("limits", room.commands.channel, _after_the_first(room.forget_denials))
    if memory.slots:
        driver.tend("limits.slots", room.renewing)


def _after_the_first(heard: Callable[[], None]) -> Callable[[], None]:
    """The first call only says that we are heard from now on. What was missed before that is believed for a second at
    most, as every denial is, so the first of a process need not be asked twice.
    """
    calls = iter((False,))

    def hear() -> None:
        if next(calls, True):
            heard()

    return hear
