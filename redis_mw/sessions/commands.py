"""The commands of the session room: what each script is called with and what its reply means.

The scripts stand beside this file; each has a model in plain Python in the tests. The layout of a session:

======================  =====================================================================================
``<prefix>:s1:{t}:<h>`` a hash. ``t`` and ``h`` come from the id (see ``ids.name_of``), which itself is stored nowhere.
``m``                   ``1|birth|created|seen|deadline|own idle|user``, microseconds of server time
``a``                   user agent and shortened address of the one who logged in, an encoded value
``n``                   only in the grace after a regeneration: the key that replaced this one
``.<key>``              one field per top-level key of the session, an encoded value
``<prefix>:s1:{u…}:i``  a sorted set: the names of one user's sessions (see ``enlist.lua``)
======================  =====================================================================================
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from redis_mw.flows import Argument, Command
from redis_mw.keys import digest, key
from redis_mw.scripts import script
from redis_mw.sessions.record import Meta, parse_meta

T = TypeVar("T")

HERE = "redis_mw.sessions"
LOAD = script(HERE, "load")
CREATE = script(HERE, "create")
SAVE = script(HERE, "save")
REGENERATE = script(HERE, "regenerate")
DESTROY = script(HERE, "destroy")
ENLIST = script(HERE, "enlist")
DELIST = script(HERE, "delist")

AGENT = "a"


class Lifetimes(msgspec.Struct, frozen=True, gc=False):
    """How long sessions live; ``touch_permille`` of the idle time must be gone for a read to renew it."""

    idle_us: int
    anonymous_us: int
    longest_us: int
    touch_permille: int
    grace_ms: int


class Changes(msgspec.Struct, frozen=True):
    """What a save writes: encoded (and sealed) fields to put, names of fields to remove, and a new own lifetime.

    ``own_idle_us`` is None when it stays as it is, 0 when the settings decide again.
    """

    put: Mapping[str, bytes] = {}
    drop: Sequence[str] = ()
    own_idle_us: int | None = None

    def __bool__(self) -> bool:
        return bool(self.put or self.drop or self.own_idle_us is not None)

    def own_idle(self) -> str:
        return "" if self.own_idle_us is None else str(self.own_idle_us)

    def arguments(self) -> tuple[Argument, ...]:
        """The tail that ``save`` and ``regenerate`` share: count and names to remove, then fields and values."""
        return (len(self.drop), *self.drop, *self.pairs())

    def pairs(self) -> tuple[Argument, ...]:
        return tuple(word for pair in self.put.items() for word in pair)


class Read(msgspec.Struct, frozen=True):
    """The reply of ``load``, not yet unsealed: ``status`` is live, old, gone or damaged."""

    status: str
    now_us: int = 0
    renewed: bool = False
    meta: Meta | None = None
    fields: Mapping[str, bytes] = {}


class Status(msgspec.Struct, frozen=True, gc=False):
    """The reply of a writing script: ``status`` says what it did, the times are of the session afterwards.

    They come with ``live``, and with ``longer``, which says how long it would have lived.
    """

    status: str
    now_us: int = 0
    deadline_us: int = 0


class Destroyed(msgspec.Struct, frozen=True, gc=False):
    """The reply of ``destroy``: ended, gone, other or kept, and the name and user of all that went."""

    status: str
    sessions: tuple[tuple[str, str | None], ...] = ()


class Commands:
    """Builds the commands for one prefix, with the lifetimes and the patience of the settings."""

    def __init__(self, prefix: str, lifetimes: Lifetimes, patience_us: int) -> None:
        self._prefix = prefix
        self._lifetimes = lifetimes
        self._patience_us = patience_us

    def key(self, name: str) -> str:
        return key(self._prefix, "s1", name[:8], name[8:])

    def name_of(self, key: str) -> str:
        """The name of the session under ``key``."""
        tag, _, part = key.rpartition(":")
        return tag[-9:-1] + part

    def left_us(self, meta: Meta, now_us: int) -> int:
        """How long a session still lives if nobody renews it."""
        idle_us = self._lifetimes.idle_us if meta.user is not None else self._lifetimes.anonymous_us
        return min(meta.seen_us + (meta.own_idle_us or idle_us), meta.deadline_us) - now_us

    def channel(self, name: str) -> str:
        """Where the end or the move of a session is announced."""
        return self.key(name) + ":w"

    def index_key(self, user: str) -> str:
        return key(self._prefix, "s1", "u" + digest(user)[:32], "i")

    def _command(self, words: tuple[Argument, ...], parse: Any, *keys: str, **more: Any) -> Command[Any]:
        return Command(words, parse, keys, role="sessions", patience_us=self._patience_us, **more)

    def load(self, name: str, *, renew: bool) -> Command[Read]:
        times = self._lifetimes
        words = (times.idle_us, times.anonymous_us, times.touch_permille if renew else -1)
        return self._command(words, _read, self.key(name), script=LOAD)

    def watch(self, name: str) -> Command[Read]:
        """Read without renewing, and be told of what happens to the session from now on."""
        command = self.load(name, renew=False)
        return msgspec.structs.replace(command, wakes=(self.channel(name),))

    def create(self, name: str, birth: str, changes: Changes, user: str | None) -> Command[Status]:
        times = self._lifetimes
        words = (birth, changes.own_idle() or "0", times.idle_us, times.anonymous_us, times.longest_us, user or "")
        return self._command((*words, *changes.pairs()), _status, self.key(name), script=CREATE)

    def save(self, name: str, changes: Changes, *, end_if_empty: bool = False) -> Command[Status]:
        times = self._lifetimes
        words = (times.idle_us, times.anonymous_us, changes.own_idle(), int(end_if_empty), *changes.arguments())
        return self._command(words, _status, self.key(name), script=SAVE)

    def regenerate(
        self, old: str, new: str, changes: Changes, user: str, *, grace: bool, noted_us: int = 0
    ) -> Command[Status]:
        """``user`` is ``=`` (as it is), ``-`` (none) or ``+`` and the user to bind.

        ``noted_us`` is for how long the user's index has noted it, 0 where nobody is logged in.
        """
        times = self._lifetimes
        grace_ms = times.grace_ms if grace else 0
        words = (times.idle_us, times.anonymous_us, times.longest_us, changes.own_idle(), grace_ms, user, noted_us)
        keys = (self.key(old), self.key(new))
        return self._command((*words, *changes.arguments()), _status, *keys, script=REGENERATE)

    def destroy(self, name: str, *, user: str | None = None, keep: str | None = None) -> Command[Destroyed]:
        """End a session and what it became if it was regenerated, but for ``keep``; only ``user``'s, if given."""
        words = ("" if user is None else "+" + user, "" if keep is None else self.key(keep))
        return self._command(words, self._destroyed, self.key(name), script=DESTROY)

    def peek(self, name: str) -> Command[tuple[Meta | None, bytes | None, str | None]]:
        """A session's meta, the sealed agent field, and the name that replaced this one if it was regenerated."""
        key = self.key(name)
        return self._command(("HMGET", key, "m", AGENT, "n"), self._peeked, key)

    def enlist(self, user: str, name: str, longest_us: int) -> Command[int]:
        """Note a name for as long as its session may live."""
        return self._command((name, longest_us), int, self.index_key(user), script=ENLIST)

    def delist(self, user: str, ended: Sequence[str], missing: Sequence[str] = ()) -> Command[int]:
        return self._command((len(ended), *ended, *missing), int, self.index_key(user), script=DELIST)

    def delists(self, destroyed: Destroyed) -> list[Command[int]]:
        """Take what ended off the indexes of those it belonged to."""
        return [self.delist(user, [name]) for name, user in destroyed.sessions if user is not None]

    def names(self, user: str) -> Command[list[str]]:
        """All names in a user's index, those that end first in front."""
        index = self.index_key(user)
        return self._command(("ZRANGE", index, 0, -1), _names, index)

    def _peeked(self, reply: list[bytes | None]) -> tuple[Meta | None, bytes | None, str | None]:
        meta, agent, successor = reply
        name = None if successor is None else self.name_of(successor.decode("utf-8", "surrogateescape"))
        return (None if meta is None else parse_meta(meta)), agent, name

    def _destroyed(self, reply: list[bytes]) -> Destroyed:
        words = [word.decode("utf-8", "surrogateescape") for word in reply]
        sessions = zip(map(self.name_of, words[1::2]), words[2::2], strict=True)
        return Destroyed(words[0], tuple((name, user or None) for name, user in sessions))


def _read(reply: list[Any]) -> Read:
    status: str = reply[0].decode()
    if status not in ("live", "old"):
        return Read(status)
    flat: list[bytes] = reply[3]
    raw = dict(zip(flat[::2], flat[1::2], strict=True))
    meta = parse_meta(raw.pop(b"m"))
    if meta is None:
        return Read("damaged")
    try:
        fields = {name.decode(): value for name, value in raw.items()}
    except UnicodeDecodeError:
        return Read("damaged")
    return Read(status, int(reply[1]), bool(reply[2]), meta, fields)


def _status(reply: list[bytes]) -> Status:
    status = reply[0].decode()
    return Status(status, int(reply[1]), int(reply[2])) if len(reply) > 1 else Status(status)


def _names(reply: list[bytes]) -> list[str]:
    return [name.decode() for name in reply]
