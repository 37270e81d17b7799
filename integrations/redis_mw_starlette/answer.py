"""How answers leave: what the application sends, held back until its session is written and the cookie is known.

An HTTP response's start waits for the first part of its body; a WebSocket's accept does not wait for anything. Both
carry what is told of the request's limits.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from starlette import responses
from starlette.types import Message, Send

from redis_mw.engine.aio import AsyncDriver
from redis_mw.http.cookies import SetCookie
from redis_mw.idempotency.response import Recorder
from redis_mw.layer import exchange as layers
from redis_mw.layer.exchange import Exchange
from redis_mw.layer.layer import Layer
from redis_mw_starlette.keeper import Keeper

Header: TypeAlias = tuple[bytes, bytes]

LARGE = 65536
"""Bytes of a body from which on it takes too long to compress on the loop."""


class _Answer:
    """What both kinds of answer know. ``keeper`` has the session, once it is there, if there is one.

    ``failure`` is why the session could not be written and nothing was sent.
    """

    def __init__(self, driver: AsyncDriver, layer: Layer, exchange: Exchange, send: Send) -> None:
        self.started = False
        self.led = False
        """Whether a task of its own answers, and sees to the end of the request."""
        self.cookie: SetCookie | None = None
        """The session cookie for an answer that is not the application's."""
        self.failure: Exception | None = None
        self.keeper: Keeper | None = None
        self._driver = driver
        self._layer = layer
        self._exchange = exchange
        self._send = send

    def _note(self, status: int, headers: Iterable[Sequence[bytes]]) -> None:
        """What the limits are settled by, and what is replayed to whoever sends the request again."""
        exchange = self._exchange
        exchange.status = status
        if self._layer.closing.notes(exchange):
            exchange.headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
            self._look_at_session()
            self._layer.closing.judge(exchange)
        if exchange.tally is not None:
            response = exchange.answer = responses.Response(status_code=status)
            response.raw_headers = [(bytes(name), bytes(value)) for name, value in headers]

    def _look_at_session(self) -> None:
        if self.keeper is not None:
            session = self.keeper.session
            self._layer.closing.looked(
                self._exchange, accessed=session.accessed, read=session.read, changed=session.changed
            )

    def _begun(self) -> None:
        self.started = self._exchange.started = True
        if self.keeper is not None:
            self.keeper.answered = True


class Response(_Answer):
    """The ``send`` of an HTTP request."""

    def __init__(self, driver: AsyncDriver, layer: Layer, exchange: Exchange, send: Send, *, save_on_5xx: bool) -> None:
        super().__init__(driver, layer, exchange, send)
        self._save_on_5xx = save_on_5xx
        self._start: Message | None = None
        self._recorder: Recorder | None = None
        self._drops = False
        """Whether the client has had its answer, and what the application still sends is only recorded."""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self.started:
            self._start, self.failure = message, None
            return
        if self.failure is not None:
            raise self.failure
        if self._start is not None:
            await self._begin(message)
        if self._recorder is not None and message["type"] == "http.response.body":
            await self._record(self._recorder, message)
        if not self._drops:
            await self._out(message)

    async def _record(self, recorder: Recorder, message: Message) -> None:
        """Keep a part of the body; the last one is sent when all is stored."""
        recorder.add(bytes(message.get("body", b"")))
        if recorder.is_over or not message.get("more_body", False):
            self._recorder, exchange = None, self._exchange
            self._look_at_session()
            body = recorder.body
            if body is not None:
                await self._pack(body)
            await self._driver.run(self._layer.closing.complete(exchange, body))

    async def _pack(self, body: bytes) -> None:
        """A large body is made ready beside the loop, which others need."""
        if len(body) >= LARGE:
            await asyncio.to_thread(self._layer.closing.pack, self._exchange, body)

    async def finish(self) -> None:
        """The application has returned; what it left behind is sent, or why it could not be is raised."""
        if self._start is not None:
            await self._begin({"type": "http.response.body", "more_body": True})
        if self.failure is not None:
            raise self.failure

    async def _begin(self, first: Message) -> None:
        """Do what is to be done before the head is sent; ``first`` is the first part of the body."""
        start, self._start = self._start, None
        if start is None:
            return
        keeper, whole = self.keeper, None
        cookie = self.cookie
        self._note(start["status"], start.get("headers", ()))
        closing, exchange = self._layer.closing, self._exchange
        if closing.records(exchange):
            if first["type"] == "http.response.body" and not first.get("more_body", False):
                whole = bytes(first.get("body", b""))
                await self._pack(whole)
            else:
                self._recorder = closing.recorder(exchange)
        if keeper is not None:
            try:
                failed = (start["status"] >= 500 and not self._save_on_5xx) or exchange.refreshing
                cookie = await _settled(keeper, start["status"], whole, failed=failed)
            except Exception as error:
                self.failure = error
                raise
        elif whole is not None or closing.closes(exchange):
            await self._driver.run(closing.close(exchange, whole))
        instead = closing.instead(exchange)
        if instead is not None:
            start = _start_of(instead)
        fields, vary = self._layer.fields(exchange), closing.varies(exchange)
        if keeper is not None and keeper.session.accessed:
            vary = (*vary, "Cookie")
        if vary or cookie is not None or fields:
            start["headers"] = completed(start.get("headers", ()), cookie, vary=vary, fields=fields)
        self._begun()
        await self._out(start)
        if instead is not None:
            self._drops = True
            await self._out({"type": "http.response.body", "body": instead.body})

    async def _out(self, message: Message) -> None:
        """Send it; what is made for others as well is made to its end, although this client has gone."""
        try:
            await self._send(message)
        except OSError:
            if not self._exchange.leads:
                raise
            self._drops = True


