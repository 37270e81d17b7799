"""A site whose pages are cached, asked on one loop."""

import asyncio
import time
from collections.abc import Callable

import httpx2
from asgi_site import Site
from starlette.requests import Request

from redis_mw import Cached, Event, Rule
from redis_mw.testing import count_round_trips

PAGE = Rule("/page", cache=Cached(60, jitter=0))


class Pages:
    """Asks for ``/page``, unless told otherwise; ``made`` are the requests that views have seen."""

    def __init__(self, site: Site, heard: list[Event], made: list[Request]) -> None:
        self.mw, self.http, self.heard, self.made = site.mw, site.http, heard, made

    async def get(self, path: str = "/page", **fields: str) -> httpx2.Response:
        return await self.http.get(path, headers=_named(fields))

    async def send(self, method: str, path: str = "/page", **fields: str) -> httpx2.Response:
        return await self.http.request(method, path, headers=_named(fields))

    async def trips(self, path: str = "/page", **fields: str) -> int:
        with count_round_trips() as trips:
            _ = await self.get(path, **fields)
        return trips.awaited

    async def until(self, wanted: Callable[[httpx2.Response], bool], trips: int | None = None) -> httpx2.Response:
        """Ask until the answer is as wanted, in so many trips; what another task or process does has no event here."""
        end = time.monotonic() + 20
        while True:
            with count_round_trips() as counted:
                answer = await self.get()
            if wanted(answer) and trips in (None, counted.awaited):
                return answer
            assert time.monotonic() < end, "it never comes"
            await asyncio.sleep(0.01)

    def outcomes(self, name: str) -> list[str]:
        return [event.outcome for event in self.heard if event.name == name]


def _named(fields: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in fields.items()}


def status_of(response: httpx2.Response) -> str:
    """What we say of the cache, without numbers that move."""
    parts = response.headers.get("cache-status", "").split(";")
    return ";".join(part for part in parts[1:] if not part.startswith("ttl="))
