"""Who is in a cluster, by what is heard: from one piece of news to the next."""

import pytest

from redis_mw.engine.cluster import SLOTS, Address, Chart, Redirection, Shard
from redis_mw.engine.roll import LOOKS, Roll

A, B, C = Address("a", 1), Address("b", 2), Address("c", 3)
R = Address("r", 4)


def chart(*primaries: Address, replica: Address | None = None) -> Chart:
    """Slots in turn."""
    replicas = () if replica is None else (replica,)
    return Chart([Shard(primaries[slot % len(primaries)], replicas) for slot in range(SLOTS)])


def test_nobody_answers_before_there_is_a_chart() -> None:
    assert Roll("x").answering == () and Roll("x").found(chart(A, B)).answering == (A, B)


def test_a_slot_is_somebodys_or_it_is_said_why_not() -> None:
    some = Roll("x", Chart([Shard(A), None] * (SLOTS // 2)))
    assert some.shard(0) == Shard(A) and some.shard(None) == Shard(A)
    assert str(some.shard(1)) == "no server of x has slot 1"
    assert str(Roll("x").shard(1)) == str(Roll("x").shard(None)) == "nobody tells which servers x has"


def test_why_nobody_tells_is_said_until_somebody_does() -> None:
    vain = Roll("x").asked_in_vain(["a: silent", "b: gone"])
    assert str(vain.shard(1)) == "nobody tells which servers x has: a: silent; b: gone"
    told = vain.found(chart(A))
    assert told.shard(1) == Shard(A) and told.asked_in_vain(["a: silent"]) is told


def test_what_has_moved_is_where_it_was_said_to_be() -> None:
    before = chart(A, B)
    roll, address = Roll("x", before).redirected(before, Redirection(0, C, asking=False))
    assert address == C and roll.chart is not None and {*roll.answering} == {A, B, C}
    shard, other = roll.chart.shard(0), roll.chart.shard(2)
    assert shard == Shard(C) and other is not None and other.primary == A


@pytest.mark.parametrize("told", [Redirection(0, A, asking=False), Redirection(1, A, asking=True)])
def test_what_is_known_changes_nothing(told: Redirection) -> None:
    known = Roll("x", chart(A, B))
    assert known.chart is not None
    assert known.redirected(known.chart, told) == (known, A) and known.redirected(known.chart, told)[0] is known


@pytest.mark.parametrize("host", ["", "?"])
def test_a_server_that_does_not_know_its_host_is_where_the_slot_was(host: str) -> None:
    known = chart(A, B)
    _, address = Roll("x", known).redirected(known, Redirection(1, Address(host, 9), asking=False))
    assert address == Address("b", 9)


def test_a_guest_answers_until_it_is_a_primary_or_was_named_too_long_ago() -> None:
    known = chart(A, B)
    roll, address = Roll("x", known).redirected(known, Redirection(0, C, asking=True))
    assert address == C and roll.answering == (A, B, C) and roll.chart is known
    assert roll.redirected(known, Redirection(0, C, asking=True))[0] is roll
    assert roll.found(chart(A, B, C)).guests == {}
    for _ in range(LOOKS - 1):
        roll = roll.found(known)
        assert C in roll.answering
    again, _ = roll.redirected(known, Redirection(0, C, asking=True))
    assert again.guests == {C: 0}, "it is counted from when it was named last"
    assert roll.found(known).answering == (A, B)


def test_who_has_left_is_counted_until_he_is_back() -> None:
    places = [(A, False), (B, False), (R, True), (R, False)]
    roll = Roll("x", chart(A, replica=R))
    absent = roll.absent(places, {})
    assert absent == {(B, False): 1, (R, False): 1}, "one that is read from as a replica is no primary"
    assert roll.absent(places, absent) == {(B, False): 2, (R, False): 2}
    assert Roll("x", chart(A, B, replica=R)).absent(places, absent) == {(R, False): 2}
