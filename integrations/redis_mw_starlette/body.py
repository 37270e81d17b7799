"""The body of a request that came with an idempotency key: what it asks for is compared, so it is read first."""

from collections import deque

from starlette.types import Message, Receive

from redis_mw.idempotency.attempt import Attempt


class Body:
    """A ``receive`` that remembers what the application has read, so that a request whose policy is found late can be
    compared as well. No more is kept than ``most`` bytes, and no more read ahead.
    """

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = most
        self._kept: list[bytes] = []
        self._size = 0
        self._waiting: deque[Message] = deque()
        self._over = False

    async def receive(self) -> Message:
        """The next message, for the application."""
        if self._waiting:
            return self._waiting.popleft()
        message = await self._receive()
        self._take(message)
        return message

    async def read_into(self, attempt: Attempt) -> None:
        """Read to the end, or to where it is too large. What was read so is handed to the application as if it had
        just come; the client may go away meanwhile, then there is nobody to answer.
        """
        while not self._over and self._size <= self._most:
            message = await self._receive()
            self._take(message)
            self._waiting.append(message)
        if self._size > self._most:
            attempt.cut()
        for chunk in self._kept:
            _ = attempt.read(chunk)

    def _take(self, message: Message) -> None:
        if message["type"] != "http.request":
            self._over = True
            return
        chunk = message.get("body", b"")
        self._size += len(chunk)
        self._over = self._over or not message.get("more_body", False)
        if self._size <= self._most:
            self._kept.append(chunk)
        else:
            self._kept.clear()
