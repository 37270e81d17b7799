"""One connection's session on its way through the application: loaded before it runs, written before it is answered."""

import asyncio
from collections.abc import AsyncGenerator

from redis_mw.errors import SessionClosed
from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.http.cookies import SetCookie
from redis_mw.layer.exchange import Committed, Exchange
from redis_mw.layer.layer import Layer
from redis_mw.sessions import watch
from redis_mw.sessions.visit import Visit
from redis_mw_starlette.session import RequestSession

FINISH_WITHIN = 1.0


class Keeper:
    """Runs the layer's flows for one connection.

    ``answered``: its head has been sent, it is too late for a cookie. ``failed``: the last attempt to write raised.
    ``abandoned``: what was changed has been given up.
    """

    def __init__(self, mw: AsyncRedisMW, layer: Layer, exchange: Exchange, visit: Visit) -> None:
        self.visit = visit
        self.answered = False
        self.abandoned = False
        self.failed = False
        self._driver = mw.driver
        self._layer = layer
        self._exchange = exchange
        self._writing = asyncio.Lock()
        self.session = RequestSession(self)

    def must_be_open(self, what: str) -> None:
        """Raise ``SessionClosed`` where ``what`` needs a cookie and it is too late for one."""
        if self.answered:
            raise SessionClosed(f"the response has started, so {what} cannot be told to the client")

    async def commit(self, whole: bytes | None = None) -> SetCookie | None:
        """Write what was changed; the cookie that the response must carry. Raises ``SessionUnavailable``.

        ``whole`` is the body of a response that has to be recorded, if all of it is known: in the same round trip.
        """
        if self.session.accessed:
            return (await self._commit(whole)).set_cookie
        await self._close(whole)
        return self.cookie()

    async def abandon(self, whole: bytes | None = None) -> SetCookie | None:
        """Give up what was changed: the request failed. A session that was to end still ends, if Redis is there.

        A cookie that is due anyway is still sent; ``whole`` as above.
        """
        self.abandoned = True
        async with self._writing:
            if self.visit.give_up():
                _ = await self._driver.run(self._layer.commit(self._exchange, None, whole))
                self._clean_up()
            else:
                await self._close(whole)
        return self.cookie()

    async def _close(self, whole: bytes | None) -> None:
        if whole is not None or self._layer.closing.closes(self._exchange):
            await self._driver.run(self._layer.closing.close(self._exchange, whole))

    def cookie(self) -> SetCookie | None:
        return self._layer.set_cookie(self._exchange)

    async def save(self) -> None:
        visit = self.visit
        if self.answered and (visit.logging_in is not None or visit.regenerating):
            self.must_be_open("a new id")
        if self.answered and visit.record is None and self.session:
            self.must_be_open("a new session")
        if visit.away is not None:
            visit.must_write()
        if (await self._commit()).lost:
            raise SessionClosed("the session has ended, or was regenerated, meanwhile; nothing was written")

    async def reload(self) -> None:
        async with self._writing:
            await self._driver.run(self.visit.reload())

    async def revoked(self) -> AsyncGenerator[None, None]:
        if self.visit.handle is not None:
            await self._driver.run(watch.ended(self.visit.room.store, self.visit.handle))
            yield

    def must_be_settled(self) -> None:
        """Raise ``SessionClosed`` if something was changed after the answer and not saved: never lost in silence."""
        if self.session.accessed and not self.abandoned and self.visit.pending(self.session.values_now()):
            raise SessionClosed(
                "the session was changed after the response had started, and not saved: await session.save() after it"
            )

    async def _commit(self, whole: bytes | None = None) -> Committed:
        async with self._writing:  # two tasks of a WebSocket may save at once
            self.failed = True
            committed = await self._driver.run(self._layer.commit(self._exchange, self.session.values_now(), whole))
            self._clean_up()
        if committed.respond is not None:
            raise committed.respond.refusal
        self.failed = False
        return committed

    def _clean_up(self) -> None:
        """Leave to the background what nobody waits for; the limits are settled at the end of the request."""
        after, self._exchange.after = self._exchange.after, None
        if after is not None:
            self._driver.detach(after(), FINISH_WITHIN)
