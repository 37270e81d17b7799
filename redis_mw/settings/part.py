"""The base of every value in the settings tree: frozen, shy about secrets, and checked by the root.

Built on its own, a part checks nothing but its names; ``Settings`` reads the whole tree when it is built, so that one
error can list everything that is wrong with it (``reading``).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from redis_mw.errors import Problem, SettingsError
from redis_mw.settings.nearest import nearest

P = TypeVar("P", bound="Part")


class NamedFields(msgspec.StructMeta):
    """Makes a misspelt keyword the same error in code as it is in a mapping."""

    # Type checkers find such a keyword by themselves and must go on seeing each class's own signature.
    if not TYPE_CHECKING:

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            unknown = [name for name in kwargs if name not in cls.__struct_fields__]
            if unknown:
                path = "" if cls.root else cls.__name__.lower()
                raise SettingsError([cls.unknown(path, name) for name in unknown])
            return super().__call__(*args, **kwargs)


class Part(msgspec.Struct, metaclass=NamedFields, frozen=True):
    """A part of the tree. ``hidden`` names the fields whose values ``repr`` must not show."""

    hidden: ClassVar[frozenset[str]] = frozenset()
    shorthand: ClassVar[str] = ""
    """The field that a bare text stands for where this part is expected, if there is one."""
    root: ClassVar[bool] = False
    """Whether it is the whole tree, so that its fields' paths start with their own names."""

    @classmethod
    def unknown(cls, path: str, name: str) -> Problem:
        """The problem that this part has no field of that name."""
        name = name or "''"
        return Problem(f"{path}.{name}" if path else name, "unknown", nearest(name, cls.__struct_fields__))

    def contradictions(self, path: str) -> Iterator[Problem]:
        """What is wrong with the fields as a whole; asked only when each of them is right by itself."""
        return iter(())

    def shown(self, name: str) -> Any:
        """The value of a field as ``repr`` may show it."""
        value = getattr(self, name)
        return "***" if name in self.hidden and value else value

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, self.shown(name)) for name in self.__struct_fields__]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"


def replace(part: P, **changes: Any) -> P:
    """The same settings or part with some fields changed; checked as if written anew. Defaults stay defaults."""
    fields = {name: getattr(part, name) for name in part.__struct_fields__}
    return type(part)(**{**fields, **changes})
