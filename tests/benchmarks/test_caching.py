"""How the calls of an origin are told apart, and what a server has heard of its clients."""

import pytest

from benchmarks.caching.ear import Heard, told
from benchmarks.caching.hot import per_expiry


def test_no_call_ends_no_lifetime() -> None:
    assert per_expiry([], 1.0) == 0


def test_one_call_at_the_end_of_each_lifetime_is_one_for_each() -> None:
    assert per_expiry([1.0, 2.1, 3.0], 1.0) == 1


def test_calls_of_several_processes_at_one_end_count_for_it_in_any_order() -> None:
    assert per_expiry([2.02, 1.0, 1.01, 2.0, 1.02, 2.01], 1.0) == 3


def test_a_chain_of_calls_is_not_one_end_for_ever() -> None:
    assert per_expiry([1.0, 1.4, 1.8, 2.2], 1.0) == 2


@pytest.mark.parametrize(
    ("line", "heard"),
    [
        ('+1790000000.1 [0 127.0.0.1:5000] "GET" "a"', Heard(1, 0)),
        ('+1790000000.1 [0 127.0.0.1:5000] "evalsha" "abc" "1" "a] b"', Heard(1, 0)),
        ('+1790000000.1 [0 lua] "GET" "a"', Heard(0, 0)),
        ('+1790000000.1 [0 127.0.0.1:5000] "SUBSCRIBE" "a"', Heard(0, 1)),
        ('+1790000000.1 [0 127.0.0.1:5000] "UNSUBSCRIBE" "a"', Heard(0, 1)),
        ('+1790000000.1 [0 127.0.0.1:5000] "HELLO" "3"', Heard(0, 0)),
        ('+1790000000.1 [0 127.0.0.1:5000] "SCRIPT" "LOAD" "return 1"', Heard(0, 0)),
        ('+1790000000.1 [0 127.0.0.1:5000] "ECHO" "enough-is-heard"', Heard(0, 0)),
        ("+OK", Heard(0, 0)),
    ],
)
def test_only_what_clients_send_for_their_work_is_heard(line: str, heard: Heard) -> None:
    assert told([line]) == heard


def test_what_is_heard_adds_up() -> None:
    get, subscribe = '+1 [0 127.0.0.1:1] "GET" "a"', '+1 [0 127.0.0.1:1] "SUBSCRIBE" "a"'
    assert told([get, subscribe, get]) == Heard(2, 1)
