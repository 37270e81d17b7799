"""RESP3 as both drivers speak it: commands packed to bytes, error replies turned into values, nothing decoded."""

from collections.abc import Iterable
from typing import Any, cast

import hiredis

from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.flows import Argument, Failure

AWAY = frozenset({"LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOAUTH", "WRONGPASS"})
"""Codes by which a server says that it does not serve this now: for a flow that is an outage, not an answer."""

NOTHING = object()
"""What ``reader().gets()`` gives while a reply is not complete; None and False are replies."""


def packed(commands: Iterable[tuple[Argument, ...]]) -> bytes:
    """Commands as they travel."""
    return b"".join([hiredis.pack_command(cast(Any, words)) for words in commands])


def failure(message: str) -> Failure:
    """An error reply as the value that flows know; its code is the first word."""
    code, _, rest = message.partition(" ")
    if code in AWAY:
        return RedisUnavailable(f"Redis is not ready: {code} {rest}")
    return CommandError(code, rest)


def reader() -> hiredis.Reader:
    """A parser of replies; error replies come out of it as ``CommandError`` or ``RedisUnavailable`` values."""
    return hiredis.Reader(replyError=failure, notEnoughData=NOTHING)
