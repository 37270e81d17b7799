"""What its tags make of an entry where only we can compare them, and what waits for one of many servers."""

from typing import Any

import hypothesis
from hypothesis import strategies as st

from redis_mw.caching.apart import NEVER, worth
from redis_mw.caching.pending import AT_ONCE, Pending
from redis_mw.caching.tags import VERSION, kept_versions
from redis_mw.errors import RedisUnavailable
from redis_mw.flows import Batch, Command, Flow, together

HALVES = st.sampled_from([b"a" * 12, b"b" * 12, NEVER[:12]]) | st.binary(min_size=12, max_size=12)
VERSIONS = st.builds(bytes.__add__, HALVES, HALVES)
TAGS = st.sampled_from(["0" * 32, "1" * 32, "2" * 32])


@hypothesis.given(
    kept=st.dictionaries(TAGS, VERSIONS), known=st.dictionaries(TAGS, st.none() | VERSIONS), same=st.sets(TAGS)
)
def test_only_what_all_tags_are_known_to_be_unchanged_of_is_good(
    kept: dict[str, bytes], known: dict[str, bytes | None], same: set[str]
) -> None:
    known |= {tag: kept[tag] for tag in same & kept.keys()}
    found, soft_us = worth(kept, known)
    current = {tag: known.get(tag) or b"" for tag in kept}
    assert (found == "gone") == any(current[tag][:12] != version[:12] for tag, version in kept.items())
    assert (found == "good") == all(current[tag] == version for tag, version in kept.items())
    softened = [int.from_bytes(current[tag][12:20], "big") for tag in kept if current[tag] != kept[tag]]
    assert soft_us == (max(1, min(softened)) if found == "soft" else 0)


@hypothesis.given(
    tags=st.lists(st.tuples(TAGS, VERSIONS), unique_by=lambda pair: pair[0]), head=st.binary(), rest=st.binary()
)
def test_the_tags_that_stand_in_an_entry_are_read_as_they_were_written(
    tags: list[tuple[str, bytes]], head: bytes, rest: bytes
) -> None:
    data = head + b"".join(tag.encode() + version for tag, version in tags) + rest
    assert kept_versions(data, len(head), len(tags)) == dict(tags)


@hypothesis.given(data=st.binary(max_size=400), start=st.integers(0, 100), number=st.integers(0, 255))
def test_any_bytes_have_some_tags_or_none(data: bytes, start: int, number: int) -> None:
    kept = kept_versions(data, start, number)
    assert len(kept) <= number and all(len(version) == VERSION for version in kept.values())
    assert worth(kept, {}) == (("gone", 0) if kept else ("good", 0))
    assert worth(kept, kept) == ("good", 0)


# What waits


def command(key: str, word: str = "DROP") -> Command[Any]:
    return Command((word, key), lambda reply: reply, (key,))


def waiting(number: int, *, many: bool) -> Pending:
    pending = Pending(many=many)
    for each in range(number):
        pending.add(("value", str(each)), command(str(each)))
    return pending


def answered(flow: Flow[Any], away: set[str]) -> tuple[list[list[tuple[Any, ...]]], Any]:
    """What a flow sends and gives where the servers of some keys are away."""
    sent: list[list[tuple[Any, ...]]] = []
    replies: Any = None
    try:
        while True:
            batch = flow.send(replies)
            assert isinstance(batch, Batch)
            sent.append([each.args for each in batch.commands])
            replies = tuple(
                RedisUnavailable("away") if away & set(each.keys) else each.keys[0] for each in batch.commands
            )
    except StopIteration as end:
        return sent, end.value


def test_all_that_waits_goes_before_what_it_would_overtake_however_much_that_is() -> None:
    pending = waiting(3 * AT_ONCE + 1, many=False)
    sent, replies = answered(pending.asked(command("200", "GET")), set())
    assert [len(each) for each in sent] == [AT_ONCE, AT_ONCE, AT_ONCE, 1, 1] and replies == ("200",)
    assert not pending


def test_what_has_a_key_that_still_waits_is_not_sent_and_the_rest_is() -> None:
    pending = waiting(3 * AT_ONCE, many=True)
    last = str(3 * AT_ONCE - 1)
    sent, replies = answered(pending.asked(command(last, "GET"), command("other", "GET")), {last})
    assert sent[0][0] == ("DROP", last), "what concerns them goes first"
    assert sent[1:] == [[("GET", "other")]]
    assert isinstance(replies[0], RedisUnavailable) and replies[1] == "other"
    sent, replies = answered(pending.asked(command(last, "GET")), set())
    assert sent[0][0] == ("DROP", last) and sent[1:] == [[("GET", last)]] and replies == (last,)


def test_what_waits_for_a_server_that_is_away_is_in_the_way_of_nothing_else() -> None:
    pending = waiting(3 * AT_ONCE, many=True)
    away = {str(each) for each in range(AT_ONCE)}
    for _ in range(4):
        _ = answered(pending.asked(), away)
    assert len(pending) == AT_ONCE
    _ = answered(together(pending.asked(command("1", "GET"))), set())
    assert not pending
