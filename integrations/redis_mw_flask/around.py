"""Around the WSGI application: here a request is answered out of the cache, before Flask knows of it, and here it ends:
when its body has been sent, or when nobody wants it any more.

Not in ``after_request`` or teardown, which run before a body is streamed, and not by ``Response.call_on_close``, which
werkzeug does not call for files (``send_file``) nor after an iterable whose own ``close`` failed.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from redis_mw.events import log
from redis_mw.faces.sync import RedisMW
from redis_mw.layer import exchange as layers
from redis_mw.layer.exchange import Exchange
from redis_mw.layer.layer import Layer
from redis_mw_flask.behind import Behind
from redis_mw_flask.early import Early
from redis_mw_flask.environs import KEY, of_nobody
from redis_mw_flask.pages import response_of, send
from redis_mw_flask.passage import Passage, leave

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def put_around(app: Flask, mw: RedisMW, early: Early) -> None:
    """Have the application's requests begun and finished; inside of werkzeug's ``ProxyFix``, where there is one: that
    answers nothing itself, but says what host a request is for and who has sent it.
    """
    behind = Behind()
    mw.before_close.append(behind.close)
    fix: Any = None
    inner: Any = app.wsgi_app
    while isinstance(inner, ProxyFix):
        fix, inner = inner, inner.app
    around = Around(app, inner, mw, early, behind)
    if fix is None:
        app.wsgi_app = around  # type: ignore[method-assign]
    else:
        fix.app = around


class Around:
    """The application, answered for where the cache can, and with its requests finished in whatever way they end."""

    def __init__(self, app: Flask, inner: "WSGIApplication", mw: RedisMW, early: Early, behind: Behind) -> None:
        self._flask = app
        self._app = inner
        self._mw = mw
        self._early = early
        self._behind = behind

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        begun = self._early.begin(environ)
        if begun is not None and begun.page is not None:
            return send(begun.page, (), None, start_response)
        passage = Passage(self._mw, around=True, refresh=self._refresh)
        if begun is not None:
            self._early.open(passage, begun, environ)
        page = passage.page
        if page is not None:
            return self._send(passage, page, start_response)
        return self._answer(passage, self._app, environ, start_response)

    def _answer(
        self, passage: Passage, app: "WSGIApplication", environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Let the application answer."""
        outer = environ.get(KEY)
        environ[KEY] = passage
        try:
            body = app(environ, start_response)
        except BaseException as error:
            page = self._rescue(passage, error)
            if page is None:
                if passage.exchange is not None:
                    passage.exchange.status, passage.exchange.answer = 500, None
                passage.finish()
                raise
            return self._send(passage, page, start_response)
        finally:
            # The request holds its environment, and the passage the request: no circle is left for the collector.
            _ = environ.pop(KEY, None)
            if outer is not None:  # an application that was called by another one, with its environment
                environ[KEY] = outer
        return _Body(body, passage) if passage.goes_on else body

    def _send(self, passage: Passage, page: layers.Response, start_response: "StartResponse") -> list[bytes]:
        """Answer with a page, with what is to be told on every answer, and be done with the request."""
        layer, exchange = passage.begun
        interface = self._early.interface
        cookie = interface.due(self._flask, layer, exchange) if interface is not None else None
        if exchange.tally is not None:
            exchange.status, exchange.answer = page.status, response_of(page)
        passage.finish()
        return send(page, layer.fields(exchange), cookie, start_response)

    def _rescue(self, passage: Passage, error: BaseException) -> layers.Response | None:
        """The page that is sent where the application has failed and Flask was told to let that through."""
        answer = passage.answer
        if answer is None or answer.is_noted or not isinstance(error, Exception):
            return None  # a teardown function has failed, for one, and the head of a response may be out
        layer, exchange = passage.begun
        page = self._mw.driver.run(layer.closing.rescue(exchange))
        if page is not None:
            log.error("a page could not be made: the one that is stored is sent", exc_info=error)
        return page

    def _refresh(self, layer: Layer, exchange: Exchange, *, early: bool) -> None:
        """Have the page that is being served made anew, by a request that nobody has sent.

        An environment that Flask has already seen has passed every middleware, and needs none again.
        """
        app: WSGIApplication = self._app if early else partial(type(self._flask).wsgi_app, self._flask)

        def begin() -> tuple[Callable[[], None], Callable[[], None]] | None:
            refreshing = layer.refresh(exchange)
            if refreshing is None:
                return None
            environ = of_nobody(exchange.native.environ)
            passage = Passage(self._mw, around=True)
            passage.begin_early(layer, refreshing, environ)
            return partial(self._make, passage, app, environ), passage.give_up

        self._behind.start(begin)

    def _make(self, passage: Passage, app: "WSGIApplication", environ: "WSGIEnvironment") -> None:
        body: Any = self._answer(passage, app, environ, _nowhere)
        try:
            for _ in body:
                pass
        finally:
            if hasattr(body, "close"):
                body.close()


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
        tokens = self._passage.enter()
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            leave(tokens)
            self._passage.finish()

    def __del__(self) -> None:
        self._passage.finish()


def _nowhere(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
    """Where a response goes that nobody waits for."""
    return len
