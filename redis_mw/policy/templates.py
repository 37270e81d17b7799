"""Templates: names of locks, scopes and tags that are filled with what a request has.

A value is the parameter of the request's path of that name; else ``{user}`` is the user of its session and
``{session}`` the hashed id of its session cookie. Their grammar is ``settings.templates``.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

from redis_mw.errors import PolicyError
from redis_mw.settings.templates import parse_template

OF_SESSION = ("user", "session")

Values = Mapping[str, str | None]
"""What is known by name; None: the request could have it, and has not."""


class Template:
    """A template, ready to be filled; ``names`` are what it asks for."""

    def __init__(self, text: str) -> None:
        try:
            self._pieces = parse_template(text)
        except ValueError as error:
            raise PolicyError(f"{text!r} is no template: {error}") from None
        self.text = text
        self.names = frozenset(piece.name for piece in self._pieces if piece.name is not None)

    def must_know(self, parameters: frozenset[str], place: str) -> None:
        """Raise ``PolicyError`` unless a path with these parameters can fill it."""
        missing = sorted(self.names - parameters - set(OF_SESSION))
        if missing:
            raise PolicyError(f"{place}: the path has no {{{missing[0]}}} to fill {self.text!r} with")

    def fill(self, values: Values, *, apart: bool = False) -> str | None:
        """The text, None where the request has not what is asked for; ``PolicyError`` where no such thing is known.

        ``apart`` says how long each value is, so that other values never give the same text.
        """
        text = ""
        for literal, name in self._pieces:
            text += literal
            if name is None:
                continue
            if name not in values:
                raise PolicyError(f"the path of this request has no {{{name}}} to fill {self.text!r} with")
            value = values[name]
            if not value:  # an empty one would be shared by all who leave something out
                return None
            text += f"{len(value)}:{value}" if apart else value
        return text


compiled = lru_cache(1024)(Template)

Fill = Callable[[Template], str | None]
"""Fills a template for the request at hand."""
