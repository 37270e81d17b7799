"""``mw.limits``, in both colours: limits that application code asks itself, and what may be changed at run time.

A ``limit`` is a name in ``limits.named``, else a rate (``"5/minute"``) or a ``Limit``. A ``key`` is the client: the
value of what the limit counts by (an address, a user's id, a header's value), one for each where it counts by several
things together. Counts are those of requests, so a limit that a rule holds can be asked, reset and refunded here.

Everything raises ``RedisUnavailable`` where Redis is away, but ``hit``, ``hit_all`` and ``peek`` only for limits that
are ``on_outage="closed"``; the others then answer by their own policy, ``degraded``.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.sync import SyncDriver
from redis_mw.errors import LayerMissing, Problem, SettingsError
from redis_mw.faces.answers import told
from redis_mw.faces.attending import attend_limits
from redis_mw.flows import Flow
from redis_mw.layer.exchange import Exchange
from redis_mw.layer.layer import Layer
from redis_mw.limits import direct
from redis_mw.limits.direct import Hit, Key, Question
from redis_mw.limits.room import Room
from redis_mw.limits.verdict import Explanation, Verdict
from redis_mw.policy.caller import Caller
from redis_mw.settings import Duration, Limit

F = TypeVar("F")
Explain: TypeAlias = Callable[[Any], Flow[list[Explanation]]]


class SyncLimits:
    """Rate limits asked by code that runs in threads."""

    def __init__(self, driver: SyncDriver, room: Room) -> None:
        self.room = room
        self.explainer: Explain | None = None
        """How the mounted integration reads a framework's request."""
        self._driver = driver

    def hit(self, limit: Limit | str, *, key: Key, cost: int = 1) -> Verdict:
        """Count one more; a true verdict if it is within the limit, else nothing was counted. One round trip."""
        return self.hit_all([(limit, key, cost)])[0]

    def hit_all(self, hits: Sequence[Hit]) -> list[Verdict]:
        """Count ``(limit, key, cost)`` each in one round trip: all of them, or none if one is denied."""
        return self._hit([direct.question(self.room, limit, key).at(cost) for limit, key, cost in hits])

    def peek(self, limit: Limit | str, *, key: Key, cost: int = 1) -> Verdict:
        """What a hit would say now; nothing is counted."""
        questions = [direct.question(self.room, limit, key).at(cost)]
        return told(self._driver.run(direct.hit(self.room, questions, peek=True)))[0]

    def refund(self, verdict: Verdict) -> None:
        """Give back what a hit took, or free its slot; once, however often this is called."""
        self._driver.run(direct.refund(self.room, verdict))

    def reset(self, limit: Limit | str, *, key: Key) -> None:
        """Forget what was counted of this client, and its bans by strikes; in every process within a second."""
        _ = told(self._driver.run(direct.reset(self.room, limit, key)))

    def ban(self, key: str, seconds: Duration | None = None, *, by: str = "client") -> None:
        """Refuse a client wherever a limit is asked, for so long (429); without ``seconds`` until ``unban`` (403).

        With ``by="client"`` a network may be named: IPv4 /16, /24, IPv6 /32, /48.
        """
        _ = told(self._driver.run(direct.ban(self.room, by, key, seconds)))

    def unban(self, key: str, *, by: str = "client") -> None:
        """Take a ban back."""
        _ = told(self._driver.run(direct.delist(self.room, "d", by, key)))

    def allow(self, key: str, *, by: str = "client") -> None:
        """Never refuse this client, until ``disallow``; it is stronger than a ban."""
        _ = told(self._driver.run(direct.allow(self.room, by, key)))

    def disallow(self, key: str, *, by: str = "client") -> None:
        """Treat this client like any other again."""
        _ = told(self._driver.run(direct.delist(self.room, "a", by, key)))

    def explain(self, request: Any) -> list[Explanation]:
        """What each limit says of a framework's request, whom it takes it for, and where it stands; counts nothing.

        Raises ``LayerMissing`` where no integration has been mounted that could read the request.
        """
        return self._driver.run(explaining(self.explainer)(request))

    def limiter(self, limit: Limit | str, *, key: Key) -> "Limiter":
        """One limit for one client, to be hit again and again."""
        return Limiter(self._hit, direct.question(self.room, limit, key))

    def limiter_of(self, limit: Limit | str, caller: Caller) -> "Limiter":
        """The same for the client that sent a request."""
        return Limiter(self._hit, direct.question_of(self.room, limit, caller))

    def _hit(self, questions: list[Question]) -> list[Verdict]:
        verdicts = told(self._driver.run(direct.hit(self.room, questions)))
        attend_limits(self._driver, self.room)
        return verdicts


