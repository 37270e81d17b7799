"""Attempts of requests with an idempotency key, begun without a layer."""

from redis_mw import IdempotencyError
from redis_mw.http.request import Request
from redis_mw.idempotency.attempt import Attempt, begin
from redis_mw.idempotency.entry import Entry
from redis_mw.idempotency.room import Room
from redis_mw.policy.caller import Caller

SENDER = Caller(address="192.0.2.7")


def begun_by(caller: Caller, room: Room, entry: Entry, request: Request) -> Attempt | IdempotencyError | None:
    """What a request of this sender comes to."""
    attempt = begin(room, entry, request)
    if isinstance(attempt, Attempt):
        attempt.comes_from(caller, lambda template: template.text)
    return attempt