class Accept(_Answer):
    """The ``send`` of a WebSocket: what was changed before ``accept`` is written before it; a cookie goes with it.

    An application that refuses the handshake with a response of its own is treated alike.
    """

    async def send(self, message: Message) -> None:
        if not self.started:
            if message["type"] in ("websocket.accept", "websocket.http.response.start"):
                await self._settle(message)
            elif message["type"] == "websocket.close":
                self._note(403, ())
            self.failure = None
            self._begun()
        await self._send(message)

    async def finish(self) -> None:
        """The application has returned; why nothing could be sent is raised."""
        if self.failure is not None:
            raise self.failure

    async def _settle(self, message: Message) -> None:
        status = message.get("status", 101)
        try:
            cookie = await _settled(self.keeper, status) if self.keeper is not None else None
        except Exception as error:
            self.failure = error
            raise
        self._note(status, message.get("headers") or ())
        fields = self._layer.fields(self._exchange)
        if cookie is not None or fields:
            message["headers"] = completed(message.get("headers") or (), cookie, fields=fields)


async def _settled(
    keeper: Keeper, status: int, whole: bytes | None = None, *, failed: bool = False
) -> SetCookie | None:
    """Write the session, or give it up; the cookie that the response must carry.

    An error that answers for what could not be written is sent, and does not fail for the same reason once more.
    """
    if failed or keeper.abandoned or (keeper.failed and status >= 400):
        return await keeper.abandon(whole)
    return await keeper.commit(whole)


def completed(
    headers: Iterable[Sequence[bytes]],
    cookie: SetCookie | None,
    *,
    vary: Sequence[str] = (),
    fields: Iterable[tuple[str, str]] = (),
) -> list[Header]:
    """The headers with our cookie and our fields, in the place of any of the same name, and these names in Vary."""
    found: list[Header] = [(bytes(name), bytes(value)) for name, value in headers]
    ours = lines(fields)
    if ours:
        names = {name for name, _ in ours}
        found = [field for field in found if field[0].lower() not in names] + ours
    if cookie is not None:
        same = cookie.name.encode("latin-1") + b"="
        found = [field for field in found if field[0].lower() != b"set-cookie" or not field[1].startswith(same)]
        found.append((b"set-cookie", cookie.header().encode("latin-1")))
    if vary:
        said = {each.strip().lower() for name, value in found if name.lower() == b"vary" for each in value.split(b",")}
        more = [name for name in map(str.encode, dict.fromkeys(vary)) if name.lower() not in said and b"*" not in said]
        found += [(b"vary", name) for name in more]
    return found


def _start_of(response: layers.Response) -> Message:
    return {"type": "http.response.start", "status": response.status, "headers": lines(response.headers)}


def lines(fields: Iterable[tuple[str, str]]) -> list[Header]:
    """Fields as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields]
