"""What the shop sells."""

from typing import NamedTuple

from sample_apps.shop.database import Database


class Product(NamedTuple):
    id: int
    name: str
    about: str
    cents: int


def products(database: Database) -> list[Product]:
    """All products, in the order of the catalogue."""
    with database.open() as rows:
        return [Product(*row) for row in rows.execute("SELECT id, name, about, cents FROM products ORDER BY id")]


def product(database: Database, id: int) -> Product | None:
    """One product, or None."""
    with database.open() as rows:
        row = rows.execute("SELECT id, name, about, cents FROM products WHERE id = ?", (id,)).fetchone()
    return Product(*row) if row else None


def change(database: Database, id: int, about: str) -> Product | None:
    """Say something else about a product; gives it, or None if there is none."""
    with database.open() as rows:
        _ = rows.execute("UPDATE products SET about = ? WHERE id = ?", (about, id))
    return product(database, id)
