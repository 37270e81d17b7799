"""Every script against its model, the ledger: random histories on a real server, compared step by step.

Scripts are told the time, so it passes in steps of any length and may go back. What the server keeps is kept for as
long as the scripts said, measured by that time: a key that is gone too soon changes an answer, one that is forgotten
must be one that no longer matters, and none lives for ever.
"""

from typing import Any

import hypothesis
import msgspec
import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from redis_mw import Limit, Settings, Strikes
from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Events
from redis_mw.flows import Argument, Command, send
from redis_mw.limits.asks import Ask, Taken
from redis_mw.limits.check import verdict_of
from redis_mw.limits.commands import Commands
from redis_mw.limits.ledger import Ledger
from redis_mw.limits.quota import Quota, quota_of

SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000
BAN = Strikes(after=2, ban=30, cap=100)

# Limits of one name have one key, whatever their other numbers are: as if a deploy had changed them on a live server.
# Periods are long, and units whole quarters of seconds: no key ends so soon that the test's own time would matter.
LIMITS = [
    Limit("5/minute", name="s"),
    Limit("2/minute", name="s"),
    Limit("1000/minute", name="s"),
    Limit("5/minute", name="s", count="failed"),
    Limit("3/minute", name="s", shadow=True),
    Limit("5/minute", name="charged", on_deny="charge"),
    Limit("3/minute", name="charged", on_deny="charge", count="failed"),
    Limit("4/hour", name="struck", strikes=BAN),
    Limit("4/hour", name="struck", strikes=Strikes(after=1, ban=3600, factor=3, cap=86400)),
    Limit("4/hour", name="struck", strikes=BAN, on_deny="charge"),
    Limit("4/hour", name="struck"),
    Limit("20/minute", name="ahead", lease=5),
    Limit("6/minute", name="g", algorithm="gcra", burst=3),
    Limit("6/minute", name="g", algorithm="gcra", burst=5, count="failed"),
    Limit("6/minute", name="g", algorithm="gcra", burst=1),
    Limit("5/minute", name="g-charged", algorithm="gcra", burst=4, on_deny="charge", strict=True),
    Limit("6/minute", name="g-struck", algorithm="gcra", burst=2, strikes=BAN),
    Limit("6/month", name="months", algorithm="fixed"),
    Limit("2/month", name="months", algorithm="fixed", count="failed"),
    Limit("4/week", name="weeks", algorithm="fixed"),
    Limit("6/2days", name="days", algorithm="fixed", on_deny="charge"),
    Limit("3/2days", name="days", algorithm="fixed", strikes=BAN),
    Limit("20/day", name="ahead", algorithm="fixed", lease=5),
    Limit("2 in flight", name="c"),
    Limit("1 in flight", name="c"),
    Limit("2 in flight", name="c", shadow=True),
]
QUOTAS = [quota_of(limit, "") for limit in LIMITS]
numbers = st.integers(0, len(QUOTAS) - 1)
asks = st.lists(
    st.tuples(numbers, st.sampled_from([1, 1, 1, 2, 3, 30])),
    min_size=1,
    max_size=4,
    unique_by=lambda ask: QUOTAS[ask[0]].part,
)
forward = st.sampled_from([1, 1, 4, 10, 11, 31, 60, 64, 101, 3600, 86_400, 20 * 86_400, 70 * 86_400])
backward = st.sampled_from([1, 5, 61, 7200, 40 * 86_400])


