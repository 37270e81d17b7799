"""How pages of the cache leave: as responses of Flask's, or by the server's own ``start_response``."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Response
from werkzeug.http import HTTP_STATUS_CODES

from redis_mw.http.cookies import SetCookie
from redis_mw.layer import exchange

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse


def response_of(page: exchange.Response) -> Response:
    """A page as Flask has it; its own fields only."""
    # As a list: from bytes werkzeug would tell a length of its own, which for HEAD is none.
    response = Response([page.body] if page.body else [], page.status, list(page.headers))
    if not any(name.lower() == "content-type" for name, _ in page.headers):
        _ = response.headers.pop("Content-Type", None)  # which Flask gives to every response
    return response


def send(
    page: exchange.Response,
    fields: Iterable[tuple[str, str]],
    cookie: SetCookie | None,
    start_response: "StartResponse",
) -> list[bytes]:
    """Answer with a page, with these fields in the place of its own, and with the session cookie if one is due."""
    ours = list(fields)
    names = {name.lower() for name, _ in ours}
    headers = [field for field in page.headers if field[0].lower() not in names] + ours
    if cookie is not None:
        headers += [("Set-Cookie", cookie.header()), ("Vary", "Cookie")]
    _ = start_response(f"{page.status} {HTTP_STATUS_CODES.get(page.status, 'Unknown').upper()}", headers)
    return [page.body]
