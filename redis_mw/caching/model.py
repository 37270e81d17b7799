"""What the scripts of tags promise, in plain Python; the models of values and pages begin with it."""

from dataclasses import dataclass, field
from struct import Struct

HALF = Struct(">Q4s")
DRAWN = 1 << 63
"""Says that a version was there because one was asked for, not because something was dropped."""


@dataclass
class Tags:
    """The tags of one prefix, at a time that moves when told to: each has a version or none."""

    now: int = 0
    tags: dict[str, bytes] = field(default_factory=dict[str, bytes])
    apart: bool = False
    """Whether they are on other servers than what hangs on them, of which scripts then know nothing."""

    def soften(self, tag: str, seed: bytes) -> bool:
        if tag not in self.tags:
            return False
        self.tags[tag] = self.tags[tag][:12] + HALF.pack(self.now, seed)
        return True

    def drop_tag(self, tag: str, seed: bytes) -> bool:
        known = tag in self.tags
        self.tags[tag] = HALF.pack(self.now, seed) * 2
        return known

    def hold(self, tag: str, seed: bytes, since_us: int | None = None) -> tuple[bytes, bool]:
        version = self.version(tag, seed)
        return version, since_us is not None and dropped_since(version, since_us)

    def version(self, tag: str, seed: bytes) -> bytes:
        """The version of a tag, drawn if it has none."""
        return self.tags.setdefault(tag, HALF.pack(DRAWN | self.now, seed) * 2)


def dropped_since(version: bytes, us: int) -> bool:
    """Whether something that hangs on the tag was dropped, hard or softly, at or after a time."""
    return any(version[at] < 128 and int.from_bytes(version[at : at + 8], "big") >= us for at in (0, 12))
