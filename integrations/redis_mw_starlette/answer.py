"""How answers leave: what the application sends, held back until its session is written and the cookie is known.

An HTTP response's start waits for the first part of its body; a WebSocket's accept does not wait for anything.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from starlette.types import Message, Send

from redis_mw.http.cookies import SetCookie
from redis_mw_starlette.keeper import Keeper

Header: TypeAlias = tuple[bytes, bytes]


class Response:
    """The ``send`` of an HTTP request. ``failure`` is why the session could not be written and nothing was sent."""

    def __init__(self, keeper: Keeper, send: Send, *, save_on_5xx: bool) -> None:
        self.started = False
        self.failure: Exception | None = None
        self._keeper = keeper
        self._send = send
        self._save_on_5xx = save_on_5xx
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self.started:
            self._start, self.failure = message, None
            return
        if self.failure is not None:
            raise self.failure
        await self._begin()
        await self._send(message)

    async def finish(self) -> None:
        """The application has returned; what it left behind is sent, or why it could not be is raised."""
        await self._begin()
        if self.failure is not None:
            raise self.failure

    async def _begin(self) -> None:
        start, self._start = self._start, None
        if start is None:
            return
        try:
            failed = start["status"] >= 500 and not self._save_on_5xx
            cookie = await _settled(self._keeper, start["status"], failed=failed)
        except Exception as error:
            self.failure = error
            raise
        vary = self._keeper.session.accessed
        if vary or cookie is not None:
            start["headers"] = with_session(start.get("headers", ()), cookie, vary=vary)
        self.started = self._keeper.answered = True
        await self._send(start)


class Accept:
    """The ``send`` of a WebSocket: what was changed before ``accept`` is written before it; a cookie goes with it.

    An application that refuses the handshake with a response of its own is treated alike.
    """

    def __init__(self, keeper: Keeper, send: Send) -> None:
        self.started = False
        self.failure: Exception | None = None
        self._keeper = keeper
        self._send = send

    async def send(self, message: Message) -> None:
        if not self.started:
            if message["type"] in ("websocket.accept", "websocket.http.response.start"):
                await self._settle(message)
            self.started, self.failure = True, None
            self._keeper.answered = True
        await self._send(message)

    async def finish(self) -> None:
        """The application has returned; why nothing could be sent is raised."""
        if self.failure is not None:
            raise self.failure

    async def _settle(self, message: Message) -> None:
        try:
            cookie = await _settled(self._keeper, message.get("status", 101))
        except Exception as error:
            self.failure = error
            raise
        if cookie is not None:
            message["headers"] = with_session(message.get("headers") or (), cookie, vary=False)


async def _settled(keeper: Keeper, status: int, *, failed: bool = False) -> SetCookie | None:
    """Write the session, or give it up; the cookie that the response must carry.

    An error that answers for what could not be written is sent, and does not fail for the same reason once more.
    """
    if failed or keeper.abandoned or (keeper.failed and status >= 400):
        return await keeper.abandon()
    return await keeper.commit()


def with_session(headers: Iterable[Sequence[bytes]], cookie: SetCookie | None, *, vary: bool) -> list[Header]:
    """The headers with our cookie, in the place of one of the same name, and with ``Vary: Cookie``."""
    fields: list[Header] = [(bytes(name), bytes(value)) for name, value in headers]
    if cookie is not None:
        same = cookie.name.encode("latin-1") + b"="
        fields = [field for field in fields if field[0].lower() != b"set-cookie" or not field[1].startswith(same)]
        fields.append((b"set-cookie", cookie.header().encode("latin-1")))
    if vary and not any(name.lower() == b"vary" and _names_cookie(value) for name, value in fields):
        fields.append((b"vary", b"Cookie"))
    return fields


def _names_cookie(vary: bytes) -> bool:
    return any(name.strip().lower() in (b"cookie", b"*") for name in vary.split(b","))
