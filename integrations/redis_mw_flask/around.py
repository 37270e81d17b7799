"""Around the WSGI application: here a request ends when its body has been sent, or when nobody wants it any more.

Not in ``after_request`` or teardown, which run before a body is streamed, and not by ``Response.call_on_close``, which
werkzeug does not call for files (``send_file``) nor after an iterable whose own ``close`` failed.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from redis_mw.faces.sync import RedisMW
from redis_mw_flask.passage import KEY, Passage, leave

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Around:
    """The application with its requests finished, in whatever way they end."""

    def __init__(self, app: "WSGIApplication", mw: RedisMW) -> None:
        self._app = app
        self._mw = mw

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        outer = environ.get(KEY)
        passage = environ[KEY] = Passage(self._mw, around=True)
        try:
            body = self._app(environ, start_response)
        except BaseException:
            if passage.exchange is not None:
                passage.exchange.status, passage.exchange.answer = 500, None
            passage.finish()
            raise
        finally:
            # The request holds its environment, and the passage the request: no circle is left for the collector.
            _ = environ.pop(KEY, None)
            if outer is not None:  # an application that was called by another one, with its environment
                environ[KEY] = outer
        return _Body(body, passage) if passage.goes_on else body


class _Body:
    """A body; the passage is finished when the server closes it, even if its own ``close`` fails.

    While it is made, ``redis_mw.current()`` is what it was in the view. Flask's test client closes nothing that its
    user does not close: to it, a body that was read, or dropped, is over.
    """

    def __init__(self, body: Iterable[bytes], passage: Passage) -> None:
        self._body: Any = body
        self._passage = passage

    def __iter__(self) -> Iterator[bytes]:
        parts = iter(self._body)
        while True:
            tokens = self._passage.enter()
            try:
                part = next(parts)
            except StopIteration:
                break
            finally:
                leave(tokens)
            yield part
        self._passage.finish()

    def close(self) -> None:
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._passage.finish()

    def __del__(self) -> None:
        self._passage.finish()
