"""Which direct face serves a request: one for each event loop that is alive, as drivers belong to loops.

A server has one loop. Starlette's TestClient has one for every request and WebSocket outside its ``with`` block.
"""

import asyncio
import threading

from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.faces.limits import Explain
from redis_mw.layer.rooms import Rooms
from redis_mw.settings import Settings


class Faces:
    """The faces of one middleware. A ``shared`` one is somebody else's: it serves every request, and is not closed."""

    def __init__(self, settings: Settings, shared: AsyncRedisMW | None, rooms: Rooms, explain: Explain) -> None:
        self._settings = settings
        self._shared = shared
        self._rooms = rooms
        self._explain = explain
        if shared is not None and rooms.limits is not None:
            shared.limits.explainer = explain
        self._lock = threading.Lock()
        self._by_loop: dict[asyncio.AbstractEventLoop, AsyncRedisMW] = {}

    def here(self) -> AsyncRedisMW:
        """The face for the running loop; RuntimeError under trio."""
        if self._shared is not None:
            return self._shared
        loop = _running_loop()
        return self._by_loop.get(loop) or self._new(loop)

    async def aclose(self) -> None:
        """Close the running loop's face, if it is ours. The next request makes a new one."""
        face = self._by_loop.pop(_running_loop(), None)
        if face is not None:
            await face.aclose()

    def _new(self, loop: asyncio.AbstractEventLoop) -> AsyncRedisMW:
        with self._lock:
            # A driver whose loop has ended can begin anew on another one.
            ended = next((each for each in self._by_loop if each.is_closed()), None)
            face = self._by_loop.pop(ended) if ended is not None else self._made()
            self._by_loop[loop] = face
            return face

    def _made(self) -> AsyncRedisMW:
        """All of them share one memory of the process's limits and locks."""
        face = AsyncRedisMW(self._settings, rooms=self._rooms)
        if self._rooms.limits is not None:
            face.limits.explainer = self._explain
        return face


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError("redis-mw runs on asyncio and uvloop; under trio it cannot serve requests") from None
