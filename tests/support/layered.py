"""An application's worth of layer without a framework: its requests opened, committed and finished by a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from redis_mw import Lock, RedisMW, Settings
from redis_mw.engine import trips
from redis_mw.faces.attending import attend
from redis_mw.faces.listening import events_of
from redis_mw.faces.locks import RequestLocks
from redis_mw.flows import Flow, T
from redis_mw.http.request import Fields, Request
from redis_mw.idempotency import commands as idempotency
from redis_mw.keys import digest
from redis_mw.layer.cookie import SessionCookie
from redis_mw.layer.exchange import Exchange, Proceed, Replay, Respond
from redis_mw.layer.layer import Layer
from redis_mw.layer.rooms import rooms_of
from redis_mw.limits import commands as limits
from redis_mw.locks import commands as locks
from redis_mw.policy.current import CURRENT, Context
from redis_mw.policy.marks import Mark, Placed
from redis_mw.sessions import commands as sessions
from redis_mw.sessions.room import furnish
from redis_mw.settings import Policy

SECRET = "a secret of thirty-two characters or more"

NAMES = {
    limits.TAKE.sha: "take",
    limits.SETTLE.sha: "settle",
    idempotency.CLAIM.sha: "claim",
    idempotency.COMPLETE.sha: "complete",
    idempotency.RELEASE.sha: "forget",
    locks.ACQUIRE.sha: "acquire",
    locks.RELEASE.sha: "release",
    sessions.LOAD.sha: "load",
    sessions.SAVE.sha: "save",
    sessions.CREATE.sha: "create",
    sessions.REGENERATE.sha: "regenerate",
}


def placed(policy: Policy | str, place: str = "view#1") -> Placed:
    """A mark that a view carries; a text is the name of a lock."""
    return Placed(Mark(Lock(policy) if isinstance(policy, str) else policy), place)


class App:
    """The layer of one application, on threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        events = events_of(settings)
        self.rooms = rooms_of(settings, events, SECRET)
        self.mw = RedisMW(settings, rooms=self.rooms)
        room = None
        if settings.sessions is not None:
            room = furnish(settings, settings.sessions, [SECRET], events)
        self.layer = Layer(settings, room, SessionCookie(name="sid"), self.rooms)
        self.client: redis.Redis[Any] = redis.Redis.from_url(settings.url_of("locks"), decode_responses=True)

    def close(self) -> None:
        self.mw.close()
        self.client.close()

    def run(self, flow: Flow[T]) -> T:
        return self.mw.driver.run(flow)

    # A request

    def begin(
        self, path: str = "/", *marks: Placed, key: str | None = None, body: bytes = b"", cookie: str = "", **more: Any
    ) -> Exchange:
        """A POST that is about to be opened; ``key`` is its idempotency key, ``headers`` are what else it says."""
        headers = {**more.pop("headers", {}), **({"idempotency-key": key} if key is not None else {})}
        fields = Fields(tuple(headers.items()))
        request = Request(more.pop("method", "POST"), path, headers=fields, client="192.0.2.77")
        exchange = self.layer.begin(request, cookie or None, marks=marks, **more)
        self.read(exchange, body)
        return exchange

    def read(self, exchange: Exchange, body: bytes = b"") -> None:
        """What an adapter does before it opens or holds."""
        attempt = self.layer.attempt_of(exchange)
        if attempt is not None and attempt.outcome is None:
            attempt.read(body)

    def open(self, exchange: Exchange, eager: bool = False) -> Proceed | Respond | Replay:
        return self.run(self.layer.open(exchange, eager=eager))

    def opened(self, *args: Any, eager: bool = False, **more: Any) -> Exchange:
        """A request that may run."""
        exchange = self.begin(*args, **more)
        answer = self.open(exchange, eager)
        assert answer == Proceed(), answer
        return exchange

    def refused(self, *args: Any, **more: Any) -> int:
        """The status of a request that must not run, which is over then."""
        exchange = self.begin(*args, **more)
        answer = self.open(exchange)
        self.finish(exchange)
        assert isinstance(answer, Respond), answer
        return answer.response.status

    def replayed(self, *args: Any, **more: Any) -> bytes:
        """The body that was answered before."""
        exchange = self.begin(*args, **more)
        answer = self.open(exchange)
        self.finish(exchange)
        assert isinstance(answer, Replay), answer
        return answer.response.body

    def hold(self, exchange: Exchange, *late: Placed, unseen: bool = False) -> Respond | Replay | None:
        return self.run(self.layer.hold(exchange, *late, unseen=unseen))

    def commit(self, exchange: Exchange, data: Any = None, whole: bytes | None = b"done", status: int = 200) -> Any:
        exchange.status = status
        return self.run(self.layer.commit(exchange, data, whole))

    def finish(self, exchange: Exchange) -> None:
        self.run(self.layer.finish(exchange))
        assert not self.layer.finishes(exchange)

    def over(self, exchange: Exchange, data: Any = None, whole: bytes = b"done", status: int = 200) -> None:
        """The rest of a request that answered at once."""
        self.commit(exchange, data, whole, status)
        exchange.started = True
        self.finish(exchange)

    def stored(self, data: dict[str, Any], user: object = None) -> str:
        """The cookie of a new session."""
        exchange = self.layer.begin(Request("GET", "/nowhere", client="192.0.2.77"))
        assert exchange.visit is not None
        if user is not None:
            exchange.visit.login(user)
        cookie = self.run(self.layer.commit(exchange, data)).set_cookie
        assert cookie is not None
        return cookie.value

    @contextmanager
    def inside(self, exchange: Exchange) -> Iterator[RequestLocks]:
        """Code that runs in a request."""
        attend(self.mw.driver, self.rooms, exchange)
        held = RequestLocks(self.mw.driver, exchange)
        token = CURRENT.set(Context(self.mw, locks=held))
        try:
            yield held
        finally:
            CURRENT.reset(token)

    # What the server keeps

    def _lock(self, name: str, part: str) -> str:
        return f"{self.settings.prefix}:k1:{{{digest(name)}}}:{part}"

    def holders(self, name: str) -> list[str]:
        seconds, us = self.client.time()
        return list(self.client.zrangebyscore(self._lock(name, "h"), seconds * 1_000_000 + us, "+inf"))

    def waiters(self, name: str) -> int:
        return int(self.client.zcard(self._lock(name, "q")))

    def claims(self) -> list[str]:
        """Keys that are claimed and not complete."""
        return [key for key in self._keys("i1:*:h") if not self.client.hexists(key, "r")]

    def lease_is_over(self, record: str) -> bool:
        """Whether a claim may be taken over."""
        seconds, us = self.client.time()
        ends = self.client.hget(record, "l")
        return ends is not None and int(ends) < seconds * 1_000_000 + us

    def left_behind(self) -> list[str]:
        """What should not be there once every request is over."""
        held = self._keys("k1:*:h")
        return [*held, *self._keys("k1:*:q"), *self.claims(), *self.without_ttl()]

    def without_ttl(self) -> list[str]:
        return [key for key in self._keys("*") if self.client.pttl(key) == -1]

    def _keys(self, pattern: str) -> list[str]:
        return list(self.client.scan_iter(f"{self.settings.prefix}:{pattern}", count=1000))


@contextmanager
def sent() -> Iterator[list[list[str]]]:
    """The batches of this process inside the block: in each, the names of its scripts in order."""
    batches: list[list[str]] = []

    def note(endpoint: str, commands: Any, detached: bool) -> None:
        batches.append([NAMES.get(words[1], str(words[0])) for words in commands])

    stop = trips.observe(note)
    try:
        yield batches
    finally:
        stop()
