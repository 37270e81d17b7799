"""A policy where it stands: whom it tells apart, which requests it is for, how long one waits for another."""

from collections.abc import Callable
from typing import Any, TypeAlias

from redis_mw.errors import PolicyError
from redis_mw.idempotency.scope import Scope, Sender, default_scope
from redis_mw.settings import Idempotent, microseconds, resolve

Fill: TypeAlias = Callable[[str], str | None]
"""Fills a template for the request at hand; None where it has not what the template asks for."""

WORDS = ("session", "user", "client")
"""What a scope may say with one word; any other text is a template."""


class Entry:
    """One policy at one ``place``. What users wrote is called with the framework's own request."""

    def __init__(self, policy: Idempotent, place: str) -> None:
        self.policy = policy
        self.place = place
        self.required = policy.required
        self.wait_us = microseconds(policy.wait)
        self.methods = frozenset(policy.methods)
        scope: Any = policy.scope
        self._call: Callable[[Any], Any] | None = None
        self._text: str | None = None
        if isinstance(scope, str) and not scope.startswith("call:"):
            self._text = scope
        elif scope is not None:
            self._call = resolve(scope, place)

    @property
    def needs_user(self) -> bool:
        """Whether the session has to be read before the key is claimed."""
        return self._text is not None and (self._text == "user" or "{user}" in self._text)

    @property
    def needs_secret(self) -> bool:
        """Whether a credential may have to be hashed."""
        return self._text != "client"

    def scope(self, sender: Sender, fill: Fill | None = None) -> Scope:
        """Whose key it is. Calls what users wrote; what it raises passes through."""
        if self._call is not None:
            return self._valued("call", self._call(sender.native)) or default_scope(sender)
        match self._text:
            case None | "session":
                return default_scope(sender)
            case "user":
                return self._valued("user", sender.user) or default_scope(sender)
            case "client":
                return Scope("client", sender.address or "")
            case template:
                value = fill(template) if fill is not None else None if "{" in template else template
                return self._valued("name", value) or default_scope(sender)

    def _valued(self, kind: str, value: Any) -> Scope | None:
        if value is not None and not isinstance(value, str):
            raise PolicyError(f"the scope at {self.place} gave a {type(value).__name__}, not a text or None")
        if not value:  # an empty one would be shared by all who leave something out
            return None
        return Scope(kind, value, credential=kind in ("call", "name"))
