"""Requests of a cached route without a framework: ``Lookup`` and ``Fetch`` as the layer drives them, on threads that
wait for a face of either colour.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

from colours import Colour, Loop, Threads
from kept import kept_by

from redis_mw import AsyncRedisMW, Cached
from redis_mw.caching.pages.entry import Entry
from redis_mw.caching.pages.hidden import Without
from redis_mw.caching.pages.keep import purge
from redis_mw.caching.pages.lookup import Lookup, begin
from redis_mw.caching.pages.names import urls_to_purge
from redis_mw.caching.room import Room
from redis_mw.faces.attending import attend_cache
from redis_mw.http.request import Fields, Request
from redis_mw.policy.templates import Template

FOR_EVER = 20.0
"""Seconds; only a broken test waits as long."""

Pairs = tuple[tuple[str, str], ...]


class Made(NamedTuple):
    """What an application answers; ``accessed`` and ``csrf`` as the layer notices them."""

    body: bytes = b"made"
    headers: Pairs = ()
    status: int = 200
    accessed: bool = False
    csrf: bool = False


class Got(NamedTuple):
    """What a client got; ``ran``: the application was asked for it."""

    status: int
    headers: Fields
    body: bytes
    ran: bool


MADE = Made()
MINUTE = Cached(60, jitter=0)


class Origin:
    """An application whose runs are counted, and end when they are let; ``made`` is what it answers, or raises, or a
    function of the request. ``seen`` are the fields that it was shown.
    """

    def __init__(self, made: Any = MADE, *, held: bool = False) -> None:
        self.made = made
        self.runs = 0
        self.now = 0
        self.most = 0
        self.seen: list[Fields] = []
        self.began = threading.Semaphore(0)
        self.gate = threading.Event()
        self._lock = threading.Lock()
        if not held:
            self.gate.set()

    def __call__(self, request: Request) -> Made:
        made = self.made
        with self._lock:
            self.runs += 1
            self.now += 1
            self.most = max(self.most, self.now)
            self.seen.append(Fields(tuple(request.headers.pairs)))  # type: ignore[attr-defined]
        self.began.release()
        try:
            assert self.gate.wait(FOR_EVER)
            made = made(request) if callable(made) else made
            if isinstance(made, BaseException):
                raise made
            return made
        finally:
            with self._lock:
                self.now -= 1

    def wait(self) -> None:
        """Until one more run has begun."""
        assert self.began.acquire(timeout=FOR_EVER)


class Process:
    """What one process has of a cached route: ``get`` is a request to it, ``start`` one in the background."""

    def __init__(self, colour: Colour, origin: Origin) -> None:
        self.colour = colour
        self.origin = origin
        self.threads = ThreadPoolExecutor(128)
        self.refreshes: list[Future[Any]] = []
        self.redis: Any = kept_by(colour.mw.settings)

    @property
    def room(self) -> Room:
        return self.colour.mw.cache.room  # type: ignore[no-any-return]

    def close(self) -> None:
        self.origin.gate.set()
        _ = wait(self.refreshes, FOR_EVER)
        self.threads.shutdown()
        self.colour.close()
        self.redis.close()

    def run(self, flow: Any) -> Any:
        reply = self.colour.run(flow)
        self.attend()
        return reply

    def name(self, *args: Any, **kwargs: Any) -> str:
        """What the page of such a request is called."""
        return self.lookup(*args, **kwargs)._question.name

    def held(self, *args: Any, **kwargs: Any) -> list[str]:
        """The leases on a URL, and those that this process goes on renewing."""
        fields = self.redis.hkeys(self.room.pages.key(self.name(*args, **kwargs)))
        stored = [each.decode() for each in fields if each.startswith(b"l:")]
        return stored + ["renewed"] * len(self.room.memory.page_leases)

    def end_leases(self, *args: Any, **kwargs: Any) -> None:
        """Have every lease on a URL be over."""
        at = self.room.pages.key(self.name(*args, **kwargs))
        for field in self.redis.hkeys(at):
            if field.startswith(b"l:"):
                self.redis.hdel(at, field)

    def age(self, *args: Any, seconds: int = 2, **kwargs: Any) -> None:
        """Have what is stored of a URL be older by so many seconds."""
        at = self.room.pages.key(self.name(*args, **kwargs))
        for field, meta in self.redis.hgetall(at).items():
            if field.startswith(b"m:"):
                for start in (5, 21, 29, 37):
                    us = int.from_bytes(meta[start : start + 8], "big") - seconds * 1_000_000
                    meta = meta[:start] + us.to_bytes(8, "big") + meta[start + 8 :]
                self.redis.hset(at, field, meta)

    def attend(self) -> None:
        """Have leases renewed and purges sent, as integrations do."""
        driver = self.colour.mw.driver
        if isinstance(self.colour.mw, AsyncRedisMW):

            async def attending() -> None:
                attend_cache(driver, self.room)

            self.colour.do(attending)
        else:
            attend_cache(driver, self.room)

    def lookup(
        self,
        path: str = "/",
        headers: Iterable[tuple[str, str]] = (),
        *,
        policy: Cached = MINUTE,
        method: str = "GET",
        query: str = "",
        filled: Mapping[str, str] = {},
        native: Any = None,
    ) -> Lookup:
        request = Request(method, path, query, host="example.com", headers=Fields(tuple(headers)))

        def fill(template: Template) -> str | None:
            return template.fill(filled)

        lookup = begin(self.room, Entry(policy, "a route", jitter=self.room.jitter), request, native, fill)
        assert lookup is not None
        return lookup

    def get(self, *args: Any, **kwargs: Any) -> Got:
        return self.answered(self.lookup(*args, **kwargs))

    def start(self, *args: Any, **kwargs: Any) -> "Future[Got]":
        return self.threads.submit(self.get, *args, **kwargs)

    def answered(self, lookup: Lookup) -> Got:
        """One request from its lookup to its answer, as the layer and an integration go about it."""
        try:
            if not lookup.local():
                self.run(lookup.ask())
            while lookup.state in ("waits", "follows"):
                if lookup.state == "waits":
                    self.run(lookup.wait())
                else:
                    assert lookup.follows is not None
                    over = wait((lookup.follows.ended,), self.room.wait_s).done
                    self.run(lookup.followed(ended=bool(over)))
            if lookup.refreshes:
                refreshing = lookup.refresh()
                self.refreshes.append(self.threads.submit(self.answered, refreshing))
            if lookup.refused:
                return Got(504, Fields(), b"", False)
            if lookup.answer is not None:
                return Got(lookup.answer.status, Fields(lookup.answer.fields), lookup.answer.body, False)
            return self._ran(lookup)
        finally:
            if lookup.settles:
                self.run(lookup.settle())

    def _ran(self, lookup: Lookup) -> Got:
        fetch = lookup.fetch
        assert fetch is not None
        hidden = lookup.hidden(trusted=False, own_cookies=frozenset({"session"}), kept_fields=frozenset())
        request = lookup.request
        seen = Fields(tuple(hidden.fields(_pairs(request.headers))))
        asked = Request(request.method, request.path, request.query, host=request.host, headers=seen)
        try:
            made = self.origin(asked)
        except Exception:
            if not lookup.asked.nobodys:
                self.run(lookup.rescue())
            if fetch.instead is None:
                raise
            return Got(fetch.instead.status, Fields(fetch.instead.fields), fetch.instead.body, True)
        fetch.judge(made.status, made.headers, accessed=made.accessed, csrf=made.csrf)
        if fetch.records or fetch.closes:
            body = made.body if fetch.records else None
            self.run(lookup.complete(body, accessed=made.accessed, csrf=made.csrf, sent=False))
        if fetch.instead is not None:
            return Got(fetch.instead.status, Fields(fetch.instead.fields), fetch.instead.body, True)
        return Got(made.status, Fields((*made.headers, *fetch.fields())), made.body, True)

    def refreshed(self) -> None:
        """Until what is made anew in the background is."""
        done, pending = wait(self.refreshes, FOR_EVER)
        assert not pending
        self.refreshes.clear()
        for each in done:
            _ = each.exception()

    def purge(self, path: str = "/", query: str = "") -> bool:
        urls = urls_to_purge(f"http://example.com{path}" + (f"?{query}" if query else ""))
        return bool(self.run(purge(self.room, urls)))

    def drop_tag(self, *tags: str, soft: bool = False) -> None:
        self.colour.do(self.colour.mw.cache.drop_tag, *tags, soft=soft)


DAMAGES = ("list", "names", "page", "fields", "body", "all")


def damage(kept: Any, at: str, how: str) -> None:
    """Have something else stand where a page is stored."""
    fields = {field[:2].decode(): field for field in kept.hkeys(at)}
    match how:
        case "list":
            kept.delete(at)
            kept.rpush(at, "x")
            kept.expire(at, 100)
        case "names":
            kept.hset(at, "v", "not a name, at all")
        case "names in other bytes":
            kept.hset(at, "v", b"\xff,\xfe")
        case "page":
            kept.hset(at, fields["m:"], "junk")
        case "fields":
            kept.hset(at, fields["m:"], kept.hget(at, fields["m:"])[:60])
        case "body":
            kept.hdel(at, fields["b:"])
        case _:
            for field in kept.hkeys(at):
                kept.hset(at, field, b"\x01\xff" * 100)


def _pairs(headers: Any) -> Iterable[tuple[str, str]]:
    """The fields as they came, also of a request that is made of another one."""
    return _pairs(headers.headers) if isinstance(headers, Without) else headers.pairs


Make = Callable[..., Process]
COLOURS: dict[str, Callable[..., Colour]] = {"threads": Threads, "asyncio": Loop}
