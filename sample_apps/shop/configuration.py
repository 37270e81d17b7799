"""How the shop is set up, from the environment, alike under every framework.

``SHOP_REDIS`` and ``SHOP_DATABASE`` say where, ``SHOP_CARRIER`` which carrier to ask for the price of a delivery.
"""

import os
from typing import NamedTuple

from redis_mw import Cached, Cookie, Idempotent, Limit, Limits, Lock, Rule, Sessions, Settings
from sample_apps.shop.database import Database

SECRET = "a secret for a shop that runs on one machine only"
"""Good for a sample; a real one comes from where a deployment keeps its secrets."""


COOKIE = "shop"
PROXIES = ["127.0.0.1"]
"""The shop stands behind a proxy on its own machine, which says where visitors come from."""
EVERYTHING = Limit("120/minute", name="visitors")
"""What one address may ask of all shops together."""
LOGINS = Limit("5/minute", name="logins", count="failed")
"""Logins of one address that fail."""
ACCOUNT = "account"
ATTEMPTS = Limit("5/minute", name=ACCOUNT, by="user")
"""Logins to one account, wherever they come from; one that succeeds gives its own back."""
ONE_CHECKOUT = Lock("cart:{session}", ttl=5, wait=15)
"""One checkout of a cart at a time; who comes second finds it empty. If a shop dies, the next one waits for the ttl."""
ONE_ORDER = Idempotent(wait=15)
"""A checkout that is sent again with its Idempotency-Key gets the answer of the first one."""

CATALOGUE = Cached(60, tags=["catalogue"], stale=30)
"""The front page is made once a minute, or when something in it was changed."""
PRODUCT = Cached(60, tags=["catalogue", "product:{id}"], stale=30, stale_if_error=600)
"""So is the page of a product; that there is none is remembered for ten seconds, as everywhere."""


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
    """The settings of all three faces: equal secret, prefix and cookie name make it one session.

    Limits wait longer for Redis than they would by themselves: four shops share this machine with their visitors.
    """
    return Settings(
        url=os.environ.get("SHOP_REDIS", "embedded://"),
        prefix="shop",
        secret=SECRET,
        trusted_proxies=PROXIES,
        patience=1.0,
        connect_within=1.0,
        limits=Limits(named={ACCOUNT: ATTEMPTS}, default=[EVERYTHING]),
        rules=[
            Rule("/login", methods=["POST"], limits=[LOGINS]),
            Rule("/checkout", methods=["POST"], lock=ONE_CHECKOUT, idempotency=ONE_ORDER),
            Rule("/", cache=CATALOGUE),
            Rule("/products/{id}", cache=PRODUCT),
        ],
        sessions=Sessions(skip=["/healthz"], cookie=Cookie(name=COOKIE, secure=False)),
    )
