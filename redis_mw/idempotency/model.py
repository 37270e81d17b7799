"""What the scripts promise, in plain Python: tests compare the two, and people read this one.

A record is absent, in progress (no response), or complete. Whoever claims says as which owner; a claim, and what ends
it, counts for that owner only.
"""

from dataclasses import dataclass

from redis_mw.idempotency.commands import Ask, Claimed, Terms


@dataclass
class Record:
    """What is stored under one name; times in microseconds. ``response`` is None while the run is in progress."""

    fingerprint: bytes
    owner: str
    lease_ends: int
    runs: int
    expires: int
    response: bytes | None = None


class Model:
    """The records of one prefix at a time that only moves when told to."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.now = 0
        self.records: dict[str, Record] = {}

    def pass_time(self, us: int) -> None:
        self.now += us
        self.records = {name: each for name, each in self.records.items() if each.expires > self.now}

    def claim(self, ask: Ask) -> Claimed:
        record = self.records.get(ask.name)
        if record is None:
            lease_ends, expires = self.now + self.terms.lease_us, self._expires()
            self.records[ask.name] = Record(ask.fingerprint, ask.owner, lease_ends, 1, expires)
            return Claimed("first", run=1)
        if record.fingerprint != ask.fingerprint:
            return Claimed("mismatch")
        if record.response is not None:
            return Claimed("done", response=record.response)
        if record.owner != ask.owner:
            if record.lease_ends > self.now:
                return Claimed("busy", left_us=record.lease_ends - self.now)
            if self.terms.dead == "unknown":
                return Claimed("orphan")
            record.owner = ask.owner
            record.runs += 1
        record.lease_ends, record.expires = self.now + self.terms.lease_us, self._expires()
        return Claimed("first", run=record.runs)

    def complete(self, ask: Ask, response: bytes) -> bool:
        record = self.records.get(ask.name)
        if record is None:
            self.records[ask.name] = Record(ask.fingerprint, ask.owner, 0, 1, self._expires(), response)
            return True
        if record.owner != ask.owner:
            return False
        if record.response is None:
            record.response, record.lease_ends, record.expires = response, 0, self._expires()
        return True

    def release(self, ask: Ask) -> bool:
        if self._running(ask.name, ask.owner) is None:
            return False
        del self.records[ask.name]
        return True

    def forget(self, name: str) -> bool:
        return self.records.pop(name, None) is not None

    def renew(self, name: str, owner: str) -> bool:
        record = self._running(name, owner)
        if record is None:
            return False
        record.lease_ends, record.expires = self.now + self.terms.lease_us, self._expires()
        return True

    def _running(self, name: str, owner: str) -> Record | None:
        record = self.records.get(name)
        return record if record is not None and record.owner == owner and record.response is None else None

    def _expires(self) -> int:
        return self.now + self.terms.ttl_ms * 1000
