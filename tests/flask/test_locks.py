"""Locks of requests: who holds one holds it alone until the body was sent; who waits too long is told so."""

import itertools
import threading

import flask
import pytest
from by_hand import until
from flask import Response, send_file, session
from werkzeug.exceptions import Conflict, ServiceUnavailable, TooManyRequests

from redis_mw import LeaseLost, Lock, Locks, LockTimeout, QueueFull, Rule, current, limited, locked
from redis_mw.testing import count_round_trips, outage
from redis_mw_flask import LockBusy, LockLost, LockQueueFull, RedisAway


@pytest.fixture
def locks():
    """The settings of the locks."""
    return Locks(wait=10, patience=10)


@pytest.fixture
def app(make_app, locks):
    return make_app(settings={"locks": locks})


@pytest.fixture
def mw(app):
    return app.extensions["redis_mw"].mw


class Inside:
    """A view that holds a lock for as long as the test says."""

    def __init__(self, app, path="/held", **of_lock):
        self.entered, self.go_on = threading.Event(), threading.Event()
        app.add_url_rule(path, "held", locked("order", **of_lock)(self.view))
        self.thread = threading.Thread(target=lambda: app.test_client().get(path).close())

    def view(self):
        self.entered.set()
        assert self.go_on.wait(20)
        return "done"

    def __enter__(self):
        self.thread.start()
        assert self.entered.wait(20)

    def __exit__(self, *error):
        self.go_on.set()
        self.thread.join(20)


def told(answer, status, retry_after=1):
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert int(answer.headers["Retry-After"]) >= retry_after and answer.json["status"] == status
    assert "order" not in answer.text
    return True


# Alone


def test_parallel_requests_never_overlap_and_every_fence_is_above_the_one_before(app, serve, together):
    inside, fences, most = [], [], []

    @app.post("/pay/<int:id>")
    @locked("order:{id}", wait=60)
    def pay(id):
        inside.append(id)
        most.append(len(inside))
        fences.append(current().lease.fence)
        inside.remove(id)
        return "paid"

    served = serve(app)
    paths = itertools.cycle(["/pay/7", "/pay/007"])
    answers = together(16, lambda number: [served.ask("POST", next(paths))[0] for _ in range(3)])
    assert answers == [[200] * 3] * 16
    assert set(most) == {1} and len(fences) == 48 and fences == sorted(set(fences))


def test_a_cart_that_many_change_at_once_loses_nothing(app, serve, together):
    @app.post("/add")
    @locked("cart:{session}", wait=60)
    def add():
        session["amount"] = session["amount"] + 1
        return "added"

    client = app.test_client()
    with client.session_transaction() as stored:
        stored["amount"] = 0
    cookie = f"session={client.get_cookie('session').value}"
    served = serve(app)
    assert together(12, lambda number: served.ask("POST", "/add", Cookie=cookie)[0]) == [200] * 12
    assert client.get("/read").json == {"amount": 12}


def test_under_a_lock_that_was_found_late_an_unseen_session_is_read_again(app):
    """What came between the request's other questions and its lock is seen."""
    client = app.test_client()
    late, other = locked("order")(lambda: session["a"]), app.test_client()

    @app.get("/late")
    @limited("99/minute")
    def view():
        other.get("/put/a/2")
        return late()

    client.get("/put/a/1")
    other.set_cookie("session", client.get_cookie("session").value)
    assert client.get("/late", buffered=True).text == "2"


def test_shared_locks_are_held_side_by_side(app, serve, together):
    met = threading.Barrier(3, timeout=20)

    @app.get("/shared")
    @locked("order", shared=True)
    def shared():
        return str(met.wait() >= 0)

    served = serve(app)
    assert [answer[1] for answer in together(3, lambda number: served.ask("GET", "/shared"))] == [b"True"] * 3


def test_all_locks_of_a_view_are_taken_at_once(app):
    @app.get("/two")
    @locked("b")
    @locked("a")
    def two():
        return list(current().lease.names)

    with count_round_trips() as trips:
        assert app.test_client().get("/two", buffered=True).json == ["a", "b"]
    assert trips.awaited == 1


# The lease


def test_the_context_has_the_lease_and_it_can_be_made_to_last(app, mw):
    @app.get("/lease")
    @locked("order", ttl=5)
    def view():
        lease = flask.g.redis_mw.lease
        assert lease is current().lease and (lease.lost, lease.degraded, lease.nested) == (False, False, False)
        lease.extend(60)
        return {"fence": lease.fence, "lasts": lease.hold.ends - lease.hold.clock() > 50}

    found = app.test_client().get("/lease", buffered=True).json
    assert found["fence"] > 0 and found["lasts"]


