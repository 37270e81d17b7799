"""The carrier, who is asked what a delivery costs and told to fetch it: a slow partner over HTTP, or, where none is
named, one with a fixed price who always comes.
"""

import json
from urllib.request import urlopen

FIXED = 490
PATIENCE = 15.0


def quote(url: str, things: int) -> int:
    """The price of a delivery in cents; raises ``OSError`` if the carrier does not answer."""
    if not url:
        return FIXED
    with urlopen(f"{url}?things={things}", timeout=PATIENCE) as response:
        return int(json.load(response)["cents"])


def book(url: str, things: int) -> None:
    """Have a delivery fetched; raises ``OSError`` if the carrier does not answer."""
    if url:
        with urlopen(f"{url}?things={things}", timeout=PATIENCE, data=b"") as response:
            _ = response.read()
