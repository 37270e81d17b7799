"""Many who want one page at once, pages that end under them, and views that fail meanwhile."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from by_hand import until
from flask import Response, request, session
from flask_site import status_of

from redis_mw import Cache, Cached, Rule
from redis_mw.testing import count_round_trips

SHORT = 0.15
WAIT = 20


class Origin:
    """A view that waits until it may answer, and fails while it is told to."""

    def __init__(self):
        self.calls = 0
        self.open = threading.Event()
        self.fails = None
        self.fields = {}
        self.seen = []
        self._lock = threading.Lock()

    def __call__(self):
        with self._lock:
            self.calls += 1
            number = self.calls
        self.seen.append(dict(request.headers))
        assert self.open.wait(WAIT)
        if isinstance(self.fails, Exception):
            raise self.fails
        return Response(f"made {number}", self.fails or 200, self.fields)


@pytest.fixture
def origin():
    return Origin()


@pytest.fixture
def asking():
    """Threads that ask; all have their answers when the test is over."""
    with ThreadPoolExecutor(128) as pool:
        yield pool.submit


def rules(ttl=60, **policy):
    return [Rule("/page", cache=Cached(ttl, jitter=0, **policy))]


def test_a_hundred_who_want_a_page_that_is_not_there_have_it_made_once(cached_site, origin, asking):
    site = cached_site(origin)
    with count_round_trips() as trips:
        asked = [asking(site.get) for _ in range(100)]
        until(lambda: origin.calls == 1, "the view is not called")
        time.sleep(0.1)
        origin.open.set()
        answers = [each.result(WAIT) for each in asked]
    assert origin.calls == 1 and {answer.text for answer in answers} == {"made 1"}
    assert len(trips.commands) <= 5, "one looked and stored, the others had it from him, or came when he had"
    assert sum("collapsed" in status_of(answer) for answer in answers) > 90


def test_a_page_made_by_another_process_is_waited_for(cached_site, origin, asking):
    one, two = cached_site(origin), cached_site(origin)
    first = asking(one.get)
    until(lambda: origin.calls == 1, "the view is not called")
    with count_round_trips() as trips:
        others = [asking(two.get) for _ in range(50)]
        until(lambda: len(trips.commands) >= 2, "nobody asks")
        origin.open.set()
        answers = [each.result(WAIT) for each in (first, *others)]
    assert origin.calls == 1 and {answer.text for answer in answers} == {"made 1"}


def test_answers_that_cannot_be_kept_do_not_make_a_url_serial(cached_site, origin, asking):
    origin.fields = {"Cache-Control": "no-store"}
    site = cached_site(origin)
    asked = [asking(site.get) for _ in range(5)]
    until(lambda: origin.calls == 1, "the view is not called")
    origin.open.set()
    _ = [each.result(WAIT) for each in asked]
    assert origin.calls == 5
    origin.open.clear()
    asked = [asking(site.get) for _ in range(5)]
    until(lambda: origin.calls == 10, "the view is not called")
    origin.open.set()
    _ = [each.result(WAIT) for each in asked]
    origin.fields = {}
    assert "stored" in status_of(site.get()), "as soon as one can be kept it is"
    assert status_of(site.get()) == "hit"


def test_who_has_waited_long_enough_makes_the_page_himself(cached_site, origin, asking):
    site = cached_site(origin, cache=Cache(l1_bytes=0, wait=0.05, origin_cap=3))
    asked = [asking(site.get) for _ in range(10)]
    until(lambda: origin.calls >= 3, "the view is not called")
    origin.open.set()
    assert {each.result(WAIT).status_code for each in asked} == {200}


def test_a_client_that_closes_while_its_stream_is_sent_leaves_the_page_to_the_others(cached_site, serve):
    half, gone, calls = threading.Event(), threading.Event(), []

    def view():
        def parts():
            calls.append(1)
            yield "one " * 100_000
            half.set()
            assert gone.wait(WAIT)
            for _ in range(5):
                yield "two " * 10_000

        return Response(parts())

    site = cached_site(view)
    served = serve(site.app)
    with served.opened("GET", "/page") as answer:
        assert answer.read(4) == b"one "
        assert half.wait(WAIT)
    gone.set()
    until(lambda: site.outcomes("cache.store") == [""], "it is not kept")
    _, body, fields = served.ask("GET", "/page")
    assert "hit" in fields["Cache-Status"] and len(body) == 600_000 and len(calls) == 1


def test_an_interrupted_stream_that_nobody_else_waits_for_ends_at_once(cached_site):
    ended = []

    def view():
        def parts():
            try:
                while True:
                    yield "on and on"
            finally:
                ended.append(True)

        return Response(parts(), headers={"Cache-Control": "no-store"})

    site = cached_site(view)
    answer = site.visitor.get("/page")
    assert next(answer.iter_encoded()) == b"on and on"
    answer.close()
    del answer
    until(lambda: bool(ended), "it goes on")


def test_a_stream_without_end_is_left_when_it_is_too_large(cached_site):
    made = []

    def view():
        def parts():
            while True:
                made.append(1)
                yield "x" * 65536

        return Response(parts())

    site = cached_site(view)
    answer = site.visitor.get("/page")
    assert next(iter(answer.response))
    answer.close()
    until(lambda: len(made) >= 17, "it is not read on")
    assert len(made) <= 18
    until(lambda: site.outcomes("cache.pass") == ["body"], "it is kept")


# Behind the visitors' backs


def test_a_stale_page_is_sent_at_once_and_made_anew_once_behind_it(cached_site, origin):
    site = cached_site(origin, rules=rules(SHORT, stale=60))
    origin.open.set()
    _ = site.get()
    time.sleep(SHORT)
    origin.open.clear()
    for _ in range(5):
        fields = {"cookie": "session=a", "if_none_match": '"x"', "accept": "text/x", "idempotency_key": "1"}
        answer = site.get(**fields, range="bytes=0-3")
        assert answer.status_code == 206 and answer.text == "made"
        assert status_of(answer) == "hit" and "ttl=-" in answer.headers["Cache-Status"]
    until(lambda: origin.calls == 2, "the view is not called")
    seen = origin.seen[-1]
    assert {"Cookie", "Range", "If-None-Match", "Authorization", "Idempotency-Key"}.isdisjoint(seen)
    assert seen["Accept"] == "text/x" and seen["Host"] == "localhost"
    origin.open.set()
    until(lambda: site.get().text == "made 2", "it is not made anew")
    assert origin.calls == 2


def test_a_head_for_a_stale_page_has_it_made_anew_as_well(cached_site, origin):
    site = cached_site(origin, rules=rules(SHORT, stale=60))
    origin.open.set()
    _ = site.get()
    time.sleep(SHORT)
    assert site.send("HEAD").status_code == 200
    until(lambda: origin.calls == 2 and site.get().text == "made 2", "it is not made anew")


def test_a_soft_drop_has_pages_made_anew_and_streams_too(cached_site):
    numbers = iter(range(1, 100))
    site = cached_site(
        lambda: Response((f"{part} {next(numbers)} " for part in "ab"), mimetype="text/plain"),
        rules=rules(60, stale=60, tags=["t"]),
    )
    assert site.get().text == "a 1 b 2 "
    site.mw.cache.drop_tag("t", soft=True)
    assert site.get().text == "a 1 b 2 "
    until(lambda: site.get().text == "a 3 b 4 ", "it is not made anew")


def test_a_page_that_this_process_holds_is_made_anew_in_the_background_too(cached_site, origin):
    origin.open.set()
    site = cached_site(origin, cache=Cache(), rules=rules(60, stale=60, tags=["t"]))
    _ = site.get()
    until(lambda: site.trips() == 0, "it is not kept here")
    site.mw.cache.drop_tag("t", soft=True)
    until(lambda: site.get().text == "made 2", "it is not made anew")


def test_limits_do_not_count_who_makes_a_page_anew(cached_site, origin):
    page = Rule("/page", cache=Cached(SHORT, stale=60, jitter=0), limits=["3/minute"])
    site = cached_site(origin, rules=[page])
    origin.open.set()
    _ = site.get()
    time.sleep(SHORT)
    assert status_of(site.get()) == "hit"
    until(lambda: origin.calls == 2, "the view is not called")
    assert site.get().status_code == 200 and site.get().status_code == 429


def test_a_session_that_is_used_while_a_page_is_made_anew_is_empty_and_never_saved(cached_site, keys):
    users = []

    def view():
        if site.made[1:]:
            users.append(session.user_id)
            session["seen"] = True
        return "x"

    site = cached_site(view, rules=rules(SHORT, stale=60))
    ann = site.app.test_client()
    _ = ann.get("/login/ann")
    assert ann.get("/page").status_code == 200
    time.sleep(SHORT)
    before = {key for key in keys() if b":s" in key}
    assert ann.get("/page").status_code == 200
    until(lambda: users == [None], "the view is not called")
    until(lambda: "session" in site.outcomes("cache.pass"), "it is kept")
    assert {key for key in keys() if b":s" in key} == before


def test_that_a_page_could_not_be_made_anew_is_logged_and_the_old_one_stays(cached_site, origin, caplog):
    site = cached_site(origin, rules=rules(SHORT, stale=60), config={"PROPAGATE_EXCEPTIONS": True})
    origin.open.set()
    _ = site.get()
    time.sleep(SHORT)
    origin.fails = ZeroDivisionError("broken")
    assert site.get().text == "made 1"
    until(lambda: "could not be made anew" in caplog.text, "it is not logged")
    origin.fails = None
    until(lambda: site.get().text not in ("made 1", "made 2"), "it is not tried again")


def test_what_is_made_anew_ends_with_the_application(cached_site, origin):
    site = cached_site(origin, rules=rules(SHORT, stale=60))
    origin.open.set()
    _ = site.get()
    time.sleep(SHORT)
    origin.open.clear()
    _ = site.get()
    until(lambda: origin.calls == 2, "the view is not called")
    threading.Timer(0.1, origin.open.set).start()
    site.mw.close()
    assert site.outcomes("cache.store") == ["", ""], "what was under way is waited for"


def test_hooks_run_for_a_page_that_is_made_anew_and_its_body_is_closed(cached_site, origin):
    site = cached_site(origin, rules=rules(SHORT, stale=60))
    told = []
    site.app.before_request(lambda: told.append("before"))

    @site.app.after_request
    def after(response):
        told.append("after")
        _ = response.call_on_close(lambda: told.append("closed"))
        return response

    site.app.teardown_request(lambda error: told.append("teardown"))
    origin.open.set()
    _ = site.get()
    time.sleep(SHORT)
    told.clear()
    assert status_of(site.get()) == "hit"
    until(lambda: len(told) == 4, "not all hooks have run")
    assert told == ["before", "after", "teardown", "closed"]


# Failures


@pytest.mark.parametrize("fails", [RuntimeError("broken"), 500, 502, 503, 504], ids=str)
@pytest.mark.parametrize("propagates", [False, True], ids=["answered", "propagated"])
def test_a_stale_page_stands_in_for_a_view_that_fails(cached_site, origin, fails, propagates, caplog):
    config = {"PROPAGATE_EXCEPTIONS": propagates}
    site = cached_site(origin, rules=rules(SHORT, stale_if_error=60), config=config)
    origin.open.set()
    _ = site.get()
    time.sleep(SHORT)
    origin.fails = fails
    for _ in range(2):
        answer = site.get()
        assert (answer.status_code, answer.text) == (200, "made 1")
        assert status_of(answer).startswith("fwd=stale")
    assert origin.calls == 3, "each asks anew"
    assert ("broken" in caplog.text) == isinstance(fails, Exception)
    origin.fails = 404
    assert site.get().status_code == 404, "an answer, and no failure"


def test_without_such_a_page_failures_are_what_they_are(cached_site, origin):
    site = cached_site(origin, rules=rules(SHORT), config={"PROPAGATE_EXCEPTIONS": True})
    origin.open.set()
    _ = site.get()
    time.sleep(SHORT)
    origin.fails = 503
    assert site.get().status_code == 503
    origin.fails = RuntimeError("broken")
    with pytest.raises(RuntimeError, match="broken"):
        _ = site.get()
    origin.fails = None
    until(lambda: "stored" in status_of(site.get()), "something is left of who failed")


def test_a_view_that_fails_leaves_the_page_to_who_waits_for_it(cached_site, origin, asking):
    site = cached_site(origin)
    origin.fails = RuntimeError("broken")
    asked = [asking(site.get) for _ in range(4)]
    until(lambda: origin.calls == 1, "the view is not called")
    origin.open.set()
    until(lambda: asked[0].done() or origin.calls > 1, "nothing happens")
    assert {each.result(WAIT).status_code for each in asked} == {500}
    origin.fails = None
    assert site.get().status_code == 200 and status_of(site.get()) == "hit"


def test_what_forbids_to_be_stale_is_waited_for(cached_site, origin):
    origin.fields = {"Cache-Control": "max-age=1, must-revalidate"}
    site = cached_site(origin, rules=rules(60, stale=60, stale_if_error=60))
    origin.open.set()
    _ = site.get()
    assert status_of(site.get()) == "hit"
    time.sleep(1.1)
    assert status_of(site.get()).startswith("fwd=")
    time.sleep(1.1)
    origin.fails = 503
    assert site.get().status_code == 503
