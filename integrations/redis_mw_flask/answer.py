"""How the application's responses to one request leave: judged as it has made them, kept, or replaced by a page."""

from flask.wrappers import Response

from redis_mw.engine.sync import SyncDriver
from redis_mw.http.cookies import SetCookie
from redis_mw.layer.exchange import Exchange
from redis_mw.layer.layer import Layer
from redis_mw_flask.cookie import give
from redis_mw_flask.pages import response_of
from redis_mw_flask.recording import Recording
from redis_mw_flask.session import RedisSession


class Answer:
    """In this order: ``note`` the response, ``close`` before its head is sent, ``keep`` its body as it goes.

    Where a session is saved it does the first, and what ``close`` does in the same round trip; ``settled`` says so, and
    ``cookie`` what it gave.
    """

    def __init__(self, driver: SyncDriver, layer: Layer, exchange: Exchange) -> None:
        self.session: RedisSession | None = None
        self.settled = False
        self.cookie: SetCookie | None = None
        self.replaced = False
        """Whether a page is sent in the place of the application's response."""
        self._driver = driver
        self._layer = layer
        self._exchange = exchange
        self._noted: Response | None = None

    @property
    def is_noted(self) -> bool:
        """Whether the application has made a response."""
        return self._noted is not None

    def note(self, response: Response) -> None:
        """The application has made this response; once, before anything of ours is added to it."""
        exchange, closing = self._exchange, self._layer.closing
        if response is self._noted:
            return
        self._noted = response
        exchange.status, exchange.answer = response.status_code, response
        if closing.notes(exchange):
            exchange.headers = tuple(response.headers)
            self._look_at_session()
            closing.judge(exchange)

    def whole(self, response: Response) -> bytes | None:
        """The body of a response that has to be kept, if all of it is known now; None for any other."""
        exchange = self._exchange
        if not self._layer.closing.records(exchange):
            return None
        if exchange.request.method == "HEAD" or response.status_code < 200 or response.status_code in (204, 304):
            return b""  # werkzeug sends nothing of its body
        return response.get_data() if response.is_sequence and not response.direct_passthrough else None

    def close(self, response: Response) -> Response:
        """Store a response that is known as a whole, forget what the request has made wrong; gives what is sent."""
        exchange, closing = self._exchange, self._layer.closing
        self.note(response)
        if not self.settled:
            self.settled, whole = True, self.whole(response)
            if whole is not None or closing.closes(exchange):
                self._driver.run(closing.close(exchange, whole))
        page = closing.instead(exchange)
        if page is None:
            return response
        if closing.records(exchange):
            self._recording(response).drain()  # the client has it already, but others may wait for it
        response.close()
        self.replaced, sent = True, response_of(page)
        if self.session is not None and self.session.accessed:
            sent.vary.add("Cookie")
        if self.cookie is not None:
            give(sent, self.cookie)
        return sent

    def keep(self, response: Response) -> None:
        """Have a stream kept as it goes, and so a file, which the server then does not send by itself."""
        if self._layer.closing.records(self._exchange) and not self.replaced:
            response.response = self._recording(response)
            response.direct_passthrough = False

    def _recording(self, response: Response) -> Recording:
        return Recording(self._exchange, response, self._layer.closing.recorder(self._exchange), self._complete)

    def _complete(self, body: bytes | None) -> None:
        self._look_at_session()
        self._driver.run(self._layer.closing.complete(self._exchange, body))

    def _look_at_session(self) -> None:
        if self.session is not None:
            session = self.session
            self._layer.closing.looked(
                self._exchange, accessed=session.accessed, read=session.read, changed=session.changed
            )