class AsyncLimits:
    """Rate limits asked by coroutines; the same names, awaited."""

    def __init__(self, driver: AsyncDriver, room: Room) -> None:
        self.room = room
        self.explainer: Explain | None = None
        """How the mounted integration reads a framework's request."""
        self._driver = driver

    async def hit(self, limit: Limit | str, *, key: Key, cost: int = 1) -> Verdict:
        """Count one more; a true verdict if it is within the limit, else nothing was counted. One round trip."""
        return (await self.hit_all([(limit, key, cost)]))[0]

    async def hit_all(self, hits: Sequence[Hit]) -> list[Verdict]:
        """Count ``(limit, key, cost)`` each in one round trip: all of them, or none if one is denied."""
        return await self._hit([direct.question(self.room, limit, key).at(cost) for limit, key, cost in hits])

    async def peek(self, limit: Limit | str, *, key: Key, cost: int = 1) -> Verdict:
        """What a hit would say now; nothing is counted."""
        questions = [direct.question(self.room, limit, key).at(cost)]
        return told(await self._driver.run(direct.hit(self.room, questions, peek=True)))[0]

    async def refund(self, verdict: Verdict) -> None:
        """Give back what a hit took, or free its slot; once, however often this is called."""
        await self._driver.run(direct.refund(self.room, verdict))

    async def reset(self, limit: Limit | str, *, key: Key) -> None:
        """Forget what was counted of this client, and its bans by strikes; in every process within a second."""
        _ = told(await self._driver.run(direct.reset(self.room, limit, key)))

    async def ban(self, key: str, seconds: Duration | None = None, *, by: str = "client") -> None:
        """Refuse a client wherever a limit is asked, for so long (429); without ``seconds`` until ``unban`` (403).

        With ``by="client"`` a network may be named: IPv4 /16, /24, IPv6 /32, /48.
        """
        _ = told(await self._driver.run(direct.ban(self.room, by, key, seconds)))

    async def unban(self, key: str, *, by: str = "client") -> None:
        """Take a ban back."""
        _ = told(await self._driver.run(direct.delist(self.room, "d", by, key)))

    async def allow(self, key: str, *, by: str = "client") -> None:
        """Never refuse this client, until ``disallow``; it is stronger than a ban."""
        _ = told(await self._driver.run(direct.allow(self.room, by, key)))

    async def disallow(self, key: str, *, by: str = "client") -> None:
        """Treat this client like any other again."""
        _ = told(await self._driver.run(direct.delist(self.room, "a", by, key)))

    async def explain(self, request: Any) -> list[Explanation]:
        """What each limit says of a framework's request, whom it takes it for, and where it stands; counts nothing.

        Raises ``LayerMissing`` where no integration has been mounted that could read the request.
        """
        return await self._driver.run(explaining(self.explainer)(request))

    def limiter(self, limit: Limit | str, *, key: Key) -> "AsyncLimiter":
        """One limit for one client, to be hit again and again: by each message of a WebSocket."""
        return AsyncLimiter(self._hit, direct.question(self.room, limit, key))

    def limiter_of(self, limit: Limit | str, caller: Caller) -> "AsyncLimiter":
        """The same for the client that sent a request."""
        return AsyncLimiter(self._hit, direct.question_of(self.room, limit, caller))

    async def _hit(self, questions: list[Question]) -> list[Verdict]:
        verdicts = told(await self._driver.run(direct.hit(self.room, questions)))
        attend_limits(self._driver, self.room)
        return verdicts


class Limiter:
    """One limit for one client."""

    def __init__(self, hit: Callable[[list[Question]], list[Verdict]], question: Question) -> None:
        self._ask = hit
        self._question = question

    def hit(self, cost: int = 1) -> Verdict:
        """Count one more; a true verdict if it is within the limit, else nothing was counted."""
        return self._ask([self._question.at(cost)])[0]


class AsyncLimiter:
    """One limit for one client, awaited."""

    def __init__(self, hit: Callable[[list[Question]], Awaitable[list[Verdict]]], question: Question) -> None:
        self._ask = hit
        self._question = question

    async def hit(self, cost: int = 1) -> Verdict:
        """Count one more; a true verdict if it is within the limit, else nothing was counted."""
        return (await self._ask([self._question.at(cost)]))[0]


class _OfRequest:
    """What the limits said of the request being answered, and what it may still say to them."""

    def __init__(self, layer: Layer, exchange: Exchange) -> None:
        self._layer = layer
        self._exchange = exchange

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """A verdict for each limit that was asked."""
        tally = self._exchange.tally
        return tally.verdicts if tally is not None else ()

    def charge(self, units: int) -> None:
        """Count so many units more once the response is known (below 0: less), in every limit this request was
        counted in; ``ValueError`` for what is no whole number.
        """
        if type(units) is not int:
            raise ValueError(f"units are a whole number, not {units!r}")
        if self._exchange.tally is not None:
            self._exchange.tally.charge(units)

    def _caller(self) -> Caller:
        return self._layer.caller_of(self._exchange)


class RequestLimits(_OfRequest):
    """``current().limits`` in frameworks that run in threads."""

    def __init__(self, face: SyncLimits | None, layer: Layer, exchange: Exchange) -> None:
        super().__init__(layer, exchange)
        self._face = face

    def limiter(self, limit: Limit | str) -> Limiter:
        """One more limit for this request's client, to be hit as often as something of it is to be counted."""
        return there(self._face).limiter_of(limit, self._caller())


class AsyncRequestLimits(_OfRequest):
    """``current().limits`` under ASGI."""

    def __init__(self, face: AsyncLimits | None, layer: Layer, exchange: Exchange) -> None:
        super().__init__(layer, exchange)
        self._face = face

    def limiter(self, limit: Limit | str) -> AsyncLimiter:
        """One more limit for this request's client, to be hit by each message of an open WebSocket, say."""
        return there(self._face).limiter_of(limit, self._caller())


def there(face: F | None) -> F:
    """The face; ``SettingsError`` where limits are turned off."""
    if face is None:
        raise SettingsError([Problem("limits", "is None: limits are turned off", "leave it out to have them")])
    return face


def explaining(explainer: Explain | None) -> Explain:
    """What reads a framework's request; ``LayerMissing`` where nobody can."""
    if explainer is None:
        raise LayerMissing("no integration is mounted with this face, so nobody can read the request")
    return explainer
