"""Server urls: which are understood, and how they look with the password taken out."""

import re
from typing import Annotated, Any, TypeAlias
from urllib.parse import SplitResult, parse_qsl, urlsplit

from redis_mw.settings.must import Must, Wrong
from redis_mw.settings.nearest import nearest

ROLES = ("default", "sessions", "cache", "limits", "locks")
SCHEMES = ("redis", "rediss", "unix", "embedded", "cluster")
LATER = ("sentinel",)

_PLAIN = ("db", "username", "password", "client_name")
_TLS = tuple(
    f"ssl_{name}"
    for name in (
        "ca_certs", "ca_data", "ca_path", "cert_reqs", "certfile", "check_hostname", "ciphers", "exclude_verify_flags",
        "include_verify_flags", "keyfile", "min_version", "password",
    )
)  # fmt: skip
_OPTIONS = {
    "redis": _PLAIN,
    "unix": _PLAIN,
    "rediss": (*_PLAIN, *_TLS),
    "cluster": (*(name for name in _PLAIN if name != "db"), "ssl", *_TLS),
}

# Greedy: a password that was not percent-encoded may itself hold any of : / ? # @.
_PASSWORD = re.compile(r"://([^:/?#@]*:)?.*@", re.DOTALL)
_QUERY_PASSWORD = re.compile(r"([?&](?:ssl_)?password=)[^&]*", re.IGNORECASE | re.DOTALL)
# One after the ? that holds an @: where the other one would end cannot be told.
_EITHER_PASSWORD = re.compile(r"://.*[?&](?:ssl_)?password=[^&]*@.*", re.IGNORECASE | re.DOTALL)


def masked(url: Any) -> Any:
    """The url (or mapping of urls) without its password, for logs and ``repr``."""
    if isinstance(url, dict):
        return {role: masked(each) for role, each in url.items()}
    if not isinstance(url, str):
        return "***"
    return _QUERY_PASSWORD.sub(r"\1***", _PASSWORD.sub(r"://\1***@", _EITHER_PASSWORD.sub("://***", url)))


def is_cluster(url: Any) -> bool:
    """Whether it names a cluster, whose keys are spread over servers."""
    return isinstance(url, str) and url.startswith("cluster://")


def _server_url(url: str) -> Wrong | None:
    """Never repeats the url: it may hold a password, and a broken one may hold it anywhere."""
    if any(character <= " " or character == "\x7f" for character in url):
        return Wrong("holds white space or a control character", "percent-encode it, or take it out")
    scheme, separator, _ = url.partition("://")
    if not separator:
        return Wrong("is not a url", 'write it like "redis://127.0.0.1:6379/0"')
    if scheme in LATER:
        return Wrong(f"{scheme}:// is not in this version", "give one server: redis://, rediss:// or unix://")
    if scheme not in SCHEMES:
        return Wrong("its scheme is not known", nearest(scheme, SCHEMES) if len(scheme) < 12 else "start with redis://")
    urls = servers(url) if scheme == "cluster" else [url]
    if not all(urls):
        return Wrong("a server has no name", 'write it like "cluster://10.0.0.1:6379,10.0.0.2:6379"')
    try:
        places = [urlsplit(each) for each in urls]
        _ = [place.port for place in places]
    except ValueError:
        return Wrong(
            "its host or port cannot be read",
            "the port is a number from 1 to 65535; write / ? # [ ] in a password as %2F %3F %23 %5B %5D",
        )
    return _fragment(places[0]) or next(filter(None, map(_place, places)), None) or _options(places[0])


def servers(url: str) -> list[str]:
    """The servers of a ``cluster://`` url, each as a url of its own with all the rest; "" where a name is missing.

    The whole is not for ``urlsplit``: newer Pythons let an IPv6 address stand nowhere but alone.
    """
    place = re.split("[/?#]", url.removeprefix("cluster://"), maxsplit=1)[0]
    rest = url.removeprefix(f"cluster://{place}")
    credentials, at, hosts = place.rpartition("@")
    return [name and f"cluster://{credentials}{at}{name}{rest}" for name in hosts.split(",")]


def _fragment(parts: SplitResult) -> Wrong | None:
    return Wrong('holds a "#"', 'write it as "%23" in a password or path') if parts.fragment else None


def _place(parts: SplitResult) -> Wrong | None:
    if parts.scheme in ("embedded", "unix"):
        if parts.scheme == "embedded" and parts.netloc:
            return Wrong("embedded:// takes no host", "write embedded:// or embedded:///path")
        if parts.scheme == "unix" and len(parts.path) < 2:
            return Wrong("unix:// needs the path of a socket", 'write it like "unix:///run/redis.sock?db=0"')
        return None
    if parts.port == 0:
        return Wrong("port 0 is not a port", "give the port the server listens on, mostly 6379")
    if "@" in (parts.username or "") or "@" in (parts.password or ""):
        return Wrong("holds more than one @", 'write it as "%40" in a user name or password')
    database = parts.path.removeprefix("/")
    if parts.scheme == "cluster" and database not in ("", "0"):
        return Wrong("a cluster has no databases", "leave out what follows its servers")
    if database and not _is_number(database):
        return Wrong("its database is not a number", "end it with /0, /1, ...")
    return None


def _options(parts: SplitResult) -> Wrong | None:
    known = _OPTIONS.get(parts.scheme, ())
    try:
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return Wrong("what follows its ? cannot be read", "write name=value, joined by &")
    for name, value in options:
        if name not in known:
            return Wrong("an option after its ? is not known", "known: " + (", ".join(known) or "none"))
        if name == "db" and not _is_number(value):
            return Wrong("its database is not a number", "write db=0, db=1, ...")
        if name == "ssl" and value not in ("true", "false"):
            return Wrong("its ssl is neither true nor false", "write ssl=true")
    if ("ssl", "false") in options and any(name.startswith("ssl_") for name, _ in options):
        return Wrong("ssl is false, but there are options of TLS", "take one of them out")
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6


def _role(name: str) -> Wrong | None:
    if name == "idempotency":
        return Wrong("has no url of its own", 'idempotency lives where "locks" does')
    return None if name in ROLES else Wrong("unknown role", nearest(name, ROLES))


ServerUrl: TypeAlias = Annotated[str, Must(_server_url)]
RoleName: TypeAlias = Annotated[str, Must(_role)]
