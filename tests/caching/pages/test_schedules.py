"""Requests, drops and ends of leases in any order, step by step, over two processes on a real server.

Between a batch and its reply anything may happen. What is written is read by every run that begins later; a drop
follows each write. The memory of processes is off.
"""

from typing import Any

import hypothesis
import pytest
from colours import Threads
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from stepping import Stepped
from visiting import Made, Origin, Process

from redis_mw import Cache, Cached, Settings, replace
from redis_mw.caching.pages.keep import purge
from redis_mw.caching.pages.names import urls_to_purge
from redis_mw.caching.tags import name_of
from redis_mw.caching.values.write import drop_tags

pytestmark = pytest.mark.one_server

POLICY = Cached(60, jitter=0, tags=["t"], stale=30, stale_if_error=30)
LATE = (("Cache-Groups", '"late"'),)
ANSWERS = st.sampled_from(
    [
        *[Made(headers=LATE)] * 4,
        Made(headers=(*LATE, ("Set-Cookie", "a=1"))),
        Made(headers=(*LATE, ("Vary", "Accept"))),
        Made(headers=LATE, status=503),
    ]
)


class Visit:
    """One request under way. ``least`` is the oldest of what was written that it may be served."""

    def __init__(self, process: Process, lookup: Any, least: int) -> None:
        self.process = process
        self.lookup = lookup
        self.least = least
        self.served: int | None = None
        self.read = 0
        self.epoch = 0
        """When the lease was taken, if it has one: leases of an earlier one may be over without its knowledge."""
        self.reply: Any = None
        self.stage = "asks"
        self.flow = Stepped(process.colour.run, lookup.ask())

    @property
    def runs(self) -> bool:
        return self.stage == "runs"

    @property
    def is_over(self) -> bool:
        return self.stage == "over"

    def begin(self, stage: str, flow: Any) -> None:
        self.stage, self.reply = stage, None
        self.flow = Stepped(self.process.colour.run, flow)


