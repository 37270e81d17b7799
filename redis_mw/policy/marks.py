"""Marks: what decorators write on functions and classes, and how integrations find them before a view runs.

A mark is one use of a decorator; it is told from others by its identity, so that a request is counted once however
often and at whatever level a decorated thing is met. What carries it is its *place*.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from redis_mw.settings import Policy

ATTRIBUTE = "__redis_mw__"


class Mark:
    """One policy that a decorator asks for. Equal only to itself."""

    __slots__ = ("policy",)

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def __repr__(self) -> str:
        return f"Mark({self.policy!r})"


class Above:
    """A mark that stands above the function which carries this: the function is not what enforces it.

    A route decorator that stands between the two has registered the function, so it has to tell of the mark; but
    whoever decorates it once more, for another route, does not inherit it.
    """

    __slots__ = ("mark",)

    def __init__(self, mark: Mark) -> None:
        self.mark = mark


class Placed(NamedTuple):
    """A mark, and the name of the view that carries it."""

    mark: Mark
    place: str


def marks_on(carrier: Any) -> tuple[Mark, ...]:
    """The marks that decorators wrote on this function or class, the innermost first."""
    return tuple(each.mark if isinstance(each, Above) else each for each in _written_on(carrier))


def own_marks(carrier: Any) -> tuple[Mark, ...]:
    """The same without those that stand above it."""
    return tuple(each for each in _written_on(carrier) if isinstance(each, Mark))


def write(carrier: Any, mark: Mark | Above) -> None:
    """Add one to what is written there; nothing where nothing can be (a bound method, something built in)."""
    try:
        setattr(carrier, ATTRIBUTE, (*_written_on(carrier), mark))
    except (AttributeError, TypeError):
        pass


def write_apart(wrapper: Any, mark: Mark) -> None:
    """Write the mark once more, under a name of its own.

    Who copies the attributes of several functions onto one, as Django's ``method_decorator`` does, keeps only the last
    of each name.
    """
    setattr(wrapper, f"{ATTRIBUTE}{id(mark):x}", mark)


def _written_on(carrier: Any) -> tuple[Mark | Above, ...]:
    found: tuple[Mark | Above, ...] = getattr(carrier, ATTRIBUTE, ())
    others = getattr(carrier, "__dict__", {}).values()
    apart = [each for each in others if isinstance(each, Mark) and each not in found]
    return (*found, *apart) if apart else found


def marks_of(view: Any, *methods: str, cls: Any = None, above: bool = True) -> tuple[Placed, ...]:
    """Every mark that holds for a view: its own, and those of its class ``cls`` and of the class's ``methods``.

    Which one carries a mark makes no difference to whom it holds for, but a limit without a name is counted apart at
    each place. Without ``above`` only what the view itself enforces: for frameworks whose routes are not decorators.
    """
    return tuple(_marks_of(view, methods, cls, marks_on if above else own_marks))


def _marks_of(
    view: Any, methods: tuple[str, ...], cls: Any, written: Callable[[Any], tuple[Mark, ...]]
) -> Iterator[Placed]:
    seen: set[Mark] = set()
    carriers = [(view, name_of(view))] if cls is None else [(cls, name_of(cls)), (view, name_of(cls))]
    if cls is not None:
        carriers += [(getattr(cls, method, None), f"{name_of(cls)}.{method}") for method in methods]
    for carrier, place in carriers:
        for mark in written(carrier):
            if mark not in seen:
                seen.add(mark)
                yield Placed(mark, f"{place}#{len(seen)}")


def name_of(carrier: Any) -> str:
    """What a function, class or object is called in code."""
    named = carrier if hasattr(carrier, "__qualname__") else type(carrier)
    return f"{named.__module__}.{named.__qualname__}"
