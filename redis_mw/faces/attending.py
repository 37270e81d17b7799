"""What goes on in the background for the limits of a process, once requests have made it necessary."""

from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.sync import SyncDriver
from redis_mw.limits.room import Room


def attend(driver: SyncDriver | AsyncDriver, room: Room) -> None:
    """Hear when denials may be over, if some are remembered; renew slots, if some are held. Costs nothing twice."""
    memory = room.memory
    if memory.denials:
        driver.hear("limits", room.commands.channel, room.forget_denials)
    if memory.slots:
        driver.tend("limits.slots", room.renewing)
