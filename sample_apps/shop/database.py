"""The shop's SQLite file: its schema, its first rows, and how it is opened."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sample_apps.shop.passwords import hashed

SCHEMA = """
CREATE TABLE IF NOT EXISTS products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, about TEXT NOT NULL,
                                     cents INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, password TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders   (id INTEGER PRIMARY KEY, account INTEGER NOT NULL REFERENCES accounts,
                                     placed TEXT NOT NULL, cents INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS carts    (cart TEXT PRIMARY KEY, fence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS lines    (ordered INTEGER NOT NULL REFERENCES orders, product INTEGER NOT NULL
                                     REFERENCES products, quantity INTEGER NOT NULL, cents INTEGER NOT NULL);
"""

PRODUCTS = [
    (1, "Teapot", "Stoneware, holds a litre, pours without dripping.", 3400),
    (2, "Tea towel", "Linen, woven in one piece, gets softer with the years.", 1250),
    (3, "Egg timer", "Three, four or five minutes of fine sand.", 890),
    (4, "Bread knife", "Cuts crust and crumb alike.", 4600),
    (5, "Honey", "From lime trees; 500 grams.", 975),
    (6, "Salt & pepper", "Two mills, one oak and one walnut.", 5200),
]
CUSTOMERS = [(1, "ada", "analytical engine"), (2, "grace", "nanoseconds of wire")]
"""Who may log in to the sample shop, with passwords that its login page tells everybody."""


class Database:
    """One SQLite file. A connection serves one thread for one piece of work, and is closed after it."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def prepare(self) -> None:
        """Make the tables and the first rows, unless they are there."""
        with closing(sqlite3.connect(self.path)) as rows:
            _ = rows.execute("PRAGMA journal_mode = WAL")
            _ = rows.executescript(SCHEMA)
            _ = rows.executemany("INSERT OR IGNORE INTO products VALUES (?, ?, ?, ?)", PRODUCTS)
            if not rows.execute("SELECT 1 FROM accounts").fetchone():
                accounts = [(id, name, hashed(password)) for id, name, password in CUSTOMERS]
                _ = rows.executemany("INSERT OR IGNORE INTO accounts VALUES (?, ?, ?)", accounts)
            rows.commit()

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection; what was written through it counts when the block ends well, and not otherwise."""
        with closing(sqlite3.connect(self.path, timeout=5.0)) as rows:
            rows.row_factory = sqlite3.Row
            with rows:
                yield rows
