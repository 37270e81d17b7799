"""Locks, redis-mw beside redis-fifo-lock, python-redis-lock and redis-py: ``python -m benchmarks.locks``.

A measurement and no test: whatever comes out, it ends with 0 unless something breaks.
"""

import argparse
import asyncio
import os
import platform
import sys
from collections.abc import Mapping

from benchmarks.locking import fight, speed
from benchmarks.locking.contenders import contenders, versions
from benchmarks.locking.fight import Fight
from benchmarks.locking.locker import Contender
from benchmarks.locking.report import RIVALS, Colour, tables, targets, told
from benchmarks.server import Watch, servers

TURNS, ROUNDS, SECONDS = 3000, 7, 3.0
QUICK_TURNS, QUICK_ROUNDS, QUICK_SECONDS = 800, 3, 1.5


def main() -> int:
    asked = _arguments()
    chosen = {
        name: row for name, row in contenders().items() if not asked.only or any(part in name for part in asked.only)
    }
    if not chosen:
        print(f"Nobody is called that; there are: {', '.join(contenders())}", file=sys.stderr)
        return 2
    turns, rounds, seconds = (QUICK_TURNS, QUICK_ROUNDS, QUICK_SECONDS) if asked.quick else (TURNS, ROUNDS, SECONDS)
    with servers(len(chosen)) as urls:
        url_of = dict(zip(chosen, urls, strict=True))
        with Watch(urls[0]) as watch:
            server = watch.version()
        colours = [
            asyncio.run(_tasks(chosen, url_of, turns, rounds, seconds)),
            _threads(chosen, url_of, turns, rounds, seconds),
        ]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"{versions()}; {server}, {python}, {os.cpu_count()} cores{', quick' if asked.quick else ''}\n")
    print(tables(colours, markdown=asked.markdown))
    print()
    print(told(targets(colours), markdown=asked.markdown))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.locks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute, less exact")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    parser.add_argument("--only", action="append", metavar="NAME", help="rows whose name holds this; may be repeated")
    return parser.parse_args()


def _threads(
    chosen: Mapping[str, Contender], urls: Mapping[str, str], turns: int, rounds: int, seconds: float
) -> Colour:
    lockers = {name: row.open(urls[name]) for name, row in chosen.items() if row.open is not None}
    fights: dict[str, list[Fight]] = {name: [] for name in lockers}
    free = speed.in_threads(lockers, urls, turns)
    for _ in range(rounds):
        for name, locker in lockers.items():
            fights[name].append(fight.in_threads(locker, urls[name], seconds))
    for locker in lockers.values():
        locker.close()
    return Colour("threads", free, {name: fight.over_rounds(each) for name, each in fights.items()}, RIVALS["threads"])


async def _tasks(
    chosen: Mapping[str, Contender], urls: Mapping[str, str], turns: int, rounds: int, seconds: float
) -> Colour:
    lockers = {name: row.open_async(urls[name]) for name, row in chosen.items() if row.open_async is not None}
    fights: dict[str, list[Fight]] = {name: [] for name in lockers}
    free = await speed.in_tasks(lockers, urls, turns)
    for _ in range(rounds):
        for name, locker in lockers.items():
            fights[name].append(await fight.in_tasks(locker, urls[name], seconds))
    for locker in lockers.values():
        await locker.aclose()
    return Colour("tasks", free, {name: fight.over_rounds(each) for name, each in fights.items()}, RIVALS["tasks"])


if __name__ == "__main__":
    sys.exit(main())
