"""A request as every framework has it, and its header fields. Built once per request, so it keeps what it is given."""

from typing import Protocol

import msgspec

from redis_mw.http.cookies import read_cookie, read_cookies


class Headers(Protocol):
    """Header fields, however they are kept; names compare without case."""

    def get(self, name: str) -> str | None:
        """The first value of that name."""
        ...

    def get_all(self, name: str) -> tuple[str, ...]:
        """Every value of that name, one for each line."""
        ...

    def has_any(self, names: frozenset[str]) -> bool:
        """Whether there is a field of one of these names, which are in lower case."""
        ...


class Fields(msgspec.Struct, frozen=True, gc=False):
    """Header fields as text, in the order they came."""

    pairs: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """The first value of that name."""
        wanted = name.lower()
        for each, value in self.pairs:
            if each.lower() == wanted:
                return value
        return None

    def get_all(self, name: str) -> tuple[str, ...]:
        """Every value of that name, one for each line."""
        wanted = name.lower()
        return tuple(value for each, value in self.pairs if each.lower() == wanted)

    def has_any(self, names: frozenset[str]) -> bool:
        """Whether there is a field of one of these names, which are in lower case."""
        return any(each.lower() in names for each, _ in self.pairs)


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request; ``path`` is decoded and what the framework routes on, ``query`` raw, ``client`` the address.

    ``host`` is the value of the Host field; ``client`` is None where the server does not know it (a Unix socket).
    ``root`` is where the application is mounted, which its path leaves out.
    """

    method: str
    path: str
    query: str = ""
    scheme: str = "http"
    host: str = ""
    headers: Headers = Fields()
    client: str | None = None
    root: str = ""

    def cookie(self, name: str) -> str | None:
        """The cookie's value; parsed when asked for."""
        return read_cookie(self.headers.get_all("cookie"), name)

    def cookies(self, name: str) -> tuple[str, ...]:
        """Every cookie of that name, the most specific path first; a sibling domain may have planted some."""
        return tuple(read_cookies(self.headers.get_all("cookie"), name))
