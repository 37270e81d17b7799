"""Accounts: who may log in."""

from typing import NamedTuple

from sample_apps.shop.database import Database
from sample_apps.shop.passwords import NOBODYS, fits

KEEPERS = {"grace"}
"""Who may change what the catalogue says."""


class Account(NamedTuple):
    id: int
    name: str

    @property
    def keeps_shop(self) -> bool:
        return self.name in KEEPERS


def authenticate(database: Database, name: str, password: str) -> Account | None:
    """The account with this name and password. Takes a while on purpose."""
    with database.open() as rows:
        row = rows.execute("SELECT id, name, password FROM accounts WHERE name = ?", (name,)).fetchone()
    good = fits(password, row["password"] if row else NOBODYS)
    return Account(row["id"], row["name"]) if row and good else None


def account(database: Database, id: str | None) -> Account | None:
    """The account that a session's ``user_id`` names, if it still exists."""
    if id is None:
        return None
    with database.open() as rows:
        row = rows.execute("SELECT id, name FROM accounts WHERE id = ?", (id,)).fetchone()
    return Account(row["id"], row["name"]) if row else None
