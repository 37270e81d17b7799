"""A process in which many ask for one value at once: ``loading.py urls prefix aio|sync many seconds``.

It says ``ready``, waits for a line, and says as JSON how often it loaded, what was got, and how many commands it took.
"""

import asyncio
import json
import os
import sys
import threading
import time
from typing import Any

from redis_mw import AsyncRedisMW, Cache, RedisMW, Settings
from redis_mw.testing import count_round_trips

LOADS: list[int] = []


def main() -> None:
    urls, prefix, colour, many, seconds = sys.argv[1:]
    settings = Settings(
        url=json.loads(urls), prefix=prefix, warm_up=10, connect_within=10, patience=10, cache=Cache(wait=30)
    )
    values: list[Any] = []
    with count_round_trips() as trips:
        if colour == "aio":
            asyncio.run(on_a_loop(settings, int(many), float(seconds), values))
        else:
            on_threads(settings, int(many), float(seconds), values)
    commands = trips.commands.count("EVALSHA") - trips.detached  # those in the background renew a lease, one each
    tell(json.dumps({"loads": len(LOADS), "values": values, "commands": commands}))


async def on_a_loop(settings: Settings, many: int, seconds: float, values: list[Any]) -> None:
    async def load() -> str:
        LOADS.append(1)
        await asyncio.sleep(seconds)
        return f"made by {os.getpid()}"

    async with AsyncRedisMW(settings) as mw:
        await mw.ping()
        tell("ready")
        _ = await asyncio.to_thread(sys.stdin.readline)
        values += await asyncio.gather(*[mw.cache.get_or_set("a", load, ttl=60) for _ in range(many)])


def on_threads(settings: Settings, many: int, seconds: float, values: list[Any]) -> None:
    def load() -> str:
        LOADS.append(1)
        time.sleep(seconds)
        return f"made by {os.getpid()}"

    with RedisMW(settings) as mw:
        mw.ping()
        threads = [
            threading.Thread(target=lambda: values.append(mw.cache.get_or_set("a", load, ttl=60))) for _ in range(many)
        ]
        tell("ready")
        _ = sys.stdin.readline()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def tell(word: str) -> None:
    _ = sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