class Schedules(RuleBasedStateMachine):
    settings_of_test: Settings
    count = 0

    def __init__(self) -> None:
        super().__init__()
        settings = replace(self.settings_of_test, cache=Cache(l1_bytes=0, wait=0.2))
        self.processes = [Process(Threads(settings), Origin()) for _ in range(2)]
        Schedules.count += 1
        self.path = f"/{Schedules.count}"
        self.visits: list[Visit] = []
        self.drops: list[tuple[int, int, Stepped, Any]] = []
        self.written = 0
        self.dropped = 0
        """What was written before the latest drop that has returned, by any process."""
        self.dropped_by = [0, 0]
        self.epoch = 0
        """Counts what ends leases."""

    def teardown(self) -> None:
        try:
            for _ in range(1000):
                if all(visit.is_over for visit in self.visits):
                    break
                for visit in self.visits:
                    self.advance(visit, Made(), late=True)
            assert all(visit.is_over for visit in self.visits), "somebody is left waiting"
            for *_, flow, _ in self.drops:
                flow.finish()
            for process in self.processes:
                assert not process.room.memory.flights._latest, "a flight that nobody leads"
                assert process.held(self.path, policy=POLICY) == [], "a lease that nobody has"
        finally:
            for process in self.processes:
                process.close()

    # Requests

    @rule(
        at=st.sampled_from([0, 0, 1]),
        method=st.sampled_from(["GET", "GET", "GET", "HEAD"]),
        accept=st.sampled_from("ab"),
    )
    def a_request_comes(self, at: int, method: str, accept: str) -> None:
        if sum(not visit.is_over for visit in self.visits) < 8:
            process = self.processes[at]
            lookup = process.lookup(self.path, (("Accept", accept),), method=method, policy=POLICY)
            visit = Visit(process, lookup, self.dropped)
            if lookup.follows is not None and lookup.follows.began is None:
                # Who follows one that looks gets what that one finds: a reply's way earlier than by himself.
                visit.least = self.dropped_by[at]
            self.visits.append(visit)
            self.goes_on(visit)

    @rule(number=st.integers(0, 7), made=ANSWERS, late=st.booleans())
    def one_goes_on(self, number: int, made: Made, late: bool) -> None:
        if going := [visit for visit in self.visits if not visit.is_over]:
            self.advance(going[number % len(going)], made, late=late)

    @rule(number=st.integers(0, 7))
    def a_batch_is_performed_and_its_reply_takes_its_time(self, number: int) -> None:
        going = [visit for visit in self.visits if visit.reply is None and not visit.is_over and visit.flow.asks_now]
        if going:
            visit = going[number % len(going)]
            visit.epoch = self.epoch
            visit.reply = [visit.flow.perform()]

    @rule(number=st.integers(0, 7), sent=st.booleans())
    def one_is_cut(self, number: int, sent: bool) -> None:
        going = [visit for visit in self.visits if not visit.is_over]
        if going:
            visit = going[number % len(going)]
            if not visit.flow.is_done:
                visit.flow.cut(sent=sent and visit.reply is None)
            visit.lookup.state = "runs" if visit.lookup.state == "follows" else visit.lookup.state
            visit.process.run(visit.lookup.settle())
            visit.stage = "over"

    def advance(self, visit: Visit, made: Made, *, late: bool) -> None:
        """Let one request do one thing."""
        if visit.is_over:
            return
        if not visit.flow.is_done:
            if visit.reply is not None:
                (reply,), visit.reply = visit.reply, None
                visit.flow.receive(reply)
            else:
                visit.epoch = self.epoch
                visit.flow.step()
            self.goes_on(visit)
        elif visit.stage == "follows":
            flight = visit.lookup.follows
            ended = flight.ended.done()
            if ended or late:
                visit.begin("asks", visit.lookup.followed(ended=ended))
                self.goes_on(visit)
        elif visit.runs:
            self.answers(visit, made)

    def goes_on(self, visit: Visit) -> None:
        """What comes next, once a flow has ended."""
        if not visit.flow.is_done:
            return
        lookup = visit.lookup
        if visit.stage == "asks":
            match lookup.state:
                case "waits":
                    visit.begin("asks", lookup.wait())
                    self.goes_on(visit)
                case "follows":
                    visit.stage = "follows"
                case "runs":
                    visit.stage, visit.read = "runs", self.written
                    leaders = [
                        each
                        for each in self.visits
                        if each.runs
                        and each.lookup.leads
                        and each.epoch == self.epoch
                        and each.lookup._question.variant == lookup._question.variant
                    ]
                    assert len(leaders) <= 1, "two that lead"
                case _:
                    self.is_answered(visit, lookup.answer.body if lookup.request.method == "GET" else None)
        elif visit.stage == "completes":
            fetch = lookup.fetch
            if fetch.instead is not None and lookup.request.method == "GET":
                self.is_answered(visit, fetch.instead.body)
            else:
                self.leaves(visit)
        elif visit.stage == "leaves":
            visit.stage = "over"

    def answers(self, visit: Visit, made: Made) -> None:
        fetch = visit.lookup.fetch
        body = b"%d" % visit.read
        fetch.judge(made.status, made.headers, accessed=False, csrf=False)
        if fetch.records or fetch.closes:
            known = body if fetch.records else None
            visit.begin("completes", visit.lookup.complete(known, accessed=False, csrf=False, sent=False))
            self.goes_on(visit)
        else:
            self.leaves(visit)

    def is_answered(self, visit: Visit, body: bytes | None) -> None:
        if body is not None:
            visit.served = int(body)
            assert visit.served >= visit.least, "what was dropped before it came"
        if visit.lookup.refreshes and not visit.lookup.asked.nobodys:
            refresh = Visit(visit.process, visit.lookup.refresh(), 0)
            refresh.flow = Stepped(visit.process.colour.run, _nothing())
            self.visits.append(refresh)
            self.goes_on(refresh)
        self.leaves(visit)

    def leaves(self, visit: Visit) -> None:
        visit.begin("leaves", visit.lookup.settle())
        self.goes_on(visit)

    # Writes

    @rule(at=st.sampled_from([0, 0, 1]), how=st.sampled_from(["purge", "tag", "late"]))
    def something_is_written_and_its_pages_are_dropped(self, at: int, how: str) -> None:
        self.written += 1
        room = self.processes[at].room
        if how == "purge":
            flow: Any = purge(room, urls_to_purge(f"http://example.com{self.path}"))
        else:
            flow = drop_tags(room, (name_of("t" if how == "tag" else "late"),), soft=False)
        self.drops.append((at, self.written, Stepped(self.processes[at].colour.run, flow), None))

    @rule(number=st.integers(0, 3))
    def a_drop_goes_on(self, number: int) -> None:
        if self.drops:
            at, written, flow, reply = self.drops.pop(number % len(self.drops))
            if reply is None:
                self.epoch += 1
                self.drops.append((at, written, flow, (flow.perform(),)))
                return
            flow.receive(reply[0])
            assert flow.is_done
            self.dropped, self.dropped_by[at] = max(self.dropped, written), max(self.dropped_by[at], written)

    @rule(at=st.sampled_from([0, 1]))
    def something_is_dropped_softly(self, at: int) -> None:
        self.epoch += 1
        self.processes[at].drop_tag("t", soft=True)

    @rule(seconds=st.sampled_from([10, 61, 200]))
    def time_passes(self, seconds: int) -> None:
        self.processes[0].age(self.path, seconds=seconds, policy=POLICY)

    @rule()
    def leases_end(self) -> None:
        self.epoch += 1
        self.processes[0].end_leases(self.path, policy=POLICY)

    @invariant()
    def nothing_lives_for_ever(self) -> None:
        redis = self.processes[0].redis
        for key in redis.scan_iter(f"{self.settings_of_test.prefix}:*", count=1000):
            assert redis.pttl(key) != -1


def _nothing() -> Any:
    return
    yield


@pytest.mark.hypothesis
def test_whatever_overlaps_nobody_gets_what_was_dropped_before_he_came(redis_mw_settings: Settings) -> None:
    Schedules.settings_of_test = redis_mw_settings
    few = hypothesis.settings(stateful_step_count=60, max_examples=hypothesis.settings().max_examples // 2)
    run_state_machine_as_test(Schedules, settings=few)
