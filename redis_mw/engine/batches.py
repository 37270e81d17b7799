"""What both drivers do with a batch before and after it travels: who takes which command, what is sent once more.

Pure functions over commands and replies; where a way leads and how replies come back is a driver's own affair. A
command is *quick* or *firm* by its role (see ``breaker``).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, get_args

from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.flows import Argument, Command, Role

W = TypeVar("W")

ROLES: tuple[Role, ...] = get_args(Role)
QUICK: frozenset[Role] = frozenset({"cache", "limits"})

CLOSED = "the driver is closed"
REFUSED = "refused: the driver was told to refuse everything"
TOO_LATE = "the deadline is over"
DEAF = "wake-ups cannot be heard now"


class Part:
    """The commands of a batch that leave together: their places in it, their words, and how they are waited for."""

    __slots__ = ("patience_us", "places", "quick", "words")

    def __init__(self) -> None:
        self.places: list[int] = []
        self.words: list[tuple[Argument, ...]] = []
        self.patience_us = 0
        self.quick = True


def split(
    commands: Sequence[Command[Any]],
    places: Iterable[int],
    replies: list[Any],
    way: Callable[[Role, bool], "W | RedisUnavailable"],
    *,
    as_text: bool = False,
) -> dict[W, Part]:
    """Part the commands in ``places`` by the ``way`` that their role and their being ``bulk`` leads to.

    A way that is a failure is the reply. A part waits as long as its most patient command, and is quick if all are.
    """
    parts: dict[W, Part] = {}
    part: Part | RedisUnavailable | None = None
    role: Role | None = None
    bulk = False
    for place in places:
        command = commands[place]
        if part is None or command.role != role or command.bulk is not bulk:  # neighbours mostly go the same way
            role, bulk = command.role, command.bulk
            to = way(role, bulk)
            part = to if isinstance(to, RedisUnavailable) else parts.get(to) or parts.setdefault(to, Part())
        if isinstance(part, RedisUnavailable):
            replies[place] = part
            continue
        part.places.append(place)
        part.words.append(_as_text(command) if as_text else command.words())
        part.quick = part.quick and role in QUICK
        if command.patience_us > part.patience_us:
            part.patience_us = command.patience_us
    return parts


def unknown(commands: Sequence[Command[Any]], replies: Sequence[Any]) -> list[int]:
    """The places of scripts that their server did not know. They did not run: sending them as text is safe, once."""
    places: list[int] = []
    for place, reply in enumerate(replies):
        if type(reply) is CommandError and reply.code == "NOSCRIPT" and commands[place].script is not None:
            places.append(place)
    return places


def _as_text(command: Command[Any]) -> tuple[Argument, ...]:
    if command.script is None:
        return command.args
    return ("EVAL", command.script.text, len(command.keys), *command.keys, *command.args)
