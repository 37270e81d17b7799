"""The HTTP cache, redis-mw beside what Python applications cache with today: ``python -m benchmarks.cache``.

A measurement and no test: whatever comes out, it ends with 0 unless something breaks.
"""

import argparse
import os
import platform
import sys

from benchmarks.server import Watch, servers


def main() -> int:
    # Not above: every process that is spawned imports this module, and would import every library.
    from benchmarks.caching.contenders import beside, contenders, versions
    from benchmarks.caching.report import tables, targets, told
    from benchmarks.caching.run import FULL, QUICK, measured

    asked = _arguments()
    rows = contenders()
    if asked.only:
        chosen = {name: row for name, row in rows.items() if any(part in name for part in asked.only)}
    else:
        chosen = {name: row for name, row in rows.items() if row.quick or not asked.quick}
    if not chosen:
        print(f"Nobody is called that; there are: {', '.join(rows)}", file=sys.stderr)
        return 2
    with servers(len(chosen) + len(beside())) as urls:
        figures = measured(chosen, urls, QUICK if asked.quick else FULL)
        with Watch(urls[0]) as watch:
            server = watch.version()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"{versions()}; {server}, {python}, {os.cpu_count()} cores{', quick' if asked.quick else ''}\n")
    print(tables(chosen, figures, markdown=asked.markdown))
    print()
    print(told(targets(figures), markdown=asked.markdown))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about two minutes, less exact, fewer contenders")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    parser.add_argument("--only", action="append", metavar="NAME", help="rows whose name holds this; may be repeated")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
