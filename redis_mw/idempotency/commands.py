"""The commands of the idempotency room: what each script is called with and what its reply means.

===========================  =========================================================================================
``<prefix>:i1:{<name>}:h``   the record of one key of one caller, a hash, see ``claim.lua``; ``name`` is a hash of both
``<the same>:w``             the channel on which the end of its run is announced
===========================  =========================================================================================

Each script has a model in plain Python (``model``).
"""

from typing import Any, Literal, TypeAlias, cast

import msgspec

from redis_mw.flows import Argument, Command, Script
from redis_mw.keys import key
from redis_mw.scripts import script

HERE = "redis_mw.idempotency"
CLAIM = script(HERE, "claim")
COMPLETE = script(HERE, "complete")
RELEASE = script(HERE, "release")
RENEW = script(HERE, "renew")

Status: TypeAlias = Literal["first", "busy", "orphan", "done", "mismatch", "damaged"]


class Ask(msgspec.Struct, frozen=True, gc=False):
    """One request's question: the name of its record, its fingerprint, and whose the run would be."""

    name: str
    fingerprint: bytes
    owner: str


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """The reply of ``claim``: ``run`` counts runs (first), ``left_us`` is of the lease (busy), ``response`` of done."""

    status: Status
    run: int = 0
    left_us: int = 0
    response: bytes = b""


class Terms(msgspec.Struct, frozen=True, gc=False):
    """How long records live, and a claim without being renewed; what becomes of it then."""

    ttl_ms: int
    lease_us: int
    dead: Literal["retry", "unknown"] = "retry"


class Commands:
    """Builds the commands for one prefix. ``now_us`` overrides the server's clock, for tests."""

    def __init__(self, prefix: str, terms: Terms, patience_us: int) -> None:
        self._prefix = prefix
        self._terms = terms
        self._patience_us = patience_us
        self.now_us: int | str = ""

    def key(self, name: str) -> str:
        return key(self._prefix, "i1", name, "h")

    def channel(self, name: str) -> str:
        """Where it is announced that a run is over."""
        return self.key(name) + ":w"

    def claim(self, ask: Ask, *, listen: bool = False) -> Command[Claimed]:
        """``listen``: be told of the end of the run that has the key, if there is one."""
        terms = self._terms
        words = (self.now_us, ask.fingerprint, ask.owner, terms.lease_us, terms.ttl_ms, terms.dead)
        wakes = (self.channel(ask.name),) if listen else ()
        # The stored response comes with the reply, so it may be large.
        return self._command(words, _claimed, ask.name, CLAIM, bulk=True, wakes=wakes)

    def complete(self, ask: Ask, response: bytes) -> Command[bool]:
        words = (ask.fingerprint, ask.owner, response, self._terms.ttl_ms)
        return self._command(words, bool, ask.name, COMPLETE)

    def release(self, ask: Ask) -> Command[bool]:
        return self._command((ask.owner,), bool, ask.name, RELEASE)

    def forget(self, name: str) -> Command[bool]:
        """Whatever is stored under the name, whoever's it is."""
        return self._command(("",), bool, name, RELEASE)

    def renew(self, name: str, owner: str) -> Command[bool]:
        words = (self.now_us, owner, self._terms.lease_us, self._terms.ttl_ms)
        return self._command(words, bool, name, RENEW)

    def _command(self, words: tuple[Argument, ...], parse: Any, name: str, script: Script, **more: Any) -> Command[Any]:
        keys = (self.key(name),)
        return Command(words, parse, keys, script, role="locks", patience_us=self._patience_us, **more)


def _claimed(reply: list[Any]) -> Claimed:
    status = cast(Status, reply[0].decode())
    match status:
        case "first":
            return Claimed(status, run=int(reply[1]))
        case "busy":
            return Claimed(status, left_us=int(reply[1]))
        case "done":
            return Claimed(status, response=reply[1])
        case _:
            return Claimed(status)
