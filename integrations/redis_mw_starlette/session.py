"""``request.session`` and ``websocket.session``: a dict that knows when it was read and changed.

Starlette cannot await inside ``request.session[...]``, so the values are there before the application runs. What can be
asked of them without passing through a method of ours (C code looks into a dict directly) is therefore always true; in
an outage that is one private key, so that nothing takes the session for an empty one.
"""

from collections.abc import AsyncGenerator, Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Self

from redis_mw.sessions.session import SessionMethods

if TYPE_CHECKING:
    from _collections_abc import dict_items, dict_keys, dict_values

    from redis_mw_starlette.keeper import Keeper

SHUT = {"__redis_mw_session_unavailable__": True}


class RequestSession(dict[str, Any], SessionMethods):
    """The session of one request or WebSocket; changes to it, deep ones too, are written before the client is answered.

    After that (in a stream, a background task, an accepted WebSocket) they are written by ``await session.save()``.
    Where Redis is away every method raises ``SessionUnavailable``.
    """

    def __init__(self, keeper: "Keeper") -> None:
        super().__init__()
        self.accessed = False
        self.modified = False
        self.read = False
        """Whether more of it was looked at than whose it is; what C code reads past all methods is not known."""
        self._keeper = keeper
        self._visit = keeper.visit
        self._fill()

    # What ASGI adds to the methods that all frameworks have

    async def save(self) -> None:
        """Write what was changed now; raises ``SessionClosed`` if the session ended, or was regenerated, meanwhile."""
        self._look()
        await self._keeper.save()

    async def reload(self) -> None:
        """Read the session again, forgetting what was changed and not saved."""
        await self._keeper.reload()
        self._fill()
        self._look()

    def revoked(self) -> AsyncGenerator[None, None]:
        """``async for _ in session.revoked()`` runs its body once, when the session ends: logout, revocation, time.

        A regenerated session goes on. Without a stored session there is nothing to wait for, and the loop ends at once.
        """
        self._look()
        return self._keeper.revoked()

    def login(self, user_id: object) -> None:
        self._keeper.must_be_open("a login")
        super().login(user_id)
        self.modified = True

    def regenerate(self) -> None:
        self._keeper.must_be_open("a new id")
        super().regenerate()
        self.modified = True

    def logout(self) -> None:
        super().logout()
        self.accessed = self.modified = True

    def mark_accessed(self) -> None:
        """Note that the response depends on the session; Starlette calls this in ``request.session``."""
        self.accessed = True
        self._visit.must_read()

    def mark_modified(self) -> None:
        """Note that the session will have to be written."""
        self._look()
        self._visit.must_write()
        if self._visit.record is None:
            self._keeper.must_be_open("a new session")
        self.modified = True

    def refresh(self) -> None:
        """Take over what was read anew, before anybody looked."""
        self._fill()

    def values_now(self) -> dict[str, Any]:
        """The values as a plain dict; unlike ``copy``, this counts as no access."""
        return dict(dict.items(self))  # not dict.copy: for a subclass that goes through its own keys()

    def changed(self) -> bool:
        """Whether this request has changed it, written or not yet."""
        return self._visit.changed(self.values_now())

    def _look(self) -> None:
        self.mark_accessed()
        self.read = True

    def _look_at_user(self) -> None:
        self.mark_accessed()

    def _empty(self) -> None:
        dict.clear(self)

    def _fill(self) -> None:
        shut = self._visit.unavailable and not self._visit.room.anonymous_in_outage
        dict.clear(self)
        dict.update(self, SHUT if shut else self._visit.initial)
        self.accessed = self.modified = self.read = False

    # Reading

    def __getitem__(self, key: str) -> Any:
        self._look()
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._look()
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self._look()
        return super().__iter__()

    def __reversed__(self) -> Iterator[str]:
        self._look()
        return super().__reversed__()

    def __len__(self) -> int:
        self._look()
        return super().__len__()

    def __eq__(self, other: object) -> bool:
        self._look()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        self._look()
        return super().__ne__(other)

    def __or__(self, other: Any) -> Any:
        self._look()
        return super().__or__(other)

    def __ror__(self, other: Any) -> Any:
        self._look()
        return super().__ror__(other)

    def __repr__(self) -> str:
        shut = dict.__eq__(self, SHUT)
        return "<session: unavailable>" if shut else super().__repr__()

    def get(self, key: str, default: Any = None, /) -> Any:
        self._look()
        return super().get(key, default)

    def keys(self) -> "dict_keys[str, Any]":
        self._look()
        return super().keys()

    def values(self) -> "dict_values[str, Any]":
        self._look()
        return super().values()

    def items(self) -> "dict_items[str, Any]":
        self._look()
        return super().items()

    # A copy is a plain dict: it may outlive the request, which a session cannot.

    def copy(self) -> dict[str, Any]:
        self._look()
        return super().copy()

    def __copy__(self) -> dict[str, Any]:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return deepcopy(self.copy(), memo)

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (self.copy(),)

    # Writing

    def __setitem__(self, key: str, value: Any) -> None:
        self.mark_modified()
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self.mark_modified()
        super().__delitem__(key)

    def __ior__(self, other: Any, /) -> Self:  # type: ignore[override]
        self.mark_modified()
        return super().__ior__(other)

    def clear(self) -> None:
        """End the session, as ``logout`` does: Starlette applications have no other word for it.

        A later write begins a new one, under a new id; it needs a cookie, so after the start it raises
        ``SessionClosed``.
        """
        self.logout()

    def pop(self, key: str, /, *default: Any) -> Any:
        if key in self:
            self.mark_modified()
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        if len(self):
            self.mark_modified()
        return super().popitem()

    def setdefault(self, key: str, default: Any = None, /) -> Any:
        if key not in self:
            self.mark_modified()
        return super().setdefault(key, default)

    def update(self, *others: Any, **values: Any) -> None:
        self.mark_modified()
        super().update(*others, **values)
