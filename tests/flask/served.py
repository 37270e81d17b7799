"""The application that gunicorn serves in ``test_servers``: made before the fork, configured by the environment."""

import os
import time
import uuid
from collections.abc import Iterator

from flask import Flask, Response, session

from redis_mw import cached, current, idempotent, limited, locked
from redis_mw_flask import RedisExtension, mw

app = Flask(__name__)
app.secret_key = "a secret of the served app, long enough"
_ = RedisExtension(app)

if os.environ.get("USED_BEFORE_FORK"):
    with app.app_context():
        mw.ping()


@app.get("/count")
def count() -> dict[str, int]:
    session["seen"] = session.get("seen", 0) + 1
    return {"seen": session["seen"], "pid": os.getpid()}


@app.get("/put/<key>/<value>")
def put(key: str, value: str) -> dict[str, str]:
    session[key] = value
    return {key: value}


@app.get("/read")
def read() -> dict[str, object]:
    return dict(session)


@app.get("/slow/<value>")
def slow(value: str) -> dict[str, str]:
    before = dict(session)
    time.sleep(0.2)
    session["slow"] = value
    return {"value": value, "name": str(before["name"])}


@app.get("/watch")
@limited("1 in flight", name="watch")
def watch() -> Response:
    def body() -> Iterator[str]:
        while True:
            yield "on and on\n"
            time.sleep(0.02)

    return Response(body())


@app.get("/hold")
@locked("order", wait=0)
def hold() -> Response:
    def body() -> Iterator[str]:
        while True:
            yield "on and on\n"
            time.sleep(0.02)

    return Response(body())


@app.get("/alone")
@locked("order", wait=30)
def alone() -> dict[str, object]:
    began = time.monotonic()
    time.sleep(0.005)
    return {"began": began, "ended": time.monotonic(), "fence": current().lease.fence, "pid": os.getpid()}


@app.post("/order")
@idempotent(wait=30)
def order() -> dict[str, str]:
    time.sleep(0.05)
    return {"number": str(uuid.uuid4())}


@app.get("/page")
@cached(60, stale=60, tags=["page"], jitter=0)
def page() -> dict[str, object]:
    time.sleep(0.2)
    return {"made": str(uuid.uuid4()), "pid": os.getpid()}


@app.get("/drop")
def drop() -> dict[str, bool]:
    mw.cache.drop_tag("page", soft=True)
    return {"dropped": True}


@app.get("/logout")
def logout() -> dict[str, bool]:
    session.logout()
    return {"out": True}
