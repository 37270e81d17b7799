"""A visitor's WebSocket."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import connect

from sample_apps.demo.visitor import PATIENCE, Visitor


@contextmanager
def last_message(url: str, visitor: Visitor) -> Iterator[Callable[[], Any]]:
    """Connect with the visitor's cookie and take the greeting; what is given waits for the message that follows."""
    fields = {"Cookie": f"shop={visitor.cookie}"}
    with connect(url.replace("http:", "ws:"), additional_headers=fields, proxy=None) as socket:
        _ = socket.recv(PATIENCE)
        yield lambda: json.loads(socket.recv(PATIENCE))
