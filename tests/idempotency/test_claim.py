"""The flows by hand: what they ask for, in which order, and what they make of each answer."""

from collections.abc import Callable
from typing import Any

import pytest

from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.flows import Batch, Effect, Flow, Wait, Woken
from redis_mw.idempotency import claim as flows
from redis_mw.idempotency.commands import CLAIM, RELEASE, Ask, Commands, Terms
from redis_mw.idempotency.outcomes import Away, Busy, First, Mismatch, Orphan, Replay, Unkept
from redis_mw.idempotency.response import Stored, encode

COMMANDS = Commands("p", Terms(60_000, 30_000_000), 1_000_000)
ASK = Ask("a" * 32, b"f", "ann")
KEY = "p:i1:{" + "a" * 32 + "}:h"
BUSY = [b"busy", 2_000_000]


def script_of(effect: Effect) -> Any:
    assert isinstance(effect, Batch) and len(effect.commands) == 1
    return effect.commands[0].script


def ended(flow: Flow[Any], reply: Any) -> Any:
    with pytest.raises(StopIteration) as end:
        _ = flow.send(reply)
    return end.value.value


def test_a_claim_is_one_command_that_expects_a_large_reply_and_waits_for_nobody() -> None:
    effect = next(flows.claim(COMMANDS, ASK))
    assert isinstance(effect, Batch)
    (command,) = effect.commands
    assert (command.keys, command.role, command.bulk, command.wakes) == ((KEY,), "locks", True, ())
    assert command.patience_us == 1_000_000


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ([b"first", 1], First(1)),
        ([b"first", 3], First(3)),
        (BUSY, Busy(2_000_000)),
        ([b"mismatch"], Mismatch()),
        ([b"orphan"], Orphan()),
        ([b"damaged"], Orphan(damaged=True)),
        ([b"done", encode(Stored(201, (("A", "b"),), b"x"))], Replay(Stored(201, (("A", "b"),), b"x"))),
        ([b"done", encode(Stored(201, (), None))], Unkept(Stored(201, (), None))),
        ([b"done", b"\x02 of a later version"], Orphan(damaged=True)),
        (RedisUnavailable("gone", 3.0), Away("gone", 3.0)),
        (CommandError("OOM", "full"), Away("Redis answered OOM")),
    ],
)
def test_every_answer_is_an_outcome(reply: Any, outcome: Any) -> None:
    flow = flows.claim(COMMANDS, ASK)
    _ = next(flow)
    assert ended(flow, [reply]) == outcome


@pytest.mark.parametrize("make", [flows.claim, lambda *args: flows.wait_for(*args, 1_000_000)])
def test_an_interrupted_claim_gives_back_what_it_may_have_taken(make: Callable[..., Flow[Any]]) -> None:
    flow = make(COMMANDS, ASK)
    _ = next(flow)
    assert script_of(flow.throw(KeyboardInterrupt())) is RELEASE
    with pytest.raises(KeyboardInterrupt):
        _ = flow.send([1])


def test_an_interrupted_wait_has_nothing_to_give_back() -> None:
    flow = flows.wait_for(COMMANDS, ASK, 5_000_000)
    _ = next(flow)
    assert isinstance(flow.send([BUSY]), Wait)
    with pytest.raises(KeyboardInterrupt):
        _ = flow.throw(KeyboardInterrupt())


def test_a_closed_flow_ends_where_it_stands() -> None:
    flow = flows.claim(COMMANDS, ASK)
    _ = next(flow)
    flow.close()


def test_a_wait_listens_before_it_asks_and_looks_again_when_woken() -> None:
    flow = flows.wait_for(COMMANDS, ASK, 10_000_000)
    asked = next(flow)
    assert isinstance(asked, Batch) and asked.commands[0].wakes == (KEY + ":w",)
    assert flow.send([BUSY]) == Wait((KEY + ":w",), 2.001)
    assert script_of(flow.send(Woken(KEY + ":w", 0.5))) is CLAIM
    assert ended(flow, [[b"done", encode(Stored(200))]]) == Replay(Stored(200))


def test_a_wait_looks_again_at_the_leases_end_and_never_waits_longer_than_it_may() -> None:
    flow = flows.wait_for(COMMANDS, ASK, 3_000_000)
    _ = next(flow)
    assert flow.send([BUSY]) == Wait((KEY + ":w",), 2.001)
    assert script_of(flow.send(None)) is CLAIM
    assert flow.send([BUSY]) == Wait((KEY + ":w",), 0.999)
    assert script_of(flow.send(Woken(KEY + ":w", 0.4))) is CLAIM
    assert flow.send([BUSY]) == Wait((KEY + ":w",), 0.599)
    assert script_of(flow.send(None)) is CLAIM
    assert ended(flow, [BUSY]) == Busy(2_000_000)


def test_an_outage_ends_a_wait() -> None:
    flow = flows.wait_for(COMMANDS, ASK, 3_000_000)
    _ = next(flow)
    _ = flow.send([BUSY])
    _ = flow.send(None)
    assert ended(flow, [RedisUnavailable("gone")]) == Away("gone")


def test_completing_and_forgetting_say_whether_they_did() -> None:
    for reply, result in ((1, True), (0, False), (RedisUnavailable("gone"), Away("gone"))):
        for flow in (flows.complete(COMMANDS, ASK, b"r"), flows.forget(COMMANDS, ASK.name)):
            _ = next(flow)
            assert ended(flow, [reply]) == result
