"""The cart: what the session holds of it, and what it comes to.

Each product is a key of its own, ``cart:<product>``, since redis-mw merges by top-level keys: of two requests at the
same moment that add different products neither undoes the other.
"""

from collections.abc import MutableMapping
from datetime import datetime
from typing import Any, NamedTuple

from sample_apps.shop.catalogue import Product

PREFIX = "cart:"
DELIVERY = "delivery"
MOST = 99

Values = MutableMapping[str, Any]
"""Django's session is not quite one: it cannot be iterated, so ``items`` is used."""


class Line(NamedTuple):
    product: Product
    quantity: int
    added: datetime

    @property
    def cents(self) -> int:
        return self.product.cents * self.quantity


def add(session: Values, product: int, quantity: int, now: datetime) -> None:
    """Put some more of a product into the cart."""
    put(session, product, quantity_of(session, product) + quantity, now)


def put(session: Values, product: int, quantity: int, now: datetime) -> None:
    """Say how much of a product is in the cart; 0 takes it out."""
    key, quantity = f"{PREFIX}{product}", min(quantity, MOST)
    if quantity <= 0:
        session.pop(key, None)
    elif key in session:
        session[key]["quantity"] = quantity  # a change inside a value is noticed, too
    else:
        session[key] = {"quantity": quantity, "added": now}


def clear(session: Values) -> None:
    """Empty the cart, and only it."""
    for key in [key for key, _ in session.items() if key.startswith(PREFIX) or key == DELIVERY]:
        del session[key]


def quantity_of(session: Values, product: int) -> int:
    """How much of a product is in the cart."""
    key = f"{PREFIX}{product}"
    return session[key]["quantity"] if key in session else 0


def count(session: Values) -> int:
    """How many things are in the cart."""
    return sum(value["quantity"] for key, value in session.items() if key.startswith(PREFIX))


def lines(session: Values, products: list[Product]) -> list[Line]:
    """The cart's lines, the first added first; what the shop no longer sells is left out."""
    found = ((product, session.get(f"{PREFIX}{product.id}")) for product in products)
    held = [Line(product, value["quantity"], value["added"]) for product, value in found if value is not None]
    return sorted(held, key=lambda line: line.added)


def quoted(session: Values, things: int, cents: int) -> None:
    """Keep what a delivery of so many things costs."""
    session[DELIVERY] = {"things": things, "cents": cents}


def delivery(session: Values) -> int:
    """What the delivery costs; 0 where none was asked for, or it was for another cart: then it is fetched."""
    kept = session.get(DELIVERY)
    return kept["cents"] if kept is not None and kept["things"] == count(session) else 0
