"""The figures of a run, as tables, and beside what redis-mw promises."""

from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.locking.contenders import FIFO, OURS, SIGNALS
from benchmarks.locking.fight import PAUSE_S, SECTION_S, WORKERS, Fight
from benchmarks.locking.speed import Free
from benchmarks.server import Work
from benchmarks.table import render


class Target(NamedTuple):
    """What redis-mw promises, and what was seen."""

    promise: str
    met: bool
    seen: str


class Colour(NamedTuple):
    """What was measured in threads, or in tasks."""

    name: str
    free: Mapping[str, Free]
    fights: Mapping[str, Fight]
    rival: str
    """Whom to be level with where many want one lock."""


def tables(colours: list[Colour], *, markdown: bool) -> str:
    title = (
        f"A lock that nobody else wants, against two PINGs of the same client; {WORKERS} workers on one lock, "
        f"{SECTION_S * 1000:g} ms in it and {PAUSE_S * 1000:g} ms between turns"
    )
    headings = [
        "", "free /|2 PINGs", "trips /|commands", "PING|us",
        "locks|a second", "wait ms|p50", "|p99", "most /|least", "trips /|commands",
    ]  # fmt: skip
    parts = [f"{'### ' if markdown else ''}{title}"]
    for colour in colours:
        rows = [_row(name, colour.free[name], colour.fights[name]) for name in colour.free]
        parts.append(f"{colour.name}\n\n{render(headings, rows, markdown=markdown)}")
    return "\n\n".join(parts)


def _row(name: str, free: Free, fight: Fight) -> list[str]:
    return [
        name, f"{free.ratio:.2f}", _worked(free.work), f"{free.ping_us:.0f}",
        f"{fight.rate:.0f}", f"{fight.p50:.1f}", f"{fight.p99:.1f}", f"{fight.unfair:.2f}", _worked(fight.work),
    ]  # fmt: skip


def _worked(work: Work) -> str:
    return f"{work.trips:.3g} / {work.commands:.3g}"


def targets(colours: list[Colour]) -> list[Target]:
    """The promises that can be judged by who took part."""
    found: list[Target] = []
    for colour in colours:
        if OURS not in colour.free:
            continue
        free, ours, rival = colour.free[OURS], colour.fights[OURS], colour.fights.get(colour.rival)
        found.append(Target(f"{colour.name}: a free lock <= 1.4 x two PINGs", free.ratio <= 1.4, f"{free.ratio:.2f}"))
        if rival is not None:
            rate, wait = ours.rate / rival.rate, ours.p99 / rival.p99
            found.append(Target(f"{colour.name}: as many locks a second as {colour.rival}", rate >= 1, f"{rate:.2f}"))
            found.append(Target(f"{colour.name}: p99 wait at most its own", wait <= 1, f"{wait:.2f}"))
        trips = ours.work.trips
        found.append(Target(f"{colour.name}: at most 4 trips for each", trips <= 4, f"{trips:.2f}"))
        found.append(Target(f"{colour.name}: most / least <= 1.2", ours.unfair <= 1.2, f"{ours.unfair:.2f}"))
    return found


def told(seen: list[Target], *, markdown: bool) -> str:
    rows = [[target.promise, target.seen, "yes" if target.met else "NO"] for target in seen]
    return render(["promise", "seen", "met"], rows, markdown=markdown)


RIVALS = {"tasks": FIFO, "threads": SIGNALS}
