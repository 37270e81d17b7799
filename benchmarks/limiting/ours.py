"""redis-mw: ``mw.limits`` of the two direct faces; any number of limits is one ``hit_all``."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from benchmarks.limiting.limiter import Quota
from redis_mw import AsyncRedisMW, Limit, RedisMW, Settings
from redis_mw.flows import Argument, Command, Flow, one


class Shape(NamedTuple):
    """How a limit is made of a quota."""

    prefix: str
    """As long as the default one, for the bytes; of its own, should a process remember denials by the key alone."""
    algorithm: Literal["sliding", "gcra", "fixed"]
    burst_of: float | None = None
    """The burst, as a part of the quota's count."""
    strict: bool = False

    def limit(self, quota: Quota) -> Limit:
        return Limit(
            f"{quota.count}/{quota.period}s",
            algorithm=self.algorithm,
            burst=None if self.burst_of is None else max(1, int(quota.count * self.burst_of)),
            strict=self.strict,
        )


def _raw(*words: Argument) -> Flow[Any]:
    """One plain command, sent as every flow's commands are."""
    same: Callable[[Any], Any] = lambda reply: reply  # noqa: E731
    return one(Command(words, same, keys=tuple(map(str, words[1:])), role="limits"))


class OurLimiter:
    def __init__(self, shape: Shape, url: str, quotas: Sequence[Quota]) -> None:
        self.degraded = 0
        self._mw = RedisMW(Settings(url=url, prefix=shape.prefix))
        self._limits = [shape.limit(quota) for quota in quotas]
        self._only = self._limits[0] if len(self._limits) == 1 else None

    def hit(self, key: str) -> bool:
        if self._only is not None:
            verdict = self._mw.limits.hit(self._only, key=key)
            self.degraded += verdict.degraded
            return verdict.allowed
        verdicts = self._mw.limits.hit_all([(limit, key, 1) for limit in self._limits])
        self.degraded += any(verdict.degraded for verdict in verdicts)
        return all(verdict.allowed for verdict in verdicts)

    def ping(self) -> object:
        return self._mw.driver.run(_raw("PING"))

    def close(self) -> None:
        self._mw.close()


class OurAsyncLimiter:
    def __init__(self, shape: Shape, url: str, quotas: Sequence[Quota]) -> None:
        self.degraded = 0
        self._mw = AsyncRedisMW(Settings(url=url, prefix=shape.prefix))
        self._limits = [shape.limit(quota) for quota in quotas]
        self._only = self._limits[0] if len(self._limits) == 1 else None

    async def hit(self, key: str) -> bool:
        if self._only is not None:
            verdict = await self._mw.limits.hit(self._only, key=key)
            self.degraded += verdict.degraded
            return verdict.allowed
        verdicts = await self._mw.limits.hit_all([(limit, key, 1) for limit in self._limits])
        self.degraded += any(verdict.degraded for verdict in verdicts)
        return all(verdict.allowed for verdict in verdicts)

    async def incr(self, key: str) -> object:
        return await self._mw.driver.run(_raw("INCR", key))

    async def aclose(self) -> None:
        await self._mw.aclose()