class Histories(RuleBasedStateMachine):
    settings_of_test: Settings

    @initialize(start=st.integers(0, 4 * 366 * 86_400))
    def begin(self, start: int) -> None:
        self.driver = SyncDriver(self.settings_of_test, Events((), lambda: 0.0))
        self.client = redis.Redis.from_url(self.settings_of_test.url_of("limits"))
        self.commands = Commands(self.settings_of_test.prefix, 10 * SECOND)
        self.ledger = Ledger()
        self.now = (1_700_000_000 + start) * SECOND + SECOND // 2
        self.ids = 0
        self.taken: list[list[Taken]] = []
        self.quotas: dict[str, Quota] = {}
        self.ends: dict[str, int] = {}
        self.reserved: dict[tuple[str, str], int] = {}
        self.given: set[tuple[str, str]] = set()
        self.unstruck: set[str] = set()
        self.went_back = False
        self.wipe()

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            self.wipe()
            self.driver.close()
            self.client.close()

    def wipe(self) -> None:
        for key in self.client.scan_iter(f"{self.commands.key('x', '').partition(':')[0]}:*", count=1000):
            self.client.delete(key)

    def key(self, quota: Quota) -> str:
        return self.commands.key("x", quota.part)

    def run(self, command: Any, *keys: str) -> Any:
        """Perform it now; note when those keys end. Between two commands none does, however long the test takes."""
        self.commands.now_us = ""
        left = {key: (self.ends[key] - self.now) // 1000 for key in keys if key in self.ends}
        before = [by_hand("PEXPIRE", key, lives) for key, lives in left.items() if lives > 0]
        after = [by_hand(word, key) for word in ("PTTL", "PERSIST") for key in keys]
        replies = self.driver.run(send(*before, command, *after))[len(before) :]
        assert not any(isinstance(reply, Exception) for reply in replies), replies
        for key, lives in zip(keys, replies[1:], strict=False):
            assert lives != -1, f"{key} lives for ever"
            self.ends[key] = self.now + max(0, lives) * 1000
        return replies[0]

    def told(self) -> Commands:
        """The commands, with the clock of this history."""
        self.commands.now_us = self.now  # type: ignore[assignment]
        return self.commands

    @rule(asked=asks, peek=st.sampled_from([False, False, False, True]))
    def take(self, asked: list[tuple[int, int]], peek: bool) -> None:
        self.ids += 1
        id = f"id{self.ids}"
        made = [
            Ask(quota, self.key(quota), 1 if quota.kind == "c" else cost)
            for quota, cost in [(QUOTAS[number], cost) for number, cost in asked]
        ]
        keys = [each for ask in made for each in (ask.key, f"{ask.key}:{id}")]
        told = self.run(self.told().take(made, ("client:x",), id, peek=peek), *keys)
        expected = self.ledger.take(made, self.now, id, peek=peek)
        assert list(told.answers) == expected
        self.quotas.update({ask.key: ask.quota for ask in made})
        self.unstruck.update(ask.key for ask in made if not ask.quota.strikes)
        taken = [verdict_of(ask, answer, id).taken for ask, answer in zip(made, told.answers, strict=True)]
        if any(taken):
            self.taken.append([each for each in taken if each is not None])
        for ask, answer in zip(made, told.answers, strict=True):
            if answer.taken and "r" in ask.quota.flags:
                self.reserved[ask.key, id] = self.now + max(answer.reset_us, SECOND) + 60 * SECOND
            assert 0 <= answer.remaining <= max(ask.quota.amount, ask.quota.burst)
            assert not peek or not answer.taken

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), plain=st.booleans())
    def settle(self, data: st.DataObject, plain: bool) -> None:
        """Of one of the last requests that took something: by its id, and then once, or without."""
        some = data.draw(st.sampled_from(self.taken[-4:]))
        id = some[0].id
        if plain:
            some = [
                each if each.is_slot else msgspec.structs.replace(each, id="") for each in some if not each.reserved
            ]
        if not some:
            return
        # More is charged without an id, or by one that was reserved.
        adds = [
            data.draw(st.sampled_from([-each.cost, -each.cost, -1, 0, *([] if each.id and not each.reserved else [2])]))
            for each in some
        ]
        keys = [each for taken in some for each in (taken.ask.key, f"{taken.ask.key}:{taken.id}")]
        reply = self.run(self.told().settle(some, adds, id), *keys)
        for taken, add, done in zip(some, adds, reply, strict=True):
            known = taken.ask.key, taken.id
            reserved = not taken.reserved or self.reserved.pop(known, 0) > self.now
            expected = reserved and self.ledger.settle(taken, add, self.now)
            assert done == expected
            if done and add and taken.id and taken.ask.quota.kind != "f":
                assert known not in self.given or self.went_back
                self.given.add(known)

    @precondition(lambda self: any(each.is_slot for some in self.taken for each in some))
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        slots = [each for some in self.taken for each in some if each.is_slot]
        slot = data.draw(st.sampled_from(slots[-3:]))
        assert self.run(self.told().renew([slot]), slot.ask.key) == [self.ledger.renew(slot.ask.key, slot.id, self.now)]

    @rule(number=numbers)
    def reset(self, number: int) -> None:
        quota = QUOTAS[number]
        self.run(self.commands.forget(self.key(quota)), self.key(quota))
        self.ledger.forget(self.key(quota))

    @rule(seconds=forward)
    def time_passes(self, seconds: int) -> None:
        self.move(seconds * SECOND)

    @rule(seconds=backward)
    def the_clock_is_set_back(self, seconds: int) -> None:
        self.went_back = True
        self.move(-seconds * SECOND)

    def move(self, by: int) -> None:
        self.now += by
        self.reserved = {known: ends for known, ends in self.reserved.items() if ends - self.now > 2000}
        with self.client.pipeline(transaction=False) as pipeline:
            for key, ends in list(self.ends.items()):
                if ends - self.now > 2000:
                    continue
                pipeline.delete(key)
                del self.ends[key]
                if key in self.quotas:
                    self.has_no_meaning(key)
                    self.ledger.forget(key)
                else:
                    _ = self.ledger._settled.pop(tuple(key.rsplit(":", 1)), None)  # type: ignore[arg-type]
            pipeline.execute()

    def has_no_meaning(self, key: str) -> None:
        """What the server has forgotten is no different from what never was."""
        quota = self.quotas[key]
        if quota.kind == "c" and self.went_back:
            return  # slots are renewed long before they end; one that is not may be free so much sooner
        if quota.strikes and key in self.unstruck:
            return  # a deploy had taken the strikes off meanwhile: bans may be over sooner
        (known,) = self.ledger.take([Ask(quota, key)], self.now, peek=True)
        (new,) = Ledger().take([Ask(quota, key)], self.now, peek=True)
        assert known == new
        assert not quota.strikes or self.ledger._entries[key]._kept <= self.now


def by_hand(*words: Argument) -> Command[Any]:
    return Command(words, lambda reply: reply, role="limits", patience_us=10 * SECOND)


@pytest.mark.hypothesis  # so that the long profile includes it
def test_every_script_does_what_the_ledger_does(redis_mw_settings: Settings) -> None:
    Histories.settings_of_test = redis_mw_settings
    run_state_machine_as_test(Histories, settings=hypothesis.settings(report_multiple_bugs=False))
