"""A real server for tests, and the keys that a test leaves on it."""

from collections.abc import Generator
from contextlib import contextmanager

SECONDS = 5.0
"""How long cleaning up waits for a server that does not answer."""
MAGIC = str.maketrans({character: f"\\{character}" for character in "*?[]^\\"})


@contextmanager
def embedded() -> Generator[str]:
    """The url of a fresh private server that nobody else uses; it is ended, and all it held forgotten, at the end.

    Needs the extra ``embedded``, or a ``valkey-server`` or ``redis-server`` on PATH.
    """
    from redis_mw.engine.embedded import start_embedded  # who brings a server of their own pays for none of this

    server = start_embedded()
    try:
        yield server.url
    finally:
        server.stop()


def drop_keys(url: str, prefix: str) -> int:
    """Delete every key ``<prefix>:...`` of a server; how many there were."""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    from redis_mw.engine.embedded import resolve

    retry = Retry(NoBackoff(), 0)
    with Redis.from_url(resolve(url), socket_timeout=SECONDS, socket_connect_timeout=SECONDS, retry=retry) as client:
        dropped = 0
        for key in client.scan_iter(match=f"{prefix.translate(MAGIC)}:*", count=1000):
            dropped += int(client.unlink(key))
        return dropped
