"""Flows: what a feature wants of Redis, said without doing any I/O.

A flow is a generator that yields *effects* and receives their replies. Features are written as flows, once; the
two drivers in ``engine`` perform the effects, one for threads and one for asyncio. Only values and pure functions may
live here.

The effects are a closed set of two. A ``Batch`` is one round trip; the driver sends back a list with one reply per
command. A ``Wait`` sleeps until another process wakes one of its channels; the driver sends back a ``Woken``, or None
when the time is over.

A reply is a value, always: what Redis answered, or a ``CommandError`` (Redis refused this one command), or a
``RedisUnavailable`` (there was no answer). So one command's failure reaches only the flow it belongs to, although
``together`` merges the commands of many flows into one batch. Flows return outcomes and raise only bugs.
"""

from collections.abc import Callable, Generator
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast, overload

import msgspec

from redis_mw.errors import CommandError, RedisUnavailable

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

Role: TypeAlias = Literal["default", "sessions", "cache", "limits", "locks"]
Argument: TypeAlias = str | bytes | int
Failure: TypeAlias = CommandError | RedisUnavailable


class Script(msgspec.Struct, frozen=True, gc=False):
    """A Lua script as it stands in its file; ``sha`` is what EVALSHA calls it by."""

    name: str
    text: str
    sha: str


class Command(msgspec.Struct, Generic[T_co], frozen=True, gc=False):
    """One command, with all a driver needs to place it and the parser that turns its reply into a ``T``.

    ``args`` is the whole command, or, with a ``script``, only what follows its keys. ``keys`` decide the slot,
    ``role`` the server, ``patience_us`` how long its flow is ready to wait. A reply that may be large says ``bulk``
    and travels beside the small ones. ``wakes`` names the channels on which this flow may ``Wait`` next: the driver
    is subscribed to them before it sends, so a wake-up in between is not lost. One that only reads, and may be answered
    by what was true a moment ago, says ``replica``: it goes to one where the settings allow that.
    """

    args: tuple[Argument, ...]
    parse: Callable[[Any], T_co]
    keys: tuple[str, ...] = ()
    script: Script | None = None
    role: Role = "default"
    patience_us: int = 1_000_000
    bulk: bool = False
    wakes: tuple[str, ...] = ()
    replica: bool = False

    def words(self) -> tuple[Argument, ...]:
        """The command as it goes onto the wire."""
        if self.script is None:
            return self.args
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.args)


