"""Default values that can be told from the same value given by the user.

Only values whose origin matters are written this way: a lifetime that the user did not set gives way to the framework's
own, and a rule that does not set ``session`` or ``touch`` leaves them to the next rule.
"""

from typing import Any, TypeGuard


class Default(int):
    """A whole number that nobody asked for; equal to, and usable as, the plain number."""


class DefaultText(str):
    """A text that nobody asked for; equal to, and usable as, the plain text."""


class DefaultFlag(int):
    """True or False that nobody asked for. ``bool`` cannot be subclassed, so ask for its truth, not ``is True``."""

    def __repr__(self) -> str:
        return repr(bool(self))


def is_default(value: Any) -> TypeGuard[Default | DefaultText | DefaultFlag]:
    """Whether the value is one that a setting has when the user did not set it."""
    return isinstance(value, (Default, DefaultText, DefaultFlag))
