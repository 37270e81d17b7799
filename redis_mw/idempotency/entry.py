"""A policy where it stands: whom it tells apart, which requests it is for, how long one waits for another."""

from collections.abc import Callable, Container
from typing import Any

from redis_mw.errors import PolicyError
from redis_mw.idempotency.scope import Scope, default_scope
from redis_mw.policy.caller import Caller
from redis_mw.policy.templates import Fill, Template, compiled
from redis_mw.settings import Idempotent, microseconds, resolve

WORDS = ("session", "user", "client")
"""What a scope may say with one word; any other text is a template."""


class Entry:
    """One policy at one ``place``. What users wrote is called with the framework's own request."""

    def __init__(self, policy: Idempotent, place: str) -> None:
        self.policy = policy
        self.place = place
        self.required = policy.required
        self.wait_us = microseconds(policy.wait)
        self._methods = frozenset(policy.methods)
        scope: Any = policy.scope
        self._call: Callable[[Any], Any] | None = None
        self.word: str | None = None
        self.template: Template | None = None
        if scope in WORDS:
            self.word = scope
        elif isinstance(scope, str) and not scope.startswith("call:"):
            self.template = compiled(scope)
        elif scope is not None:
            self._call = resolve(scope, place)

    @property
    def templates(self) -> tuple[Template, ...]:
        """All that is filled with what a request has."""
        return () if self.template is None else (self.template,)

    def holds_for(self, method: str) -> bool:
        """Whether it is for requests of this method."""
        return method in self._methods

    def needs_user(self, parameters: Container[str] = ()) -> bool:
        """Whether the session has to be read before the key is claimed, for a path with these parameters."""
        if self.template is not None:
            return "user" in self.template.names and "user" not in parameters
        return self.word == "user"

    @property
    def needs_secret(self) -> bool:
        """Whether a credential may have to be hashed."""
        return self.word != "client"

    def scope(self, caller: Caller, fill: Fill) -> Scope:
        """Whose key it is. Calls what users wrote; what it raises passes through."""
        if self._call is not None:
            return self._valued("call", self._call(caller.native)) or default_scope(caller)
        if self.template is not None:
            return self._valued("name", fill(self.template)) or default_scope(caller)
        match self.word:
            case "user":
                return self._valued("user", caller.user) or default_scope(caller)
            case "client":
                return Scope("client", caller.address or "")
            case _:
                return default_scope(caller)

    def _valued(self, kind: str, value: Any) -> Scope | None:
        if value is not None and not isinstance(value, str):
            raise PolicyError(f"the scope at {self.place} gave a {type(value).__name__}, not a text or None")
        if not value:  # an empty one would be shared by all who leave something out
            return None
        return Scope(kind, value, credential=kind in ("call", "name"))
