"""The figures of a run, as tables, and beside what redis-mw promises."""

from math import inf
from typing import NamedTuple

from benchmarks.caching.cold import CROWD, Cold
from benchmarks.caching.contender import Contender
from benchmarks.caching.contenders import BARE, IN_PROCESS, OURS
from benchmarks.caching.hot import CLIENTS, SLOW_S, TAKES_S, TTL_S
from benchmarks.caching.pages import CONNECTIONS
from benchmarks.caching.run import PROCESSES, TAGGED, Figures
from benchmarks.table import render

FROM_MEMORY = 0.01
"""Trips for a page, at most, if it comes from memory: now and then it is looked at again."""


class Target(NamedTuple):
    """What redis-mw promises, and what was seen; None: it could not be measured."""

    promise: str
    met: bool | None
    seen: str


def tables(rows: dict[str, Contender], figures: Figures, *, markdown: bool) -> str:
    parts = [_stampedes(rows, figures), _trouble(rows, figures), _pages(rows, figures), _tags(figures)]
    mark = "### " if markdown else ""
    return "\n\n".join(
        f"{mark}{title}\n\n{render(headings, cells, markdown=markdown)}" for title, headings, cells in parts if cells
    )


Table = tuple[str, list[str], list[list[str]]]


def _stampedes(rows: dict[str, Contender], figures: Figures) -> Table:
    title = (
        f"Round trips; a cold key wanted by {CROWD} at once; a hot key, {PROCESSES} processes with {CLIENTS} clients "
        f"each, {TTL_S} s to live, {TAKES_S * 1000:.0f} ms to make"
    )
    headings = [
        "", "trips|hit", "|store", "cold, calls|1 process", f"|{PROCESSES}", "sent by|all", "by one|that waits",
        "hot, calls|an expiry", "of the|least", f"over|{SLOW_S * 1000:.0f} ms", "p99|ms",
    ]  # fmt: skip
    cells = []
    for name in rows:
        trips, cold, hot = figures.trips[name], figures.cold[name], figures.hot[name]
        cells.append(
            [
                name,
                f"{trips.hit.trips:.3g}",
                f"{trips.store.trips:.3g}",
                f"{cold.alone:g}",
                f"{cold.spread:g}",
                f"{cold.sent:g}",
                _waiting(cold),
                f"{hot.per_expiry:.2f}",
                f"{hot.of_least:.2f}",
                f"{hot.slow:.2%}",
                f"{hot.p99_ms:.1f}",
            ]
        )
    return title, headings, cells


def _waiting(cold: Cold) -> str:
    """Commands, and what begins or ends a subscription; nothing where nobody waits for another process."""
    if cold.spread >= PROCESSES:
        return "-"
    return f"{round(cold.commands, 1):g}" + (f" + {cold.subscriptions:.3g}" if cold.subscriptions else "")


def _trouble(rows: dict[str, Contender], figures: Figures) -> Table:
    title = "Seconds to an answer: after the process was killed that makes it; while Redis accepts and says nothing"
    headings = ["", "leader|killed", "silent:|first", "then|p95", "|slowest", "|failed"]
    cells = []
    for name in rows:
        quiet, after = figures.silent[name], figures.killed[name]
        waited = figures.cold[name].spread < PROCESSES
        cells.append(
            [
                name,
                _seconds(after, figures) if waited else "does not wait",
                _seconds(quiet.first, figures),
                _seconds(quiet.later, figures),
                _seconds(quiet.slowest, figures),
                f"{quiet.failed:g}",
            ]
        )
    return title, headings, cells


def _seconds(seconds: float, figures: Figures) -> str:
    return f"> {figures.within_s:g}" if seconds == inf else f"{seconds:.2g}" if seconds >= 0.01 else f"{seconds:.4f}"


def _pages(rows: dict[str, Contender], figures: Figures) -> Table:
    title = f"A cached page of a shop, by the bare handler that renders it = 1; {CONNECTIONS} connections, uvicorn"
    cells = []
    for name, page in figures.pages.items():
        if name == IN_PROCESS and page.trips > FROM_MEMORY:
            cells.append([name, "-", "its memory is off"])
            continue
        kind = rows[name].kind if name in rows else "fastapi" if name == BARE.format("fastapi") else "starlette"
        cells.append([name, f"{page.rate / figures.pages[BARE.format(kind)].rate:.2f}", f"{page.trips:.2g}"])
    return title, ["", "/ bare", "trips"], cells


def _tags(figures: Figures) -> Table:
    title = f"Dropping a tag of {TAGGED:,} entries"
    headings = ["", "ms", "longest PING|meanwhile, ms"]
    return title, headings, [[n, f"{d.took_ms:.2f}", f"{d.others_ms:.2f}"] for n, d in figures.drops.items()]


def targets(figures: Figures) -> list[Target]:
    """The promises, if redis-mw took part."""
    if OURS not in figures.trips:
        return []
    trips, cold, hot = figures.trips[OURS], figures.cold[OURS], figures.hot[OURS]
    quiet, drop, bare = figures.silent[OURS], figures.drops[OURS], figures.pages[BARE.format("starlette")].rate
    ratio, memory = figures.pages[OURS].rate / bare, figures.pages[IN_PROCESS]
    off = memory.trips > FROM_MEMORY
    return [
        Target(f"cold, {CROWD} at once: 1 call in one process", cold.alone == 1, f"{cold.alone:g}"),
        Target(f"cold, over {PROCESSES} processes: 1 call", cold.spread == 1, f"{cold.spread:g}"),
        Target("a process that waits: at most 3 commands", cold.commands <= 3, _waiting(cold)),
        Target("hot: at most 1.1 calls an expiry", hot.per_expiry <= 1.1, f"{hot.per_expiry:.2f}"),
        Target(f"hot: nobody waits over {SLOW_S * 1000:.0f} ms", hot.slow == 0, f"{hot.slow:.2%}"),
        Target("hot: p99 under 10 ms", hot.p99_ms < 10, f"{hot.p99_ms:.1f}"),
        Target("a hit: 1 trip", trips.hit.trips <= 1, f"{trips.hit.trips:.2f}"),
        Target("a miss and its storing: 2 trips", trips.store.trips <= 2, f"{trips.store.trips:.2f}"),
        Target("a page through Redis / bare: over 1", ratio > 1, f"{ratio:.2f}"),
        Target(
            "a page from memory / bare: over 1.5",
            None if off else memory.rate / bare > 1.5,
            "-" if off else f"{memory.rate / bare:.2f}",
        ),
        Target(f"a tag of {TAGGED:,} dropped: under 2 ms", drop.took_ms < 2, f"{drop.took_ms:.2f}"),
        Target("killed leader: within 3 s", figures.killed[OURS] <= 3, _seconds(figures.killed[OURS], figures)),
        Target("silent Redis: one deadline at first, 0.2 s", quiet.first <= 0.2, f"{quiet.first:.2f}"),
        Target("silent Redis: p95 under 5 ms then", quiet.later < 0.005, f"{quiet.later * 1000:.1f}"),
    ]


def told(seen: list[Target], *, markdown: bool) -> str:
    rows = [
        [target.promise, target.seen, "-" if target.met is None else "yes" if target.met else "NO"] for target in seen
    ]
    return render(["promise", "seen", "met"], rows, markdown=markdown)
