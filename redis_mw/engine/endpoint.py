"""Where a server is and how to introduce ourselves there: one value made from one url, used by both drivers.

redis-py's own url syntax is understood (``redis.connection.parse_url``), its ``ssl_*`` options included. Options by
which that client tunes its pool, retries or timeouts are refused: ours come from ``Settings``, and two of them would
contradict each other silently.
"""

import ssl
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
from redis.connection import parse_url

from redis_mw.errors import Problem, SettingsError
from redis_mw.flows import Argument

CLIENT_NAME = "redis-mw"
HOST = "127.0.0.1"
PORT = 6379
TLS_OPTIONS = frozenset(
    f"ssl_{name}"
    for name in (
        *("keyfile", "certfile", "password", "ca_certs", "ca_path", "ca_data", "cert_reqs", "check_hostname"),
        *("include_verify_flags", "exclude_verify_flags", "min_version", "ciphers"),
    )
)
OPTIONS = frozenset(("host", "port", "path", "db", "username", "password", "client_name")) | TLS_OPTIONS


class Endpoint(msgspec.Struct, frozen=True):
    """One server: its address, our credentials there, and how to trust it. ``name`` is for eyes and holds no password.

    ``path`` is a unix socket and excludes ``host``. ``tls`` holds the url's TLS options, or is None for plain text.
    """

    name: str
    host: str = HOST
    port: int = PORT
    path: str = ""
    db: int = 0
    username: str = ""
    password: str = ""
    client_name: str = CLIENT_NAME
    tls: Mapping[str, Any] | None = None
    replica: bool = False
    """A replica of a cluster, from which we read."""

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r})"

    @classmethod
    def from_url(cls, url: str) -> "Endpoint":
        """Read a ``redis://``, ``rediss://``, ``unix://`` or ``embedded://`` url; raises ``SettingsError``.

        An embedded server is started by this, so drivers call it when they first need the endpoint.
        """
        if urlsplit(url).scheme == "embedded":
            from redis_mw.engine.embedded import resolve  # starts a process: imported only by who asked for one

            url = resolve(url)
        try:
            options: dict[str, Any] = cast(Any, parse_url)(url)
            _ = options.pop("connection_class", None)
        except ValueError as error:
            raise _wrong(str(error), "give redis://, rediss://, unix:// or embedded://") from None
        if foreign := sorted(options.keys() - OPTIONS):
            raise _wrong(f"option {foreign[0]!r} has no effect here", "timeouts, pool and protocol belong to Settings")
        scheme = urlsplit(url).scheme
        if scheme != "unix" and not urlsplit(url).path.strip("/").isdecimal() and urlsplit(url).path.strip("/"):
            raise _wrong("the path is not the number of a database", "give redis://host:port/0")
        tls = {name: value for name, value in options.items() if name in TLS_OPTIONS}
        if tls and scheme != "rediss":
            raise _wrong(f"option {min(tls)!r} without TLS", "give rediss:// instead")
        try:
            address = options["path"] if scheme == "unix" else _address(options)
            name = f"{scheme}://{address}/{options.get('db', 0)}"
            plain = {name: options[name] for name in options.keys() - TLS_OPTIONS}
            endpoint = cls(name=name, tls=tls if scheme == "rediss" else None, **plain)
        except KeyError:
            raise _wrong("no path of a socket", "give unix:///path/to/socket") from None
        if endpoint.tls is not None:
            _ = endpoint.ssl_context()
        return endpoint

    def ssl_context(self) -> ssl.SSLContext | None:
        """How to trust the server, None for plain text; certificates are read anew, so a replaced file counts."""
        if self.tls is None:
            return None
        try:
            return _context(self.tls)
        except (OSError, ValueError) as error:
            raise _wrong(f"the TLS options cannot be used: {error}", "check the ssl_* options of the url") from None

    def handshake(self) -> tuple[tuple[Argument, ...], ...]:
        """The commands that open a connection, to be sent in one write before any other.

        The first, SELECT and READONLY must succeed. The reply of the others does not matter: an old server knows no
        SETINFO, a strict ACL may refuse it.
        """
        auth = ("AUTH", self.username or "default", self.password) if self.username or self.password else ()
        commands: list[tuple[Argument, ...]] = [("HELLO", 3, *auth, "SETNAME", self.client_name)]
        if self.db:
            commands.append(("SELECT", self.db))
        if self.replica:
            commands.append(("READONLY",))
        commands.append(("CLIENT", "SETINFO", "LIB-NAME", CLIENT_NAME))
        return tuple(commands)

    @property
    def required(self) -> int:
        """How many of the handshake's first replies must not be errors."""
        return 1 + (self.db > 0) + self.replica


def _address(options: Mapping[str, Any]) -> str:
    host = str(options.get("host", HOST))
    return f"{f'[{host}]' if ':' in host else host}:{options.get('port', PORT)}"


def _wrong(message: str, remedy: str) -> SettingsError:
    return SettingsError([Problem("url", message, remedy)])


def _context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """A client context by redis-py's options: verified unless told otherwise."""
    levels = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
    level = str(options.get("ssl_cert_reqs", "required"))
    if level not in levels:
        raise ValueError(f"ssl_cert_reqs is {level!r}, not one of {', '.join(levels)}")
    context = ssl.create_default_context()
    context.check_hostname = level != "none" and options.get("ssl_check_hostname") is not False
    context.verify_mode = levels[level]
    for flag in options.get("ssl_include_verify_flags", ()):
        context.verify_flags |= flag
    for flag in options.get("ssl_exclude_verify_flags", ()):
        context.verify_flags &= ~flag
    certificate, key = options.get("ssl_certfile"), options.get("ssl_keyfile")
    if certificate:
        context.load_cert_chain(certificate, key, options.get("ssl_password"))
    elif key:
        raise ValueError("ssl_keyfile without ssl_certfile")
    if any(f"ssl_ca_{part}" in options for part in ("certs", "path", "data")):
        context.load_verify_locations(
            options.get("ssl_ca_certs"), options.get("ssl_ca_path"), options.get("ssl_ca_data")
        )
    if (lowest := options.get("ssl_min_version")) is not None:
        context.minimum_version = ssl.TLSVersion(lowest)
    if ciphers := options.get("ssl_ciphers"):
        context.set_ciphers(ciphers)
    return context
