"""Entity-tags (RFC 9110 section 8.8.3): read strictly, compared strongly or weakly, in lists and with the star."""

import re
from collections.abc import Sequence

import msgspec

_PATTERN = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*+)"'
_TAG = re.compile(_PATTERN)
_ELEMENT = re.compile(rf"[ \t,]*+{_PATTERN}[ \t]*+(?=,|\Z)")


class EntityTag(msgspec.Struct, frozen=True, gc=False):
    """What names one state of a representation; ``opaque`` stands between the quotes."""

    opaque: str
    weak: bool = False

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.opaque}"'

    def is_strongly(self, other: "EntityTag") -> bool:
        """Whether both name the same bytes (RFC 9110 section 8.8.3.2): neither is weak."""
        return not self.weak and not other.weak and self.opaque == other.opaque

    def is_weakly(self, other: "EntityTag") -> bool:
        """Whether both name the same for a reader (RFC 9110 section 8.8.3.2): weak or not."""
        return self.opaque == other.opaque


def parse_etag(text: str | None) -> EntityTag | None:
    """One entity-tag, None for anything else; never raises. ``W/`` is written so, in that case."""
    found = _TAG.fullmatch(text.strip(" \t")) if text is not None else None
    return EntityTag(found[2], found[1] is not None) if found else None


def parse_etags(lines: Sequence[str]) -> tuple[EntityTag, ...] | None:
    """The entity-tags of a list over all its lines, None where anything else stands in it; never raises."""
    text = ", ".join(lines).strip(" \t,")
    tags: list[EntityTag] = []
    position = 0
    while position < len(text):
        found = _ELEMENT.match(text, position)
        if found is None:
            return None
        tags.append(EntityTag(found[2], found[1] is not None))
        position = found.end()
    return tuple(tags) or None


def is_any(lines: Sequence[str]) -> bool:
    """Whether the field is the star, which stands for every entity-tag there is (RFC 9110 section 13.1.2)."""
    return len(lines) == 1 and lines[0].strip(" \t") == "*"
