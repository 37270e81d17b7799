"""What keeps other sites from posting the shop's forms in a visitor's name.

Three things together. The session cookie is ``SameSite=Lax``, so browsers do not send it with another site's form. A
form of another site is refused by its ``Origin``, for what works without a session (logging a visitor in as somebody
else). And a form sent within a session must carry the token that this session's pages hold. The token is made when the
session first holds something, so that who only looks around stays without a session, and anew at each login.
"""

import hmac
import secrets
from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

KEY = "csrf"
FIELD = "csrf"


def renew(session: MutableMapping[str, Any]) -> None:
    """Give the session another token."""
    session[KEY] = secrets.token_urlsafe(16)


def ensure(session: MutableMapping[str, Any]) -> None:
    """Give the session a token, if it has none."""
    if KEY not in session:
        renew(session)


def good(session: Mapping[str, Any], form: Mapping[str, str], origin: str | None, host: str | None) -> bool:
    """Whether a form came from a page of ours; ``origin`` and ``host`` are header fields."""
    if origin is not None and urlsplit(origin).netloc != host:
        return False
    token = session.get(KEY)
    return token is None or hmac.compare_digest(token.encode(), form.get(FIELD, "").encode())
