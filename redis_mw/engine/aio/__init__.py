"""The driver for asyncio. ``driver`` performs flows; ``post`` splits batches, a ``station`` is one server, a ``wire``
one connection on which many batches travel at once."""

from redis_mw.engine.aio.driver import AsyncDriver

__all__ = ["AsyncDriver"]
