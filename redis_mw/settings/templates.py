"""How a template is written: ``order:{order_id}``, a text with the names of what fills it in braces.

What fills one for a request is ``policy.templates``; here is only its grammar, since a bad one is an error at start-up.
"""

from collections.abc import Iterator
from itertools import pairwise
from string import Formatter
from typing import NamedTuple

from redis_mw.errors import Problem


class Piece(NamedTuple):
    """A literal text, and the name of what follows it, None at the end."""

    text: str
    name: str | None


def parse_template(template: str) -> tuple[Piece, ...]:
    """The pieces of a template; braces that are meant are doubled. ValueError says what is wrong with it."""
    try:
        pieces = [*Formatter().parse(template)]
    except ValueError as error:
        raise ValueError(f"{error}; write {{name}}, and braces that are meant twice") from None
    for _, name, spec, conversion in pieces:
        if name is not None and (spec or conversion or not name.isidentifier()):
            raise ValueError(f"{{{name}}} is not the name of a path parameter, {{user}} or {{session}}")
    for before, after in pairwise(pieces):
        if before[1] is not None and after[1] is not None and not after[0]:
            raise ValueError(f"nothing parts {{{before[1]}}} from {{{after[1]}}}, so two things could have one name")
    return tuple(Piece(text, name) for text, name, _, _ in pieces)


def template_problems(path: str, template: object) -> Iterator[Problem]:
    """What is wrong with a template of the settings; a callable, or a dotted path to one, is none."""
    if isinstance(template, str) and not template.startswith("call:"):
        try:
            _ = parse_template(template)
        except ValueError as error:
            yield Problem(path, f"{template!r} is no template", str(error))
