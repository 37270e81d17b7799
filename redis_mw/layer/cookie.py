"""The session cookie of one application: its name and attributes, decided once from settings and framework."""

import msgspec

from redis_mw.http.cookies import SetCookie


class SessionCookie(msgspec.Struct, frozen=True, kw_only=True):
    """How the session cookie is given and taken back; both with the same attributes, or browsers keep the old one."""

    name: str
    path: str = "/"
    domain: str | None = None
    secure: bool = False
    http_only: bool = True
    same_site: str | None = "lax"
    partitioned: bool = False

    def give(self, value: str, max_age: int | None) -> SetCookie:
        """The cookie with a value; ``max_age`` in seconds, None for one that ends with the browser."""
        return SetCookie(
            name=self.name,
            value=value,
            max_age=max_age,
            path=self.path,
            domain=self.domain,
            secure=self.secure,
            http_only=self.http_only,
            same_site=self.same_site,
            partitioned=self.partitioned,
        )

    def withdraw(self) -> SetCookie:
        """The cookie that makes a browser forget it."""
        return self.give("", 0)
