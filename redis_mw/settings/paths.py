"""How a path pattern is written: ``/orders/{id}``, ``/files/{name:path}``, ``/static/*``.

Literal segments; ``{name}`` stands for one segment, ``{name:path}`` and a last ``*`` for any rest, an empty one too.
How a pattern matches is ``policy.patterns``; here is only its grammar, since a bad one is an error at start-up.
"""

from typing import Annotated, Literal, NamedTuple, TypeAlias

from redis_mw.settings.must import Must, Wrong


class Segment(NamedTuple):
    """One segment: ``text`` is the literal, the parameter's name, or empty for ``*``."""

    kind: Literal["literal", "one", "rest"]
    text: str


def parse(pattern: str) -> tuple[Segment, ...]:
    """The segments of a pattern, in order, the leading slash taken off. ValueError says what is wrong with it."""
    if not pattern.startswith("/"):
        raise ValueError('it starts with "/"')
    texts = pattern[1:].split("/")
    segments = tuple(_segment(text) for text in texts)
    if any(segment.kind == "rest" for segment in segments[:-1]):
        raise ValueError("what stands for the rest of the path stands last")
    names = [segment.text for segment in segments if segment.kind != "literal" and segment.text]
    if len(set(names)) < len(names):
        raise ValueError("each parameter has a name of its own")
    return segments


def _segment(text: str) -> Segment:
    if text == "*":
        return Segment("rest", "")
    if text.startswith("{") and text.endswith("}"):
        name, colon, kind = text[1:-1].partition(":")
        if not name.isidentifier():
            raise ValueError("a parameter's name is a word: letters, digits and _")
        if colon and kind != "path":
            raise ValueError("a parameter is {name} or {name:path}")
        return Segment("rest" if colon else "one", name)
    if any(character in text for character in "{}*"):
        raise ValueError("a parameter or * fills its segment: /{name}, /{name:path}, /*")
    return Segment("literal", text)


def _pattern(text: str) -> Wrong | None:
    try:
        _ = parse(text)
    except ValueError as error:
        return Wrong(f"{text!r} is not a path pattern", str(error))
    return None


PathPattern: TypeAlias = Annotated[str, Must(_pattern)]
