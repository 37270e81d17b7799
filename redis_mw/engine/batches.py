"""What both drivers do with a batch before and after it travels: who takes which command, what is sent once more.

Pure functions over commands and replies; where a way leads and how replies come back is a driver's own affair. A
command is *quick* or *firm* by its role (see ``breaker``).
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar, get_args

from redis_mw.engine.cluster import ASKING, Redirection, redirection
from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.flows import Argument, Command, Role, Script

W = TypeVar("W")

ROLES: tuple[Role, ...] = get_args(Role)
QUICK: frozenset[Role] = frozenset({"cache", "limits"})

CLOSED = "the driver is closed"
REFUSED = "refused: the driver was told to refuse everything"
TOO_LATE = "the deadline is over"
DEAF = "wake-ups cannot be heard now"


class Part:
    """The commands of a batch that leave together: their places in it, their words, and how they are waited for.

    In ``places`` None stands for words of which nobody wants the reply.
    """

    __slots__ = ("patience_us", "places", "quick", "words")

    def __init__(self) -> None:
        self.places: list[int | None] = []
        self.words: list[tuple[Argument, ...]] = []
        self.patience_us = 0
        self.quick = True

    def add(self, place: int, command: Command[Any], words: tuple[Argument, ...]) -> None:
        """One more command. A part waits as long as its most patient one, and is quick if all are."""
        self.places.append(place)
        self.words.append(words)
        self.quick = self.quick and command.role in QUICK
        if command.patience_us > self.patience_us:
            self.patience_us = command.patience_us

    def put(self, replies: Sequence[Any], into: list[Any]) -> None:
        """The replies of this part to their places in the batch."""
        for place, reply in zip(self.places, replies, strict=True):
            if place is not None:
                into[place] = reply


def split(
    commands: Sequence[Command[Any]],
    places: Iterable[int],
    replies: list[Any],
    way: Callable[[Command[Any]], "W | RedisUnavailable"],
    spread: Collection[Role] = (),
) -> dict[W, Part]:
    """Part the commands in ``places`` by the ``way`` that leads to their server; one that is a failure is the reply.

    The way depends on their role and their being ``bulk``; on their keys too for the roles that are ``spread`` over
    many servers.
    """
    parts: dict[W, Part] = {}
    part: Part | RedisUnavailable | None = None
    role: Role | None = None
    bulk = False
    for place in places:
        command = commands[place]
        if part is None or command.role != role or command.bulk is not bulk or role in spread:
            role, bulk = command.role, command.bulk  # neighbours mostly go the same way
            to = way(command)
            part = to if isinstance(to, RedisUnavailable) else parts.get(to) or parts.setdefault(to, Part())
        if isinstance(part, RedisUnavailable):
            replies[place] = part
        else:
            part.add(place, command, command.words())
    return parts


def again(
    commands: Sequence[Command[Any]],
    replies: list[Any],
    way: Callable[[Command[Any]], "W | RedisUnavailable"],
    elsewhere: Callable[[Role, Redirection, bool], "W | RedisUnavailable"],
    spread: Collection[Role],
    *,
    told: bool,
) -> dict[W, Part]:
    """What of a batch that was answered is to be sent once more, by its way: its server did nothing of it.

    A script that the server did not know goes as its text, unless that was done before (``told``). A command of a role
    that is ``spread`` goes ``elsewhere``, where its server says that it belongs.
    """
    parts: dict[W, Part] = {}
    for place, reply in enumerate(replies):
        if type(reply) is not CommandError:
            continue
        command = commands[place]
        words, asking = command.words(), False
        to: W | RedisUnavailable
        if reply.code == "NOSCRIPT" and command.script is not None and not told:
            words, to = _as_text(command, command.script), way(command)
        elif command.role in spread and (redirected := redirection(reply)) is not None:
            to, asking = elsewhere(command.role, redirected, command.bulk), redirected.asking
            if asking and command.script is not None:
                # Were the script unknown there, its text would go to the server that sent us away, and so on.
                words = _as_text(command, command.script)
        else:
            continue
        if isinstance(to, RedisUnavailable):
            replies[place] = to
            continue
        part = parts.setdefault(to, Part())
        if asking:
            part.places.append(None)
            part.words.append(ASKING)
        part.add(place, command, words)
    return parts


def _as_text(command: Command[Any], script: Script) -> tuple[Argument, ...]:
    return ("EVAL", script.text, len(command.keys), *command.keys, *command.args)
