"""How the shop is set up, from the environment, alike under every framework.

``SHOP_REDIS`` and ``SHOP_DATABASE`` say where, ``SHOP_CARRIER`` which carrier to ask for the price of a delivery.
"""

import os
from typing import NamedTuple

from redis_mw import Cookie, Sessions, Settings
from sample_apps.shop.database import Database

SECRET = "a secret for a shop that runs on one machine only"
"""Good for a sample; a real one comes from where a deployment keeps its secrets."""


COOKIE = "shop"


class Shop(NamedTuple):
    """What the pages need to know besides the request."""

    database: Database
    carrier: str = ""


def shop() -> Shop:
    """The shop of this process, its database made if need be."""
    database = Database(os.environ.get("SHOP_DATABASE", "shop.sqlite3"))
    database.prepare()
    return Shop(database, os.environ.get("SHOP_CARRIER", ""))


def settings() -> Settings:
    """The settings of all three faces: equal secret, prefix and cookie name make it one session."""
    return Settings(
        url=os.environ.get("SHOP_REDIS", "embedded://"),
        prefix="shop",
        secret=SECRET,
        sessions=Sessions(skip=["/healthz"], cookie=Cookie(name=COOKIE, secure=False)),
    )