def test_what_the_request_holds_its_code_has_at_once_and_gives_back_nothing(app, mw):
    @app.get("/again")
    @locked("order")
    def view():
        with mw.locks.lock("order", wait=0) as inner:
            assert inner.nested and inner.fence == current().lease.fence
        with mw.locks.lock("order", "another", wait=0) as both:
            assert both.fence > 0
        return {"lost": current().lease.lost}

    with count_round_trips() as trips, app.test_client().get("/again") as answer:
        assert answer.json == {"lost": False}
    assert trips.awaited == 3  # and one each to take and give back the other


def test_a_lost_lease_is_told_to_the_view_and_its_lock_is_anothers(app, mw, keys):
    @app.get("/lost")
    @locked("order", ttl=0.2)
    def view():
        import redis

        lease = current().lease
        with redis.Redis.from_url(mw.settings.url_of("locks")) as server:
            _ = server.delete(*[key for key in keys() if b":k1:{" in key and key.endswith(b":h")])
        until(lambda: lease.lost, "the lease is lost")
        with mw.locks.lock("order", wait=10) as mine:
            return {"later": mine.fence > lease.fence, "nested": mine.nested}

    assert app.test_client().get("/lost", buffered=True).json == {"later": True, "nested": False}


# Who has to wait


@pytest.mark.parametrize("wait", [0, 0.05])
@pytest.mark.parametrize("how", ["mark", "late mark", "rule", "code"])
def test_who_waits_too_long_is_told_when_to_come_back(make_app, locks, how, wait, given_back):
    rules = [Rule("/other", lock=Lock("order", wait=wait))] if how == "rule" else []
    app = make_app(settings={"locks": locks, "rules": rules})
    ran = []

    def view():
        ran.append(how)
        return "never"

    def by_code():
        with app.extensions["redis_mw"].mw.locks.lock("order", wait=wait):
            return view()

    marked = locked("order", wait=wait)(view)
    app.add_url_rule("/other", "x", {"mark": marked, "late mark": lambda: marked(), "rule": view, "code": by_code}[how])
    with Inside(app):
        assert told(app.test_client().get("/other", buffered=True), 409)
    assert ran == []
    given_back()


@pytest.mark.parametrize("locks", [Locks(wait=10, queue=1, patience=10)])
def test_a_full_queue_turns_away(app, mw, keys):
    @app.get("/other")
    @locked("order")
    def view():
        return "at last"

    answers, client = [], app.test_client()
    waiting = threading.Thread(target=lambda: answers.append(client.get("/other").text))
    with Inside(app):
        waiting.start()
        until(lambda: any(key.endswith(b":q") for key in keys()), "one waits")
        assert told(app.test_client().get("/other", buffered=True), 429)
    waiting.join(20)
    assert answers == ["at last"]


def test_without_redis_nothing_runs_unless_the_settings_say_so(make_app):
    for on_outage, status in (("closed", 503), ("open", 200)):
        app = make_app(settings={"locks": Locks(on_outage=on_outage)})

        @app.get("/x")
        @locked("order")
        def view():
            return {"degraded": current().lease.degraded, "fence": current().lease.fence}

        with outage(app.extensions["redis_mw"].mw):
            answer = app.test_client().get("/x", buffered=True)
        if status == 503:
            assert told(answer, 503)
        else:
            assert answer.json == {"degraded": True, "fence": 0}


REFUSALS = [
    (LockTimeout(["order"], 3), LockBusy, LockTimeout, Conflict),
    (QueueFull(["order"], 3), LockQueueFull, QueueFull, TooManyRequests),
    (LeaseLost(["order"]), LockLost, LeaseLost, ServiceUnavailable),
]


@pytest.mark.parametrize("by", range(5), ids=["nobody", "status", "werkzeug's", "the core's", "ours"])
@pytest.mark.parametrize(("refusal", "ours", "cores", "werkzeugs"), REFUSALS)
def test_handlers_see_what_code_raised_as_theirs(app, refusal, ours, cores, werkzeugs, by):
    @app.get("/x")
    def view():
        raise refusal

    def handler(error):
        assert type(error) is ours and error.names == ("order",) and error.retry_after >= 1
        return error.description, error.code

    if by:
        app.register_error_handler((None, werkzeugs.code, werkzeugs, cores, ours)[by], handler)
    answer = app.test_client().get("/x")
    assert answer.status_code == werkzeugs.code and "order" not in answer.text
    assert by or told(answer, werkzeugs.code, refusal.retry_after)


