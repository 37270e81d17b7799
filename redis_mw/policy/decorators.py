"""The decorators: they write a policy on a view and wrap it, alike for every framework.

Whoever answers a request reads the marks before the view runs, and counts them in the one batch of the request. Where
a mark could not be seen in time (a foreign decorator dropped it), the wrapper has it enforced before the view's body,
at one more round trip. Called where no layer is mounted it raises ``LayerMissing``: nothing is silently unprotected.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, Literal, TypeVar, cast

from redis_mw.policy.current import gate
from redis_mw.policy.marks import ATTRIBUTE, Above, Mark, Placed, name_of, own_marks, write, write_apart
from redis_mw.settings import Limit, Strikes
from redis_mw.settings.rates import By, Cost, Counted, RateText

V = TypeVar("V", bound="Callable[..., Any]")

DISPATCHERS = ("dispatch", "dispatch_request")
"""What a class-based view's requests go through: in Django and Starlette, in Flask."""


def limited(
    rate: RateText,
    *,
    name: str | None = None,
    by: By | Sequence[By] = "client",
    cost: Cost = 1,
    algorithm: Literal["sliding", "gcra", "fixed", "concurrency"] = "sliding",
    burst: int | None = None,
    strict: bool = False,
    methods: Sequence[str] | None = None,
    on_deny: Literal["free", "charge"] = "free",
    on_outage: Literal["local", "open", "closed"] = "local",
    count: Counted = "all",
    shadow: bool = False,
    strikes: Strikes | None = None,
    lease: int = 0,
    status: int = 429,
) -> Callable[[V], V]:
    """Let a view be called at most so often; the arguments are those of ``Limit``.

    Functions, sync and async, and classes; above or below the framework's route decorator, and stackable. Raises
    ``SettingsError`` for what no limit could mean.
    """
    limit = Limit(
        rate=rate,
        name=name,
        by=by,
        cost=cost,
        algorithm=algorithm,
        burst=burst,
        strict=strict,
        methods=methods,
        on_deny=on_deny,
        on_outage=on_outage,
        count=count,
        shadow=shadow,
        strikes=strikes,
        lease=lease,
        status=status,
    )
    return marking(Mark(limit.checked("limited(...)")))


def marking(mark: Mark) -> Callable[[V], V]:
    """The decorator that writes this mark."""

    def decorate(view: V) -> V:
        if isinstance(view, type):
            return cast(V, _on_class(view, mark))
        wrapper = _wrapped(view, mark)
        write(view, Above(mark))
        return cast(V, wrapper)

    return decorate


def _wrapped(view: Callable[..., Any], mark: Mark) -> Callable[..., Any]:
    marks = (*own_marks(view), mark)
    placed = Placed(mark, f"{name_of(view)}#{len(marks)}")

    @wraps(view)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        await gate().ahold(placed)
        return await view(*args, **kwargs)

    @wraps(view)
    def called(*args: Any, **kwargs: Any) -> Any:
        gate().hold(placed)
        return view(*args, **kwargs)

    wrapper = awaited if _is_async(view) else called
    setattr(wrapper, ATTRIBUTE, marks)
    write_apart(wrapper, mark)
    return wrapper


def _is_async(view: Callable[..., Any]) -> bool:
    """Whether it gives something to be awaited; before Python 3.12 what only says so was marked as asyncio did."""
    return iscoroutinefunction(view) or getattr(view, "_is_coroutine", None) is not None


def _on_class(view: type, mark: Mark) -> type:
    found = [name for name in DISPATCHERS if hasattr(view, name)]
    if not found:
        raise TypeError(f"{name_of(view)} is no class-based view: it has none of {', '.join(DISPATCHERS)}")
    write(view, mark)
    for name in found:
        setattr(view, name, _wrapped(getattr(view, name), mark))
    return view
