"""What is asked of a limit, what it answers, and what was taken by that: values in the numbers of the scripts."""

import msgspec

from redis_mw.limits.quota import Quota


class Ask(msgspec.Struct, frozen=True, gc=False):
    """One limit asked for one client: ``key`` is where its numbers are, ``cost`` what the request would take."""

    quota: Quota
    key: str
    cost: int = 1


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a limit answers, in the numbers of the scripts: ``status`` is 1 passed, 0 denied, 2 banned.

    ``mark`` names the window the ``taken`` units were counted in.
    """

    status: int
    remaining: int
    reset_us: int
    wait_us: int
    mark: int
    taken: int


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What was taken by one question, so that it can be given back, once for its ``id``.

    ``mark`` is the sub-window or window the units were counted in (under gcra the moment), ``lives_us`` how long they
    count there.
    """

    ask: Ask
    mark: int
    cost: int
    id: str
    lives_us: int = 0

    @property
    def is_slot(self) -> bool:
        """Whether it is a place among the requests in flight."""
        return self.ask.quota.kind == "c"

    @property
    def reserved(self) -> bool:
        """Whether Redis keeps the id until this is settled."""
        return "r" in self.ask.quota.flags
