"""How a batch is parted by the servers of its commands, and what of it is sent once more."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.engine.batches import ROLES, Part, again, split
from redis_mw.engine.cluster import ASKING, Address, Redirection
from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.flows import Command, Role, Script

SPREAD = ("cache",)
AWAY = RedisUnavailable("away")
NOSCRIPT = CommandError("NOSCRIPT", "No matching script.")
SCRIPT = Script("test", "return ARGV[1]", "0123456789abcdef0123456789abcdef01234567")


def get(name: str, role: Role = "default", *, bulk: bool = False, patience_us: int = 1) -> Command[Any]:
    return Command(("GET", name), parse=bytes, keys=(name,), role=role, bulk=bulk, patience_us=patience_us)


def run(name: str, role: Role = "default") -> Command[Any]:
    return Command(("argument",), parse=bytes, keys=(name,), script=SCRIPT, role=role)


def moved(slot: int, host: str, port: int = 7000) -> CommandError:
    return CommandError("MOVED", f"{slot} {host}:{port}")


def ask(slot: int, host: str, port: int = 7000) -> CommandError:
    return CommandError("ASK", f"{slot} {host}:{port}")


def by_key(command: Command[Any]) -> str:
    """A way for each key."""
    return f"{command.role} {command.keys[0]}"


def nowhere(role: Role, redirected: Redirection, bulk: bool) -> str:
    raise AssertionError("nothing was redirected")


def no_way(command: Command[Any]) -> str:
    raise AssertionError("nobody was asked the way")


def there(role: Role, redirected: Redirection, bulk: bool) -> str:
    return f"{redirected.address.host}{' bulk' if bulk else ''}"


class Ways:
    """Ways that are looked up in a table, and who asked for them."""

    def __init__(self, table: dict[str, str | RedisUnavailable] | None = None) -> None:
        self.asked: list[str] = []
        self._table = table or {}

    def __call__(self, command: Command[Any]) -> str | RedisUnavailable:
        self.asked.append(command.keys[0])
        return self._table.get(command.keys[0], command.role)


def names(parts: dict[Any, Part]) -> dict[Any, list[tuple[int | None, Any]]]:
    """Of each part the places, with the key that is there or the word that stands alone."""
    return {
        way: [(place, words[-1]) for place, words in zip(part.places, part.words, strict=True)]
        for way, part in parts.items()
    }


# Parting.


def test_each_command_goes_its_way_and_keeps_its_place() -> None:
    commands = [get("a", "sessions"), get("b", "cache"), get("c", "sessions"), get("d", "limits")]
    ways = Ways({"d": "cache"})
    parts = split(commands, range(4), [None] * 4, ways)
    assert names(parts) == {"sessions": [(0, "a"), (2, "c")], "cache": [(1, "b"), (3, "d")]}
    assert parts["cache"].words == [("GET", "b"), ("GET", "d")]


def test_neighbours_of_a_role_go_the_same_way_and_only_the_first_asks_for_it() -> None:
    commands = [get("a"), get("b"), get("c", bulk=True), get("d", bulk=True), get("e"), get("f", "locks"), get("g")]
    ways = Ways()
    parts = split(commands, range(7), [None] * 7, ways)
    assert ways.asked == ["a", "c", "e", "f", "g"]
    assert names(parts)["default"] == [(0, "a"), (1, "b"), (2, "c"), (3, "d"), (4, "e"), (6, "g")]


def test_of_a_role_that_is_spread_each_command_asks_for_its_own_way() -> None:
    commands = [get("a", "cache"), get("b", "cache"), get("c", "cache"), get("d"), get("e"), get("f", "cache")]
    ways = Ways({"a": "one", "b": "two", "c": "one", "f": "two"})
    parts = split(commands, range(6), [None] * 6, ways, SPREAD)
    assert ways.asked == ["a", "b", "c", "d", "f"]
    assert names(parts) == {"one": [(0, "a"), (2, "c")], "two": [(1, "b"), (5, "f")], "default": [(3, "d"), (4, "e")]}


def test_only_what_is_in_the_places_leaves() -> None:
    commands = [get("a"), get("b"), get("c"), get("d")]
    replies: list[Any] = [b"held"] * 4
    assert names(split(commands, (1, 3), replies, Ways())) == {"default": [(1, "b"), (3, "d")]}
    assert replies == [b"held"] * 4
    assert split(commands, (), replies, no_way) == {}


def test_a_way_that_is_a_failure_is_the_reply_of_its_commands_only() -> None:
    commands = [get("a"), get("b", "locks"), get("c", "locks"), get("d")]
    replies: list[Any] = [None] * 4
    assert names(split(commands, range(4), replies, Ways({"b": AWAY}))) == {"default": [(0, "a"), (3, "d")]}
    assert replies == [None, AWAY, AWAY, None]


def test_of_a_role_that_is_spread_one_key_may_be_away_and_its_neighbours_not() -> None:
    commands = [get("a", "cache"), get("b", "cache"), get("c", "cache")]
    replies: list[Any] = [None] * 3
    parts = split(commands, range(3), replies, Ways({"b": AWAY}), SPREAD)
    assert names(parts) == {"cache": [(0, "a"), (2, "c")]}
    assert replies == [None, AWAY, None]


def test_a_part_is_as_patient_as_its_most_patient_command_and_quick_if_all_are() -> None:
    commands = [
        get("a", "cache", patience_us=5),
        get("b", "limits", patience_us=9),
        get("c", "cache", patience_us=7),
        get("d", "sessions", patience_us=3),
    ]
    ways = Ways({"a": "one", "b": "one", "c": "two", "d": "two"})
    parts = split(commands, range(4), [None] * 4, ways, SPREAD)
    assert (parts["one"].patience_us, parts["one"].quick) == (9, True)
    assert (parts["two"].patience_us, parts["two"].quick) == (7, False)


def test_replies_go_to_their_places_and_that_which_nobody_wants_nowhere() -> None:
    part = Part()
    part.places.append(None)
    part.words.append(ASKING)
    part.add(2, get("c"), ("GET", "c"))
    part.add(0, get("a"), ("GET", "a"))
    replies: list[Any] = [None, b"held", None]
    part.put([b"OK", b"c's", b"a's"], replies)
    assert replies == [b"a's", b"held", b"c's"]


def test_too_few_or_too_many_replies_are_an_error() -> None:
    part = Part()
    part.add(0, get("a"), ("GET", "a"))
    for wrong in ([], [b"1", b"2"]):
        with pytest.raises(ValueError, match="zip"):
            part.put(wrong, [None])


COMMANDS = st.lists(
    st.builds(get, st.sampled_from("abcd"), st.sampled_from(ROLES), bulk=st.booleans(), patience_us=st.integers(1, 9)),
    max_size=12,
)


@given(COMMANDS, st.data())
def test_nothing_is_lost_and_nothing_is_sent_twice(commands: list[Command[Any]], data: st.DataObject) -> None:
    """However roles are spread: each command has a place in one part, on its own way, or its failure for a reply."""
    ways = st.sampled_from(("one", "two", AWAY))
    of_role = {(role, bulk): data.draw(ways, label=role) for role in ROLES for bulk in (True, False)}
    of_key = {key: data.draw(ways, label=key) for key in "abcd"}
    spread = data.draw(st.sets(st.sampled_from(ROLES)))

    def way(command: Command[Any]) -> str | RedisUnavailable:
        return of_key[command.keys[0]] if command.role in spread else of_role[command.role, command.bulk]

    replies: list[Any] = [None] * len(commands)
    parts = split(commands, range(len(commands)), replies, way, spread)
    for to, part in parts.items():
        assert part.places == [place for place, command in enumerate(commands) if way(command) == to] != []
        assert part.words == [commands[place].words() for place in part.places if place is not None]
        mine = [command for command in commands if way(command) == to]
        assert part.patience_us == max(command.patience_us for command in mine)
        assert part.quick is all(command.role in ("cache", "limits") for command in mine)
    assert replies == [AWAY if way(command) is AWAY else None for command in commands]


# Once more.


@pytest.mark.parametrize(
    "reply",
    [b"OK", None, 7, AWAY, CommandError("OOM", ""), CommandError("WRONGTYPE", ""), CommandError("MOVED", "nonsense")],
    ids=repr,
)
def test_a_reply_that_stands_is_not_asked_for_again(reply: Any) -> None:
    replies = [reply, reply]
    assert again([get("a", "cache"), run("b", "cache")], replies, no_way, nowhere, SPREAD, told=False) == {}
    assert replies == [reply, reply]


def test_a_script_that_is_not_known_goes_as_its_text_by_its_own_way() -> None:
    commands = [get("a"), run("b"), run("c", "cache"), run("d")]
    replies: list[Any] = [b"a's", NOSCRIPT, NOSCRIPT, b"d's"]
    parts = again(commands, replies, by_key, nowhere, SPREAD, told=False)
    assert {way: part.places for way, part in parts.items()} == {"default b": [1], "cache c": [2]}
    assert parts["default b"].words == [("EVAL", SCRIPT.text, 1, "b", "argument")]
    assert replies == [b"a's", NOSCRIPT, NOSCRIPT, b"d's"]


def test_a_script_goes_as_its_text_once_then_the_error_stands() -> None:
    replies: list[Any] = [NOSCRIPT]
    assert again([run("a")], replies, no_way, nowhere, SPREAD, told=True) == {}
    assert replies == [NOSCRIPT]


def test_a_command_that_is_no_script_of_ours_is_not_made_one() -> None:
    evalsha: Command[Any] = Command(("EVALSHA", "0" * 40, 0), parse=bytes)
    replies: list[Any] = [NOSCRIPT]
    assert again([evalsha], replies, no_way, nowhere, SPREAD, told=False) == {}


def test_what_belongs_elsewhere_goes_there_as_it_was() -> None:
    commands = [get("a", "cache"), get("b", "cache"), run("c", "cache"), get("d", "cache", bulk=True)]
    replies: list[Any] = [moved(1, "one"), b"b's", moved(2, "two"), moved(1, "one")]
    parts = again(commands, replies, no_way, there, SPREAD, told=False)
    assert {way: part.places for way, part in parts.items()} == {"one": [0], "two": [2], "one bulk": [3]}
    assert [part.words for part in parts.values()] == [[commands[place].words()] for place in (0, 2, 3)]


@pytest.mark.parametrize("told", [False, True])
def test_a_redirection_is_followed_whether_or_not_scripts_went_as_text(told: bool) -> None:
    parts = again([run("a", "cache")], [moved(1, "one")], no_way, there, SPREAD, told=told)
    assert parts["one"].words == [run("a", "cache").words()]


def test_each_command_that_is_to_ask_has_the_word_for_it_before_it() -> None:
    commands = [get("a", "cache"), get("b", "cache"), get("c", "cache")]
    parts = again(commands, [ask(1, "one"), moved(2, "one"), ask(1, "one")], no_way, there, SPREAD, told=False)
    assert names(parts) == {"one": [(None, "ASKING"), (0, "a"), (1, "b"), (None, "ASKING"), (2, "c")]}
    replies: list[Any] = [None] * 3
    parts["one"].put([b"OK", b"a's", b"b's", b"OK", b"c's"], replies)
    assert replies == [b"a's", b"b's", b"c's"]


@pytest.mark.parametrize("told", [False, True])
def test_a_script_goes_as_its_text_where_it_is_to_ask_lest_its_name_be_unknown_there(told: bool) -> None:
    parts = again([run("a", "cache")], [ask(1, "one")], no_way, there, SPREAD, told=told)
    assert parts["one"].words == [ASKING, ("EVAL", SCRIPT.text, 1, "a", "argument")]


def test_what_is_said_of_a_slot_reaches_who_knows_the_servers() -> None:
    heard: list[Any] = []

    def elsewhere(role: Role, redirected: Redirection, bulk: bool) -> str:
        heard.append((role, redirected, bulk))
        return "there"

    commands = [get("a", "cache"), get("b", "cache", bulk=True)]
    _ = again(commands, [moved(7, "h", 1), ask(8, "::1", 2)], no_way, elsewhere, SPREAD, told=False)
    assert heard == [
        ("cache", Redirection(7, Address("h", 1), asking=False), False),
        ("cache", Redirection(8, Address("::1", 2), asking=True), True),
    ]


def test_a_redirection_of_a_role_with_one_server_stands() -> None:
    said = [moved(1, "one"), ask(1, "one")]
    replies: list[Any] = [*said]
    assert again([get("a"), run("b", "locks")], replies, no_way, nowhere, SPREAD, told=False) == {}
    assert replies == said


@pytest.mark.parametrize(
    ("command", "reply"),
    [(get("a", "cache"), moved(1, "one")), (get("a", "cache"), ask(1, "one")), (run("a", "cache"), NOSCRIPT)],
    ids=["moved", "ask", "script"],
)
def test_a_way_that_is_a_failure_is_the_reply_of_what_was_to_be_sent_again(command: Command[Any], reply: Any) -> None:
    replies: list[Any] = [b"held", reply]
    commands = [get("b", "cache"), command]
    assert again(commands, replies, lambda _: AWAY, lambda *_: AWAY, SPREAD, told=False) == {}
    assert replies == [b"held", AWAY]
