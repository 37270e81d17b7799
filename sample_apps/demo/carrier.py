"""The carrier that the shops ask for the price of a delivery, and that can be told to keep them waiting.

A request of a visitor is in flight for as long as its shop waits here, so what happens meanwhile needs no clock.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CENTS = 650
PATIENCE = 20.0


class Carrier:
    """Answers on ``url`` with one price for everything."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self._asked = threading.Event()
        carrier = self

        class Desk(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                self.answer()

            def answer(self) -> None:
                carrier._asked.set()
                _ = carrier._open.wait(PATIENCE)
                body = json.dumps({"cents": CENTS}).encode()
                with suppress(ConnectionError):  # whoever asked may be dead by now
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    _ = self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Desk)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @contextmanager
    def busy(self) -> Iterator[threading.Event]:
        """Answer nobody within this block. The event is set when a shop has asked."""
        self._asked.clear()
        self._open.clear()
        try:
            yield self._asked
        finally:
            self._open.set()

    def close(self) -> None:
        """Close the desk."""
        self._open.set()
        self._server.shutdown()
        self._server.server_close()
