"""The body of a response on its way to the client, kept for whoever sends the request again."""

from starlette.types import Message

from redis_mw.layer.exchange import Exchange


class Recording:
    """Takes the parts of a streamed body. It is over with the last one, or with the last byte that was announced: a
    client that has those may think that all is done.
    """

    def __init__(self, exchange: Exchange) -> None:
        assert exchange.attempt is not None
        self._recorder = exchange.attempt.recorder()
        lengths = [value for name, value in exchange.headers if name.lower() == "content-length"]
        self._left = int(lengths[0]) if len(lengths) == 1 and lengths[0].isdecimal() else None

    def add(self, message: Message) -> bool:
        """The next part; True if the recording is over, so that it must be stored before the part is sent."""
        if message["type"] != "http.response.body":
            return False
        chunk = message.get("body", b"")
        self._recorder.add(bytes(chunk))
        if self._left is not None:
            self._left -= len(chunk)
        is_all = self._left is not None and self._left <= 0
        return self._recorder.is_over or is_all or not message.get("more_body", False)

    @property
    def body(self) -> bytes | None:
        """What was recorded, None if it was too large."""
        return self._recorder.body
