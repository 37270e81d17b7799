"""The market: one Valkey, one database, one carrier, and the shops that share them, each a server process."""

import os
import shutil
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

import redis

from redis_mw.engine.embedded import start_embedded
from sample_apps.demo.carrier import Carrier
from sample_apps.demo.child import Child
from sample_apps.demo.visitor import Visitor
from sample_apps.shop.database import Database

# The listening socket is their descriptor 0.
GUNICORN = ("gunicorn", "--bind=fd://0", "--threads=8", "--graceful-timeout=2", "--no-control-socket")
UVICORN = ("uvicorn", "--fd=0", "--no-access-log", "--timeout-graceful-shutdown=2")
COMMANDS = {
    "Starlette": (*UVICORN, "--factory", "sample_apps.starlette_shop:create_app"),
    "Django": (*GUNICORN, "sample_apps.django_shop.wsgi"),
    "Django ASGI": (*UVICORN, "--lifespan=off", "sample_apps.django_shop.asgi:application"),
    "Flask": (*GUNICORN, "sample_apps.flask_shop:create_app()"),
}


class Shop(NamedTuple):
    """One of the shops; ``url`` has no slash at its end."""

    name: str
    url: str
    child: Child


class Market:
    """Everything, running; leave the ``with`` block to end it all."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def _open(self) -> None:
        home = Path(tempfile.mkdtemp(prefix="redis-mw-shop-"))
        _ = self._stack.callback(shutil.rmtree, home, ignore_errors=True)
        self.valkey = start_embedded()
        _ = self._stack.callback(self.valkey.stop)
        self.redis = redis.Redis.from_url(self.valkey.url)
        _ = self._stack.callback(self.redis.close)
        self.carrier = Carrier()
        _ = self._stack.callback(self.carrier.close)
        self.database = Database(home / "shop.sqlite3")
        self.database.prepare()
        self._home = home
        self._environment = {
            "SHOP_REDIS": self.valkey.url,
            "SHOP_DATABASE": str(self.database.path),
            "SHOP_CARRIER": self.carrier.url,
            "DJANGO_SETTINGS_MODULE": "sample_apps.django_shop.settings",
        }
        self.shops = [self._start(name) for name in COMMANDS]
        # Their ends run side by side: all are asked before the first is waited for.
        for shop in self.shops:
            _ = self._stack.callback(shop.child.ask_to_stop)

    def another(self, shop: Shop) -> Shop:
        """A second process of a shop, which may be killed while the shop itself stays open."""
        return self._start(shop.name)

    def _start(self, name: str) -> Shop:
        with socket.socket() as listening:
            # The socket is ours from the start and handed over, so no other program can take the port in between.
            listening.bind(("127.0.0.1", 0))
            listening.listen(128)
            log = self._home / f"{name.replace(' ', '-').lower()}.log"
            child = self._stack.enter_context(Child(COMMANDS[name], self._environment, listening, log, self._home))
            return Shop(name, f"http://127.0.0.1:{listening.getsockname()[1]}", child)

    def await_answers(self) -> None:
        """Return when every shop answers; raises ``RuntimeError`` with the last words of one that does not."""
        for shop in self.shops:
            try:
                status = Visitor().get(f"{shop.url}/healthz").status
            except OSError as error:
                raise RuntimeError(f"{shop.name} did not start: {error!r}\n{shop.child.last_words()}") from error
            if status != 200:
                raise RuntimeError(f"{shop.name} answers with {status}:\n{shop.child.last_words()}")

    def signal_valkey(self, signal_number: int) -> None:
        """Send the Redis server a signal: SIGSTOP makes it silent, SIGCONT wakes it up."""
        os.kill(self.valkey.pid, signal_number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
