"""``python -m sample_apps.demo [--once] [--steps ...]``: open the market, take the tour, stay for visitors.

Exits with 0 if every row of the tour came out as expected, with 1 if one did not or a shop did not start. Without a
terminal, or with ``--once``, it ends after the tour; on a terminal it stays until Ctrl-C.
"""

import argparse
import signal
import sys
import time
from types import FrameType

from sample_apps.demo.market import Market
from sample_apps.demo.table import Table
from sample_apps.demo.tour import STEPS, take


def main() -> int:
    parser = argparse.ArgumentParser("python -m sample_apps.demo", description="The sample shop on three frameworks.")
    _ = parser.add_argument("--once", action="store_true", help="end after the tour, on a terminal too")
    _ = parser.add_argument("--steps", nargs="+", choices=list(STEPS), help="only these steps of the tour")
    asked = parser.parse_args()
    _ = signal.signal(signal.SIGTERM, leave)
    try:
        with Market() as market:
            try:
                market.await_answers()
            except RuntimeError as error:
                print(error, file=sys.stderr)
                return 1
            print(f"One database, one Valkey ({market.valkey.url}), {len(market.shops)} shops:")
            print(f"\n{addresses(market)}\n", flush=True)
            table = Table()
            take(market, table, asked.steps)
            print(f"\n{table.rows} rows, {table.differing} differing.", flush=True)
            stay = not asked.once and sys.stdin.isatty() and sys.stdout.isatty()
            return int(bool(table.differing) | (stay and not receive_visitors(market)))
    except KeyboardInterrupt:
        return 130


def receive_visitors(market: Market) -> bool:
    """Stay until Ctrl-C; False if a shop ended before that."""
    print(f"\nThe shops stay open until Ctrl-C. Log in as ada (analytical engine).\n\n{addresses(market)}", flush=True)
    try:
        while True:
            for shop in market.shops:
                if not shop.child.alive:
                    print(f"\n{shop.name} has ended:\n{shop.child.last_words()}", file=sys.stderr)
                    return False
            time.sleep(1)
    except KeyboardInterrupt:
        print()
        return True


def addresses(market: Market) -> str:
    return "\n".join(f"  {shop.name:<12} {shop.url}/" for shop in market.shops)


def leave(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the demo by the same way as everything else, so that nothing is left running."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
