"""What is told when a server is given up or is back: one event and one line in the log, the same by both drivers."""

import logging

from redis_mw.engine.breaker import Class
from redis_mw.engine.endpoint import Endpoint
from redis_mw.events import Events

log = logging.getLogger("redis_mw.engine")

WHO = {"quick": "cache and limits", "firm": "sessions and locks"}


def tell(events: Events, endpoint: Endpoint, class_: Class, is_open: bool) -> None:
    """One class of commands is refused from now on (``is_open``), or served again; once per change, not per request."""
    if is_open:
        log.warning("%s does not answer: %s do without it", endpoint.name, WHO[class_])
        events.emit("redis.unavailable", outcome=class_, endpoint=endpoint.name)
    else:
        log.info("%s answers again: %s use it", endpoint.name, WHO[class_])
        events.emit("redis.recovered", outcome=class_, endpoint=endpoint.name)
