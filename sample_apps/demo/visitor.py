"""A visitor of the shops: HTTP with a cookie, as a browser has it, for the tour and for the tests."""

import json
from collections.abc import Mapping
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

PATIENCE = 20.0
JSON = "application/json"


class Reply(NamedTuple):
    """What a shop answered; field names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    set_cookie: str | None = None

    @property
    def data(self) -> Any:
        """The JSON; raises ``ValueError`` for anything else."""
        if self.headers.get("content-type") != JSON:
            raise ValueError(f"status {self.status} with {self.headers.get('content-type')}")
        return json.loads(self.body)


_addresses = (f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in count(1))


class Visitor:
    """Keeps the shop's cookie between requests, and the token of its forms. Asks for JSON unless told otherwise.

    Each comes from an ``address`` of its own, as the shop's proxy would say.
    """

    def __init__(
        self, agent: str = "tour", cookie: str | None = None, token: str | None = None, address: str | None = None
    ) -> None:
        self.address = address or next(_addresses)
        self.agent = agent
        self.cookie = cookie
        self.token = token

    def again(self) -> "Visitor":
        """A second tab of the same browser."""
        return Visitor(self.agent, self.cookie, self.token, self.address)

    def get(self, url: str, **headers: str) -> Reply:
        return self.ask("GET", url, None, headers)

    def post(self, url: str, form: Mapping[str, object] | None = None, **headers: str) -> Reply:
        """Send a form, with the token that the last answer held unless the form has one."""
        form = form or {}
        token = {"csrf": self.token} if self.token and "csrf" not in form else {}
        return self.ask("POST", url, {**token, **form}, headers)

    def ask(self, method: str, url: str, form: Mapping[str, object] | None, headers: Mapping[str, str]) -> Reply:
        parts = urlsplit(url)
        fields = {"Accept": JSON, "User-Agent": self.agent, "X-Forwarded-For": self.address, **headers}
        if self.cookie is not None:
            fields["Cookie"] = f"shop={self.cookie}"
        body = None
        if form is not None:
            fields["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(form)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
        try:
            connection.request(method, parts.path or "/", body, fields)
            response = connection.getresponse()
            reply = self._take(response.status, response.getheaders(), response.read())
        finally:
            connection.close()
        return reply

    def _take(self, status: int, headers: list[tuple[str, str]], body: bytes) -> Reply:
        lower: dict[str, str] = {}
        for name, value in headers:
            lower[name.lower()] = ", ".join(filter(None, [lower.get(name.lower()), value]))
        set_cookie = next((value for name, value in headers if name.lower() == "set-cookie"), None)
        if set_cookie is not None:
            given = SimpleCookie(set_cookie).get("shop")
            if given is not None:
                self.cookie = given.value if given["max-age"] != "0" and given.value else None
        reply = Reply(status, lower, body, set_cookie)
        if lower.get("content-type") == JSON and "csrf" in reply.data:
            self.token = reply.data["csrf"]
        return reply
