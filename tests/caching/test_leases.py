"""Leases are renewed every third of their time, together, for as long as somebody is at work, and not for ever."""

from typing import Any

from redis_mw.caching.leases import LONGEST_S, TICK_S, Claim, LeaseCommands, Leases
from redis_mw.errors import RedisUnavailable
from redis_mw.flows import Batch, Wait

SHORT, LONG = Claim(("s",), "ann", 1_000_000), Claim(("l", "l.1"), "bob", 9_000_000)


def history(leases: Leases, clock: list[float], ticks: int, reply: Any = 1) -> list[list[str]]:
    """What is renewed, tick by tick."""
    flow = leases.renewing()
    effect, renewed = next(flow, None), []
    while effect is not None and len(renewed) < ticks:
        assert effect == Wait((), TICK_S)
        clock[0] += TICK_S
        renewed.append([])
        try:
            effect = flow.send(None)
            while isinstance(effect, Batch):
                renewed[-1] += [command.keys[0] for command in effect.commands]
                effect = flow.send([reply] * len(effect.commands))
        except StopIteration:
            break
    return renewed


def test_each_is_renewed_in_its_own_time() -> None:
    clock = [0.0]
    leases = Leases(LeaseCommands(1), lambda: clock[0])
    leases.hold(SHORT)
    leases.hold(LONG)
    seen = history(leases, clock, 18)
    assert all("s" in each for each in seen)
    assert [number for number, each in enumerate(seen, 1) if "l" in each] == [9, 18]
    assert all(("l" in each) == ("l.1" in each) for each in seen)


def test_one_that_is_lost_or_given_back_is_let_go_and_then_the_flow_ends() -> None:
    clock = [0.0]
    leases = Leases(LeaseCommands(1), lambda: clock[0])
    leases.hold(SHORT)
    assert history(leases, clock, 5, reply=0) == [["s"]] and not leases
    leases.hold(LONG)
    leases.drop(LONG)
    assert history(leases, clock, 5) == []


def test_one_that_redis_did_not_hear_of_is_tried_again() -> None:
    clock = [0.0]
    leases = Leases(LeaseCommands(1), lambda: clock[0])
    leases.hold(LONG)
    assert sum("l" in each for each in history(leases, clock, 12, RedisUnavailable("gone"))) == 4


def test_nothing_is_renewed_for_ever() -> None:
    clock = [0.0]
    leases = Leases(LeaseCommands(1), lambda: clock[0])
    leases.hold(SHORT)
    seen = history(leases, clock, 10_000)
    assert not leases and abs(len(seen) * TICK_S - LONGEST_S) < 2
