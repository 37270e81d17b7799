"""What every framework's session object can do besides holding values: log in and out, regenerate, tell about itself.

The object of a framework inherits ``SessionMethods`` and says how it is looked at and emptied; the rest is the visit's.
"""

from datetime import timedelta

from redis_mw.sessions.visit import Visit
from redis_mw.settings import Duration, microseconds


class SessionMethods:
    """``login``, ``logout``, ``regenerate``, which only mark (the closing batch writes), and what is known."""

    _visit: Visit

    def _look(self) -> None:
        """Have the session loaded; raises ``SessionUnavailable`` where nobody can know what it holds."""
        raise NotImplementedError

    def _look_at_user(self) -> None:
        """The same where it is only asked whose it is."""
        raise NotImplementedError

    def _empty(self) -> None:
        """Forget the values, without marking anything."""
        raise NotImplementedError

    def login(self, user_id: object) -> None:
        """Bind the session to a user and give it a new id; the old id keeps what it had for a short while, read only.

        What an anonymous visitor had in the session stays; another user's session is ended, and nothing of it remains.
        ``user_id`` is a text, an int or a UUID. It raises ``ValueError`` if it is anything else, empty or longer than
        255 bytes, ``SessionUnavailable`` if Redis is away.
        """
        self._look()
        if self._visit.is_of_another(user_id):
            self.logout()
        self._visit.login(user_id)

    def logout(self) -> None:
        """End the session: nothing of it remains, and no request in flight can bring it back."""
        self._visit.logout()
        self._empty()

    def regenerate(self) -> None:
        """Give the session a new id and keep its values; for any change of privilege."""
        self._look()
        self._visit.regenerate()

    @property
    def user_id(self) -> str | None:
        """The user the session belongs to, as text, or None."""
        self._look_at_user()
        return self._visit.user_id

    @property
    def handle(self) -> str | None:
        """What names this session in its user's list; it gives no access. None until the session is stored."""
        self._look()
        return self._visit.handle

    @property
    def created(self) -> float | None:
        """When the session began or its user logged in, in seconds since the epoch; None until it is stored."""
        self._look()
        return self._visit.created

    @property
    def last_seen(self) -> float | None:
        """When the session was last renewed or written, in seconds since the epoch; None until it is stored."""
        self._look()
        return self._visit.last_seen

    def fresh(self, max_age: Duration | timedelta) -> bool:
        """Whether the session began, or its user logged in, at most ``max_age`` (seconds, timedelta) ago."""
        self._look()
        return self._visit.fresh(microseconds(max_age))

    @property
    def unavailable(self) -> bool:
        """Whether Redis was away when the session was wanted: it is empty then, and nothing can be written."""
        return self._visit.unavailable