def test_an_answer_of_the_applications_own_still_says_when_to_come_back(app):
    @app.errorhandler(409)
    def busy(error):
        return f"busy: {', '.join(error.names)}", 409

    @app.errorhandler(RedisAway)
    def away(error):
        return "away", 503

    @app.get("/other")
    @locked("order", wait=0)
    def view():
        return "never"

    client = app.test_client()
    with Inside(app):
        answer = client.get("/other")
    assert (answer.text, int(answer.headers["Retry-After"]) >= 1) == ("busy: order", True)
    with outage(app.extensions["redis_mw"].mw):
        answer = client.get("/other")
    assert (answer.text, int(answer.headers["Retry-After"]) >= 1) == ("away", True)


# When it ends


def free(mw):
    """Whether somebody else may have it now."""
    try:
        with mw.locks.lock("order", wait=0):
            return True
    except LockTimeout:
        return False


def test_giving_back_is_not_awaited(app, mw, given_back):
    @app.get("/x")
    @locked("order")
    def view():
        return "done"

    with count_round_trips() as trips:
        app.test_client().get("/x").close()
        given_back()
    assert (trips.awaited, trips.detached) == (1, 1)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("testing", [False, True])
def test_an_exception_gives_it_back(app, given_back, error, testing):
    app.testing = testing

    @app.get("/x")
    @locked("order")
    def view():
        raise error

    if testing or not issubclass(error, Exception):
        with pytest.raises(error):
            app.test_client().get("/x")
    else:
        app.test_client().get("/x").close()
    given_back()


@pytest.mark.parametrize("end", ["read", "closed", "forgotten"])
def test_a_stream_holds_it_until_its_end(app, mw, given_back, end):
    @app.get("/x")
    @locked("order")
    def view():
        def body():
            for part in "ab":
                assert not current().lease.lost
                yield part

        return Response(body())

    answer = app.test_client().get("/x")
    parts = iter(answer.response)
    assert next(parts) == b"a" and not free(mw)
    if end == "read":
        assert [*parts] == [b"b"]
    elif end == "closed":
        answer.close()
    else:
        del parts, answer
    given_back()


def test_a_client_that_hangs_up_gives_it_back(app, mw, serve, given_back):
    begun = threading.Event()

    @app.get("/x")
    @locked("order")
    def view():
        def body():
            for _ in itertools.count():
                begun.set()
                yield b"on and on" * 9999

        return Response(body())

    with serve(app).opened("GET", "/x") as answer:
        assert answer.status == 200 and begun.wait(20) and not free(mw)
    given_back()


def test_a_file_holds_it_and_a_body_whose_end_fails_gives_it_back(app, mw, given_back, tmp_path):
    (tmp_path / "a.txt").write_text("a file")

    class Broken:
        def __iter__(self):
            return iter([b"a"])

        def close(self):
            raise ZeroDivisionError

    app.get("/file")(locked("order")(lambda: send_file(tmp_path / "a.txt")))
    app.add_url_rule("/broken", "broken", locked("order")(lambda: Response(Broken())))
    client = app.test_client()
    with client.get("/file") as answer:
        assert not free(mw) and answer.text == "a file"
    given_back()
    answer = client.get("/broken")
    assert not free(mw)
    with pytest.raises(ZeroDivisionError):
        answer.close()
    given_back()


def test_a_request_that_a_limit_refuses_gives_it_back_and_so_does_one_that_is_refused_late(app, given_back):
    tight = limited("1/minute", name="tight")(lambda: "passed")

    @app.get("/early")
    @limited("1/minute", name="tight")
    @locked("order")
    def early():
        return "passed"

    @app.get("/late")
    @locked("order")
    def late():
        return tight()

    client = app.test_client()
    for path, status in (("/early", 200), ("/early", 429), ("/late", 429)):
        with client.get(path) as answer:
            assert answer.status_code == status
        given_back()


def test_in_a_request_context_of_a_test_it_ends_with_the_context(app, given_back):
    @app.get("/x")
    @locked("order")
    def view():
        return "done"

    with app.test_request_context("/x"):
        assert app.preprocess_request() is None
        held = current().lease
        assert held is not None and not held.hold.released
    given_back()


def test_two_applications_that_share_the_server_share_the_lock(app, mw, make_app, locks):
    other = make_app(settings={"locks": locks})

    @other.get("/x")
    @locked("order", wait=0)
    def view():
        return "never"

    with Inside(app):
        assert other.test_client().get("/x").status_code == 409
