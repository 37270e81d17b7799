"""What a limit leaves on the server: bytes for one client, and keys that would stay for ever."""

import time
from typing import NamedTuple

from benchmarks.limiting.contenders import contenders
from benchmarks.limiting.limiter import Limiter, Quota
from benchmarks.server import Watch

QUOTA = Quota(100, 2)
LONG = Quota(100, 3600)
CLIENTS = 200
"""How many come once, to see whether their keys go."""
STEPS = 50
SPREAD = 1.2
"""Periods over which the limit is filled: a little more than one, so that every part of a window is in use."""


class Kept(NamedTuple):
    """Bytes of one client: after one hit, the most while its limit is filled, the most in a flood; keys with no TTL."""

    once: int
    full: int
    flood: int
    endless: int
    keys: int


def memory(name: str, url: str, flood: int) -> Kept:
    """Empties the server first; everything that is there afterwards counts."""
    with Watch(url) as watch:
        watch.empty()
        limiter = contenders()[name].open(url, [QUOTA])
        try:
            limiter.hit("client")
            once = watch.bytes()
            full = _filled(limiter, watch)
            flooded = _flooded(limiter, watch, flood)
        finally:
            limiter.close()
        _come_once(name, url)
        endless, keys = watch.endless()
        return Kept(once, full, flooded, endless, keys)


def _filled(limiter: Limiter, watch: Watch) -> int:
    most = 0
    begin = time.monotonic()
    for step in range(STEPS):
        time.sleep(max(0.0, begin + step / STEPS * SPREAD * QUOTA.period - time.monotonic()))
        for _ in range(round(QUOTA.count * SPREAD / STEPS)):
            limiter.hit("client")
        most = max(most, watch.bytes())
    return most


def _flooded(limiter: Limiter, watch: Watch, tries: int) -> int:
    most = 0
    for turn in range(tries):
        limiter.hit("client")
        if turn % 100 == 99:
            most = max(most, watch.bytes())
    return most


def _come_once(name: str, url: str) -> None:
    limiter = contenders()[name].open(url, [LONG])
    try:
        for client in range(CLIENTS):
            limiter.hit(f"client {client}")
    finally:
        limiter.close()
