"""Scripts against their model: a random history on a real server, told step by step what time it is."""

from itertools import count
from typing import Any

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

from redis_mw import Settings
from redis_mw.caching.tags import TagCommands
from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Events
from redis_mw.flows import one

HOUR = 3_600_000_000
PATIENCE_US = 10_000_000


class AgainstModel(RuleBasedStateMachine):
    """What such histories share; ``tags`` are the commands of tags, ``model`` is what is compared with.

    ``apart``: tags live on other servers than what hangs on them, as in a cluster.
    """

    settings_of_test: Settings
    apart = False
    tags: TagCommands
    model: Any

    def __init__(self) -> None:
        super().__init__()
        settings = self.settings_of_test
        self.driver = SyncDriver(settings, Events((), lambda: 0.0))
        self.client: Any = redis.Redis.from_url(settings.url_of("cache"))
        self.prefix = settings.prefix
        self.seeds = count(1)

    @initialize(start=st.integers(HOUR, 2_000_000_000_000_000))
    def begin(self, start: int) -> None:
        self.model.now = start
        self.tell()

    def tell(self) -> None:
        """Let all commands be of the model's time."""
        raise NotImplementedError

    def goes_by(self, us: int) -> None:
        self.model.now += us
        self.tell()

    def teardown(self) -> None:
        for key in self.client.scan_iter(f"{self.prefix}:*", count=1000):
            self.client.delete(key)
        self.driver.close()
        self.client.close()

    def seed(self) -> bytes:
        """Random bytes: none comes twice in one microsecond."""
        return next(self.seeds).to_bytes(4, "big")

    def run(self, command: Any) -> Any:
        reply = self.driver.run(one(command))
        assert not isinstance(reply, Exception), reply
        return reply

    def dropped(self, tag: str, *, soft: bool) -> None:
        """Drop a tag."""
        seed = self.seed()
        command = (self.tags.soften if soft else self.tags.drop)(tag, seed)
        assert self.run(command) == (self.model.soften(tag, seed) if soft else self.model.drop_tag(tag, seed))

    def hold(self, tag: str, us: int = 40 * HOUR, since_us: int | None = None) -> bytes:
        """The version of a tag, drawn if it has none."""
        seed = self.seed()
        command = self.tags.hold(tag, seed, us // 1000, "" if since_us is None else since_us)
        got: tuple[bytes, bool] = self.run(command)
        assert got == self.model.hold(tag, seed, since_us)
        return got[0]
