"""The decorators: they write a policy on a view and wrap it, alike for every framework.

Whoever answers a request reads the marks before the view runs, and counts them in the one batch of the request. Where
a mark could not be seen in time (a foreign decorator dropped it), the wrapper has it enforced before the view's body,
at one more round trip. Called where no layer is mounted it raises ``LayerMissing``: nothing is silently unprotected.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import iscoroutinefunction, isfunction
from typing import Any, Literal, TypeVar, cast
from weakref import WeakSet

from redis_mw.policy.current import gate
from redis_mw.policy.marks import ATTRIBUTE, Above, Mark, Placed, marks_on, name_of, own_marks, write, write_apart
from redis_mw.settings import Cached, Duration, Idempotent, Limit, Lock, Strikes
from redis_mw.settings.rates import By, Cost, Counted, RateText

V = TypeVar("V", bound="Callable[..., Any]")

DISPATCHERS = ("dispatch", "dispatch_request")
"""What a class-based view's requests go through: in Django and Starlette, in Flask."""

GROUP = "register_blueprint"
"""Who has this is no view but holds some: Flask's blueprints and applications. A mark on one is for all of them."""

_wrappers: "WeakSet[Any]" = WeakSet()
"""What decorators returned. (An attribute would not tell: foreign decorators copy them.)"""


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

    Functions, sync and async, classes, and Flask's blueprints; above or below the framework's route decorator, and
    stackable. Raises ``SettingsError`` for what no limit could mean.
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


def locked(
    name: "str | Callable[..., Any]",
    *,
    ttl: Duration | None = None,
    wait: Duration | None = None,
    shared: bool = False,
    cancel_when_lost: bool = False,
    methods: Sequence[str] | None = None,
) -> Callable[[V], V]:
    """Let requests of a view run one at a time for each value of the lock's name; the arguments are those of ``Lock``.

    Where a view has several, a request takes all of them at once. Raises ``SettingsError`` for what no lock could mean.
    """
    lock = Lock(name, ttl=ttl, wait=wait, shared=shared, cancel_when_lost=cancel_when_lost, methods=methods)
    return marking(Mark(lock.checked("locked(...)")))


def idempotent(
    *,
    required: bool = False,
    scope: "str | Callable[..., Any] | None" = None,
    wait: Duration = 0,
    methods: Sequence[str] = ("POST", "PATCH"),
) -> Callable[[V], V]:
    """Let a request that is sent again with its idempotency key run once, and replay its answer; the arguments are
    those of ``Idempotent``. Raises ``SettingsError`` for what it could not mean.
    """
    policy = Idempotent(required=required, scope=scope, wait=wait, methods=methods)
    return marking(Mark(policy.checked("idempotent(...)")))


def cached(
    ttl: Duration = 0,
    *,
    tags: Sequence[str] = (),
    vary: Sequence[str] = (),
    key: "str | Callable[..., Any] | None" = None,
    stale: Duration = 0,
    stale_if_error: Duration = 0,
    negative: "Mapping[int, Duration] | Duration | None" = None,
    jitter: float | None = None,
    public: bool = False,
    methods: Sequence[str] = ("GET",),
    host_any: bool = False,
    cookies: "Sequence[str] | Literal['all']" = (),
) -> Callable[[V], V]:
    """Keep a view's responses and give them to everybody who asks for the same; the arguments are those of ``Cached``.

    What is somebody's own is never kept. Of several on one view the last counts:
    that of the method, or the outermost. Raises ``SettingsError`` for what it could not mean.
    """
    policy = Cached(
        ttl,
        tags=tags,
        vary=vary,
        key=key,
        stale=stale,
        stale_if_error=stale_if_error,
        jitter=jitter,
        public=public,
        methods=methods,
        host_any=host_any,
        cookies=cookies,
        **({} if negative is None else {"negative": negative}),
    )
    return marking(Mark(policy.checked("cached(...)")))


def marking(mark: Mark) -> Callable[[V], V]:
    """The decorator that writes this mark."""

    def decorate(view: V) -> V:
        if isinstance(view, type):
            return cast(V, _on_class(view, mark))
        if hasattr(view, GROUP):
            write(view, mark)
            return view
        if not callable(view):
            raise TypeError(f"decorators of redis-mw are for views, and {view!r} cannot be called")
        wrapper = _wrapped(view, mark)
        _leave_word(view, mark)
        return cast(V, wrapper)

    return decorate


def _wrapped(view: Callable[..., Any], mark: Mark, place: str = "") -> Callable[..., Any]:
    marks = (*own_marks(view), mark)
    placed = Placed(mark, place or f"{name_of(view)}#{len(marks)}")

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
    _wrappers.add(wrapper)
    return wrapper


def _is_async(view: Callable[..., Any]) -> bool:
    """Whether it gives something to be awaited; before Python 3.12 what only says so was marked as asyncio did."""
    return iscoroutinefunction(view) or getattr(view, "_is_coroutine", None) is not None


def _leave_word(view: Any, mark: Mark) -> None:
    """Say so on the user's function, below whatever of ours was put around it before."""
    write(view, Above(mark))
    while isfunction(view) and view in _wrappers:
        view = getattr(view, "__wrapped__")  # noqa: B009  # functools.wraps has set it
        write(view, Above(mark))


def _on_class(view: type, mark: Mark) -> type:
    found = [name for name in DISPATCHERS if hasattr(view, name)]
    if not found:
        raise TypeError(f"{name_of(view)} is no class-based view: it has none of {', '.join(DISPATCHERS)}")
    write(view, mark)
    place = f"{name_of(view)}#{len(marks_on(view))}"  # what it calls may be the framework's, alike for all classes
    for name in found:
        setattr(view, name, _wrapped(getattr(view, name), mark, place))
    return view