class Batch(msgspec.Struct, frozen=True, gc=False):
    """One round trip. The driver sends back a list of raw replies, as long as ``commands``."""

    commands: tuple[Command[Any], ...]


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Sleep until one of ``channels`` is woken or ``seconds`` are over; replies a ``Woken``, or None."""

    channels: tuple[str, ...]
    seconds: float


class Woken(msgspec.Struct, frozen=True, gc=False):
    """The reply to a ``Wait`` that was woken: by which channel, how many seconds after it began, and what was said.

    An empty ``message`` may mean that something was missed: whoever is told nothing looks for himself.
    """

    channel: str
    after: float
    message: bytes = b""


Effect: TypeAlias = Batch | Wait
Flow: TypeAlias = Generator[Effect, Any, T]


def one(command: Command[T]) -> Flow[T | Failure]:
    """Send one command and give its parsed reply, or the failure."""
    replies: list[Any] = yield Batch((command,))
    return _parsed(command, replies[0])


@overload
def send(a: Command[A], b: Command[B], /) -> Flow[tuple[A | Failure, B | Failure]]: ...
@overload
def send(a: Command[A], b: Command[B], c: Command[C], /) -> Flow[tuple[A | Failure, B | Failure, C | Failure]]: ...
@overload
def send(*commands: Command[T]) -> Flow[tuple[T | Failure, ...]]: ...
def send(*commands: Command[Any]) -> Flow[tuple[Any, ...]]:
    """Send several commands in one round trip and give their parsed replies, each its own value or failure."""
    if not commands:
        return ()
    replies: list[Any] = yield Batch(commands)
    return tuple(_parsed(command, reply) for command, reply in zip(commands, replies, strict=True))


def _parsed(command: Command[T], reply: Any) -> T | Failure:
    return reply if isinstance(reply, (CommandError, RedisUnavailable)) else command.parse(reply)


def done(value: T) -> Flow[T]:
    """A flow that asks for nothing and ends with ``value``."""
    return value
    yield  # unreachable: it makes this function a generator


def begun(flow: Flow[T]) -> Flow[T]:
    """The same flow, advanced to its first effect: what it raises before that it raises here."""
    try:
        effect = next(flow)
    except StopIteration as end:
        return done(end.value)
    return _resumed(flow, effect)


def _resumed(flow: Flow[T], effect: Effect) -> Flow[T]:
    try:
        while True:
            try:
                reply = yield effect
            except GeneratorExit:
                flow.close()
                raise
            except BaseException as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(reply)
    except StopIteration as end:
        value: T = end.value
        return value


@overload
def together(a: Flow[A], b: Flow[B], /) -> Flow[tuple[A, B]]: ...
@overload
def together(a: Flow[A], b: Flow[B], c: Flow[C], /) -> Flow[tuple[A, B, C]]: ...
@overload
def together(a: Flow[A], b: Flow[B], c: Flow[C], d: Flow[D], /) -> Flow[tuple[A, B, C, D]]: ...
@overload
def together(*flows: Flow[T]) -> Flow[tuple[T, ...]]: ...
def together(*flows: Flow[Any]) -> Flow[tuple[Any, ...]]:
    """Advance flows side by side, their next batches merged into one round trip, in the order of the arguments.

    Batches go first: a ``Wait`` is performed when no flow of the group has a batch left, and only time spent waiting
    counts for it. Nothing that a flow took is forgotten: when one of them raises, the others are still run to their
    end and only then is the error raised. An interruption (the driver throws a cancellation in) is thrown into every
    flow that has not ended, and the commands they undo their work with leave as one batch. What the ended ones
    returned is lost to the caller then: whoever lets a flow take something keeps its own way of giving it back.
    """
    if len(flows) == 1:
        return ((yield from flows[0]),)
    group = _Group(flows)
    group.start()
    interruption: BaseException | None = None
    while (effect := group.next_effect()) is not None:
        try:
            reply = yield effect
        except BaseException as error:
            interruption = error
            group.interrupt(error)
        else:
            group.answer(reply)
    if interruption is not None:
        raise interruption
    if group.error is not None:
        raise group.error
    return tuple(group.results)


class _Group:
    """The flows of one ``together``: what each asks for now, and what the ended ones returned."""

    def __init__(self, flows: tuple[Flow[Any], ...]) -> None:
        self.flows = flows
        self.results: list[Any] = [None] * len(flows)
        self.error: BaseException | None = None
        self._asking: dict[int, Effect] = {}
        self._asked: list[int] = []
        self._left: dict[int, float] = {}

    def start(self) -> None:
        for index, flow in enumerate(self.flows):
            self._advance(index, lambda flow=flow: next(flow))  # type: ignore[misc]

    def next_effect(self) -> Effect | None:
        """What the group as a whole asks for next: all batches as one, else all waits as one, else nothing."""
        if not self._asking:
            return None
        batching = [index for index, effect in self._asking.items() if isinstance(effect, Batch)]
        if batching:
            self._asked = sorted(batching)
            return Batch(tuple(c for index in self._asked for c in cast(Batch, self._asking[index]).commands))
        self._asked = sorted(self._asking)
        waits = [cast(Wait, self._asking[index]) for index in self._asked]
        for index, wait in zip(self._asked, waits, strict=True):
            _ = self._left.setdefault(index, wait.seconds)
        return Wait(tuple(name for wait in waits for name in wait.channels), min(self._left.values()))

    def answer(self, reply: Any) -> None:
        """Give each flow that was asked for its part of the reply."""
        asked, self._asked = self._asked, []
        effects = {index: self._asking.pop(index) for index in asked}
        if isinstance(next(iter(effects.values())), Batch):
            start = 0
            for index, effect in effects.items():
                end = start + len(cast(Batch, effect).commands)
                self._send(index, reply[start:end])
                start = end
            return
        self._wake(cast("dict[int, Wait]", effects), reply)

    def _wake(self, waits: dict[int, Wait], woken: Woken | None) -> None:
        """End the waits that were woken or whose time is over; the others go on with what is left of theirs."""
        passed = min(self._left.values()) if woken is None else woken.after
        for index, wait in waits.items():
            left = self._left.pop(index)
            if woken is not None and woken.channel in wait.channels:
                self._send(index, Woken(woken.channel, wait.seconds - left + passed, woken.message))
            elif left <= passed:
                self._send(index, None)
            else:
                self._asking[index] = wait
                self._left[index] = left - passed

    def interrupt(self, error: BaseException) -> None:
        """Throw ``error`` into every flow that has not ended; what they yield now is how they undo their work."""
        for index in sorted(self._asking):
            _ = self._asking.pop(index)
            _ = self._left.pop(index, None)
            self._advance(index, lambda flow=self.flows[index]: flow.throw(error), error)  # type: ignore[misc]

    def _send(self, index: int, reply: Any) -> None:
        self._advance(index, lambda: self.flows[index].send(reply))

    def _advance(self, index: int, step: Callable[[], Effect], expected: BaseException | None = None) -> None:
        try:
            self._asking[index] = step()
        except StopIteration as end:
            self.results[index] = end.value
        except BaseException as error:
            if error is not expected and self.error is None:
                self.error = error
