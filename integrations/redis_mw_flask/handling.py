"""Where Flask handles what is raised: refusals, and answers that were given before, are sent wherever they came up."""

from collections.abc import Callable

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from redis_mw.errors import RedisMWError, Refusal
from redis_mw.layer import exchange
from redis_mw_flask.refusals import Replayed, exception


def answer_refusals(
    app: Flask,
    close: Callable[[Response], Response],
    seal: Callable[[Response], None],
    keep: Callable[[Response], None],
) -> None:
    """Have what redis-mw refuses answered by the application's handlers, wherever it was raised.

    Flask makes a bare 500 of what is raised after the view, when the session is saved, or in an ``after_request``
    function (Flask-Login has one that reads the session). The functions then run once more for the answer, as Flask
    runs them for its 500.

    ``close`` is shown the response that is ready, and gives the one that is sent; ``seal`` is shown that, and ``keep``
    as well, unless it could not be made ready.
    """
    handle, process = app.handle_user_exception, app.process_response

    def handle_user_exception(error: Exception) -> object:
        return error.response if isinstance(error, Replayed) else handle(_as_http(error))

    def processed(response: Response) -> Response:
        try:
            return process(response)
        except RedisMWError as error:
            answer = app.make_response(app.handle_user_exception(_as_http(error)))
        response.close()
        try:
            return process(answer)
        except RedisMWError:
            return answer

    def process_response(response: Response) -> Response:
        sent = response
        try:
            sent = close(processed(response))
        finally:
            seal(sent)  # if that failed while Flask answers an error: it sends what it has
        keep(sent)
        return sent

    app.handle_user_exception = handle_user_exception  # type: ignore[method-assign,assignment]
    app.process_response = process_response  # type: ignore[method-assign]


def _as_http(error: Exception) -> Exception:
    """The same error, as one that has an answer; any other as it is."""
    if isinstance(error, HTTPException):
        return error
    if isinstance(error, Refusal):
        return exception(error, exchange.refused(error, request.headers.get("Accept")))
    return error
