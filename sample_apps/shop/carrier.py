"""The carrier that is asked what a delivery costs: a slow partner over HTTP, or a fixed price where none is named."""

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
