"""A way to a server that can fall silent: what is sent on it is taken, and nothing comes back."""

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit


class Line:
    """Listens at ``url`` and passes on, until it ``falls_silent``; connections are accepted even then."""

    def __init__(self, url: str) -> None:
        at = urlsplit(url)
        self._server = (at.hostname, at.port)
        self._door = socket.create_server(("127.0.0.1", 0))
        self._silent = threading.Event()
        self._ends: list[socket.socket] = []
        self.url = f"redis://127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self) -> None:
        self._silent.set()

    def close(self) -> None:
        for end in (self._door, *self._ends):
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                server = socket.create_connection(self._server)
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._ends += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if not self._silent.is_set():
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
