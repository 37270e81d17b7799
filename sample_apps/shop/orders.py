"""Orders: what was bought, kept in the database."""

from datetime import datetime
from typing import NamedTuple

from sample_apps.shop.cart import Line
from sample_apps.shop.database import Database


class Order(NamedTuple):
    id: int
    placed: str
    cents: int


class TakenOver(Exception):
    """Somebody who came later is at work on this cart: whoever was before lost the lock, and may not know it yet."""


def place(
    database: Database, account: int, cart: str, fence: int, lines: list[Line], delivery: int, now: datetime
) -> int:
    """Write an order of a cart down and say its number; ``fence`` is that of the lock under which this is done."""
    with database.open() as rows:
        kept = rows.execute(
            "INSERT INTO carts VALUES (?, ?) ON CONFLICT (cart) DO UPDATE SET fence = excluded.fence "
            "WHERE carts.fence <= excluded.fence",
            (cart, fence),
        )
        if not kept.rowcount:
            raise TakenOver
        order = rows.execute(
            "INSERT INTO orders (account, placed, cents) VALUES (?, ?, ?)",
            (account, now.isoformat(timespec="seconds"), sum(line.cents for line in lines) + delivery),
        ).lastrowid
        _ = rows.executemany(
            "INSERT INTO lines VALUES (?, ?, ?, ?)",
            [(order, line.product.id, line.quantity, line.cents) for line in lines],
        )
    assert order is not None
    return order


def of_account(database: Database, account: int) -> list[Order]:
    """Somebody's orders, the latest first."""
    query = "SELECT id, placed, cents FROM orders WHERE account = ? ORDER BY id DESC"
    with database.open() as rows:
        return [Order(*row) for row in rows.execute(query, (account,))]
