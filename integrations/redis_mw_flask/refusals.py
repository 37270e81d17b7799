"""What the layer refuses, as exceptions of werkzeug's, so that ``@app.errorhandler`` sees them."""

from flask import Flask, Response
from werkzeug.exceptions import ServiceUnavailable

from redis_mw.errors import RedisMWError, SessionUnavailable
from redis_mw.layer import exchange


class StoreUnavailable(SessionUnavailable, ServiceUnavailable):  # type: ignore[misc]  # both say retry_after
    """The request needs its session and Redis is away: a 503 that carries ``retry_after``, in seconds.

    Handlers of 503, of ``ServiceUnavailable`` and of ``SessionUnavailable`` see it; without one it is answered with
    problem details or a plain text, as the request's Accept has it (RFC 9457). A handler cannot use the session.
    """

    def __init__(self, answer: exchange.Response, reason: str = "the session store is unavailable") -> None:
        super().__init__(reason)
        self.retry_after = int(dict(answer.headers)["retry-after"])
        self.response = Response(answer.body, answer.status, list(answer.headers))


def answer_late_refusals(app: Flask) -> None:
    """Have errors that come after the view, when the session is saved, answered by the same handlers as the view's own.

    Flask makes a bare 500 of what is raised there, or in an ``after_request`` function (Flask-Login has one that reads
    the session). The functions then run once more for the answer, as Flask runs them for its 500.
    """
    process = app.process_response

    def process_response(response: Response) -> Response:
        try:
            return process(response)
        except RedisMWError as error:
            answer = app.make_response(app.handle_user_exception(error))
        response.close()
        try:
            return process(answer)
        except RedisMWError:
            return answer

    app.process_response = process_response  # type: ignore[method-assign]
