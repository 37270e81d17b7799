"""The figures of a run, as tables, and beside what redis-mw promises."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.limiting import crowd, memory
from benchmarks.limiting.attacks import Pace, Worst
from benchmarks.limiting.crowd import Admitted
from benchmarks.limiting.limiter import Contender
from benchmarks.limiting.memory import Kept
from benchmarks.limiting.speed import Trips
from benchmarks.server import Work
from benchmarks.table import render


@dataclass(frozen=True)
class Figures:
    """All that was measured of one contender."""

    contender: Contender
    times: dict[str, float]
    """Of ``one``, ``three``, ``refused`` and ``again`` against PING; ``ping_us``."""
    trips: Trips
    throughput: float
    admitted: Admitted
    worst: Worst
    pace: Pace
    kept: Kept


Column = tuple[str, Callable[[Figures], str]]
"""A heading, and what stands below it."""


class Target(NamedTuple):
    """What redis-mw promises; ``seen`` has one figure for each of its algorithms that promises it."""

    promise: str
    met: bool
    seen: str


def tables(rows: Sequence[Figures], *, markdown: bool) -> str:
    crowded = f"{crowd.TRIES} tries at once on a limit of {crowd.QUOTA.count}"
    parts = [
        ("What a check costs: median time against a PING of the same client, and what the server did for it", _costs),
        (f"What is let through, divided by the limit under attack; {crowded}", _lets),
        (
            f"What stays on the server: bytes of one client on a limit of {memory.QUOTA.count}, keys that never end",
            _keeps,
        ),
    ]
    texts = [f"{'### ' if markdown else ''}{title}\n\n{_table(part, rows, markdown)}" for title, part in parts]
    notes = dict.fromkeys(row.contender.note for row in rows if row.contender.note)
    return "\n\n".join([*texts, *notes])


def _table(columns: Sequence[Column], rows: Sequence[Figures], markdown: bool) -> str:
    headings = ["", *(heading for heading, _ in columns)]
    return render(
        headings, [[row.contender.name, *(cell(row) for _, cell in columns)] for row in rows], markdown=markdown
    )


def _worked(work: Work) -> str:
    return f"{work.trips:.3g} / {work.commands:.3g}"


_costs: list[Column] = [
    ("one|limit", lambda row: f"{row.times['one']:.2f}"),
    ("three|limits", lambda row: f"{row.times['three']:.2f}"),
    ("three, third|refuses", lambda row: f"{row.times['refused']:.2f}"),
    ("three,|refused again", lambda row: f"{row.times['again']:.2f}"),
    ("trips / commands|one", lambda row: _worked(row.trips.one)),
    ("|three", lambda row: _worked(row.trips.three)),
    ("three, third|refuses", lambda row: _worked(row.trips.refused)),
    ("three,|refused again", lambda row: _worked(row.trips.again)),
    ("50 tasks:|checks / INCRs", lambda row: f"{row.throughput:.2f}"),
    ("PING|us", lambda row: f"{row.times['ping_us']:.0f}"),
]
_lets: list[Column] = [
    ("at once by|threads", lambda row: str(row.admitted.threads)),
    ("|tasks", lambda row: str(row.admitted.tasks)),
    ("|processes", lambda row: str(row.admitted.processes)),
    ("any window|certain", lambda row: f"{row.worst.certain:.2f}"),
    ("|possible", lambda row: f"{row.worst.possible:.2f}"),
    ("by attack", lambda row: row.worst.attack),
    ("hammering,|long run", lambda row: f"{row.pace.rate:.2f}"),
]
_keeps: list[Column] = [
    ("after|one hit", lambda row: str(row.kept.once)),
    ("|full", lambda row: str(row.kept.full)),
    ("|flooded", lambda row: str(row.kept.flood)),
    ("keys|without a TTL", lambda row: f"{row.kept.endless} of {row.kept.keys}"),
]


def targets(rows: Iterable[Figures]) -> list[Target]:
    """What redis-mw promises, against what was seen; empty where it did not take part."""
    ours = [row for row in rows if row.contender.ours]
    if not ours:
        return []
    bounded = [row for row in ours if row.contender.bounded]

    def all_there_is(row: Figures, admitted: float) -> bool:
        return admitted == row.contender.at_once(crowd.QUOTA.count)

    return [
        _target("one limit takes at most 1.7 PINGs", ours, lambda row: row.times["one"], lambda row, x: x <= 1.7),
        _target("three limits take at most 1.9", ours, lambda row: row.times["three"], lambda row, x: x <= 1.9),
        _target("so they do when the third refuses", ours, lambda row: row.times["refused"], lambda row, x: x <= 1.9),
        _target("any number of limits is one trip", ours, lambda row: row.trips.three.trips, lambda row, x: x < 1.05),
        _target("who is refused again costs none", ours, lambda row: row.trips.again.trips, lambda row, x: x < 0.05),
        _target("a crowd of threads gets what there is", ours, lambda row: row.admitted.threads, all_there_is),
        _target("a crowd of tasks gets what there is", ours, lambda row: row.admitted.tasks, all_there_is),
        _target("a crowd of processes gets what there is", ours, lambda row: row.admitted.processes, all_there_is),
        _target(
            "no window of a period holds more than the limit",
            bounded,
            lambda row: row.worst.certain,
            lambda row, x: x <= 1.0,
        ),
        _target(
            "a hammering client gets at least 0.94 of its limit (strict: of what its burst leaves)",
            ours,
            lambda row: row.pace.rate / row.contender.lasting,
            lambda row, x: x >= 0.94,
        ),
        _target(
            "a client takes at most 256 bytes",
            ours,
            lambda row: max(row.kept.once, row.kept.full, row.kept.flood),
            lambda row, x: x <= 256,
        ),
        _target("no key is without a TTL", ours, lambda row: row.kept.endless, lambda row, x: x == 0),
    ]


def _target(
    promise: str,
    rows: Sequence[Figures],
    figure: Callable[[Figures], float],
    holds: Callable[[Figures, float], bool],
) -> Target:
    seen = [(row, figure(row)) for row in rows]
    told = ", ".join(f"{row.contender.name.removeprefix('redis-mw ')} {value:.3g}" for row, value in seen)
    return Target(promise, all(holds(row, value) for row, value in seen), told)


def told(seen: Sequence[Target], *, markdown: bool) -> str:
    """A line for each, those that were missed marked."""
    marked = [("met" if target.met else "MISSED", f"{target.promise}: {target.seen}") for target in seen]
    if markdown:
        return "\n".join(["### What redis-mw promises", "", *(f"- {mark}: {text}" for mark, text in marked)])
    return "\n".join(["What redis-mw promises", "", *(f"{mark:<6}  {text}" for mark, text in marked)])
