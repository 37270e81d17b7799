"""Flows performed one effect at a time, so that several overlap as a test wants it, or one is cut in the middle."""

from collections.abc import Callable
from typing import Any

from redis_mw.errors import RedisUnavailable
from redis_mw.flows import Batch, Flow, Wait


class Cut(BaseException):
    """What a driver throws into a flow whose request was cancelled."""


class Stepped:
    """A flow under way. ``run`` performs a whole flow: that of one batch, here. Nobody is woken who waits."""

    def __init__(self, run: Callable[[Flow[Any]], Any], flow: Flow[Any]) -> None:
        self.result: Any = None
        self.is_done = False
        self._run = run
        self._flow = flow
        self._asks: Any = None
        self._advance(lambda: next(flow))

    @property
    def asks_now(self) -> bool:
        """Whether it is at a batch, and not at a wait."""
        return isinstance(self._asks, Batch) and not self.is_done

    def step(self) -> None:
        """Perform the batch that it is at, or let its wait end in vain, and let it go on to the next."""
        self.receive(self.perform())

    def perform(self) -> Any:
        """Perform the batch that it is at and give the reply, which is on its way until it may ``receive`` that."""
        return self._performed()

    def receive(self, reply: Any) -> None:
        """Let it go on to the next with this reply."""
        self._advance(lambda: self._flow.send(reply))

    def meet_an_outage(self) -> None:
        """Let it go on as if Redis had gone before the batch came there."""
        reply = [RedisUnavailable("gone")] * len(self._asks.commands)
        self._advance(lambda: self._flow.send(reply))

    def finish(self) -> Any:
        """Perform the rest; its result."""
        while not self.is_done:
            self.step()
        return self.result

    def cut(self, *, sent: bool) -> None:
        """End it as drivers do: the batch under way settles, if it was ``sent``, and then it may undo its work."""
        if sent:
            _ = self._performed()
        cut = Cut()
        try:
            self._advance(lambda: self._flow.throw(cut))
            _ = self.finish()
        except Cut:
            self.is_done = True

    def close(self) -> None:
        """End it as drivers do when they end themselves: where it stands, with nothing more to say."""
        self._flow.close()
        self.is_done = True

    def _performed(self) -> Any:
        if isinstance(self._asks, Wait):
            return None

        def batch() -> Flow[Any]:
            return (yield self._asks)

        return self._run(batch())

    def _advance(self, go_on: Callable[[], Any]) -> None:
        try:
            self._asks = go_on()
        except StopIteration as end:
            self.result, self.is_done = end.value, True
