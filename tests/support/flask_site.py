"""A Flask application whose pages are cached, and how it is asked."""

from flask import Flask
from werkzeug.test import TestResponse

from redis_mw import Cached, Event, Rule
from redis_mw.testing import count_round_trips

PAGE = Rule("/page", cache=Cached(60, jitter=0))


class FlaskSite:
    """Asks for ``/page``, unless told otherwise, without cookies; ``visitor`` is a client that keeps them.

    ``made`` are the fields of the requests that the view at ``/page`` has seen.
    """

    def __init__(self, app: Flask, heard: list[Event]) -> None:
        self.app, self.heard = app, heard
        self.mw = app.extensions["redis_mw"].mw
        self.made: list[dict[str, str]] = []
        self.visitor = app.test_client()
        self._nobody = app.test_client(use_cookies=False)

    def get(self, path: str = "/page", **fields: str) -> TestResponse:
        return self.send("GET", path, **fields)

    def send(self, method: str, path: str = "/page", **fields: str) -> TestResponse:
        answer = self._nobody.open(path, method=method, headers=named(fields))
        _ = answer.get_data()  # to its end
        answer.close()
        return answer

    def trips(self, path: str = "/page", **fields: str) -> int:
        with count_round_trips() as trips:
            _ = self.get(path, **fields)
        return trips.awaited

    def outcomes(self, name: str) -> list[str]:
        return [event.outcome for event in self.heard if event.name == name]


def named(fields: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in fields.items()}


def status_of(response: TestResponse) -> str:
    """What we say of the cache, without numbers that move."""
    parts = response.headers.get("cache-status", "").split(";")
    return ";".join(part for part in parts[1:] if not part.startswith("ttl="))
