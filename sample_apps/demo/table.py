"""The table that the tour prints: one row a step, as it happens."""

import sys
from typing import TextIO

WHERE, WHAT, EXPECTED = 11, 44, 25


class Table:
    """Prints rows under headings, and counts those whose expectation was not met."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self.rows = 0
        self.differing = 0

    def heading(self, text: str) -> None:
        self._print(f"\n{text}")

    def row(self, where: str, what: str, expected: object, seen: object) -> None:
        """One step: under which framework, what was done, what should come of it, what did."""
        self.rows += 1
        expected, seen = str(expected), str(seen)
        mark = "ok     " if expected == seen else "DIFFERS"
        self.differing += expected != seen
        self._print(f"{mark} {where:<{WHERE}} {what:<{WHAT}} {expected:<{EXPECTED}} {seen}")

    def columns(self) -> None:
        """The names of the columns."""
        self._print(f"{'':7} {'where':<{WHERE}} {'what was done':<{WHAT}} {'expected':<{EXPECTED}} seen")
        self._print("-" * (8 + WHERE + 1 + WHAT + 1 + 2 * EXPECTED + 1))

    def _print(self, line: str) -> None:
        print(line, file=self._out, flush=True)
