"""What is kept of what a Flask application answers, and what its visitors get of that."""

import io
from urllib.parse import parse_qs

import pytest
from by_hand import until
from flask import Flask, Response, jsonify, make_response, redirect, request, request_started, send_file
from flask import Request as request_class
from flask_site import status_of
from werkzeug.routing import BaseConverter, ValidationError
from werkzeug.test import EnvironBuilder

from redis_mw import Cache, Cached, Rule, cached, current
from redis_mw.testing import count_round_trips, outage
from redis_mw_flask.environs import request_of
from redis_mw_flask.passage import translated

TEXT = {"Content-Type": "text/plain"}


def text(body, status=200, **fields):
    """A function that answers so."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return lambda: Response(body, status, headers, mimetype="text/plain")


# Hits


def test_a_page_is_made_once_and_then_sent_in_one_trip(cached_site):
    site = cached_site("hello")
    with count_round_trips() as trips:
        first = site.get()
    assert trips.total == 2 and status_of(first) == "fwd=uri-miss;stored"
    with count_round_trips() as trips:
        second = site.get()
    assert trips.total == 1 and len(trips.commands) == 1
    assert status_of(second) == "hit" and second.text == first.text == "hello"
    assert second.headers["ETag"] == first.headers["ETag"] and second.headers["Age"] == "0"
    assert second.headers["Content-Length"] == "5" and second.headers["Content-Type"] == first.headers["Content-Type"]
    assert len(site.made) == 1 and site.outcomes("cache.hit") == [""] and site.outcomes("cache.store") == [""]


def test_without_a_rule_nothing_is_asked(cached_site):
    site = cached_site(text("hello", cache_control="max-age=60"), rules=())
    assert site.trips() == 0 and site.trips() == 0 and len(site.made) == 2


def test_with_the_cache_turned_off_a_rule_asks_nothing(make_app):
    app = make_app(settings={"rules": [Rule("/untouched", cache=Cached(60))], "cache": None})
    with count_round_trips() as trips:
        assert "Cache-Status" not in app.test_client().get("/untouched").headers
    assert trips.total == 0


def test_what_is_asked_of_a_page_in_memory_costs_no_trip_either_and_flask_sees_nothing_of_it(cached_site):
    site, seen = cached_site("hello", cache=Cache()), []
    etag = site.get().headers["ETag"]
    until(lambda: site.trips() == 0, "it is not kept here")

    def see(*_, **__):
        seen.append(1)

    with request_started.connected_to(see, site.app), count_round_trips() as trips:
        hit = site.get(cookie="session=junk; theme=dark")
        same, part = site.get(if_none_match=etag), site.get(range="bytes=1-3")
        head = site.send("HEAD")
    assert trips.total == 0 and not seen and not site.made[1:]
    assert (hit.status_code, hit.text, hit.headers["Age"], status_of(hit)) == (200, "hello", "0", "hit")
    assert "Set-Cookie" not in hit.headers and "Vary" not in hit.headers
    assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", etag)
    assert (part.status_code, part.text, part.headers["Content-Range"]) == (206, "ell", "bytes 1-3/5")
    assert (head.status_code, head.data, head.headers["Content-Length"]) == (200, b"", "5")


def test_a_session_of_nobodys_is_told_of_though_the_page_is_in_memory(cached_site):
    site = cached_site("hello", cache=Cache())
    until(lambda: site.trips() == 0, "it is not kept here")
    site.heard.clear()
    with count_round_trips() as trips:
        assert status_of(site.get(cookie="session=junk")) == "hit"
    assert trips.total == 0 and [event.name for event in site.heard] == ["session.rejected", "cache.hit"]


def test_a_page_in_memory_is_not_sent_where_the_path_leads_nowhere_any_more(cached_site):
    there = {"desk"}

    class Thing(BaseConverter):
        def to_python(self, value):
            if value not in there:
                raise ValidationError
            return value

    site = cached_site(cache=Cache())
    site.app.url_map.converters["thing"] = Thing

    @site.app.get("/thing/<thing:name>")
    @cached(ttl=60)
    def thing(name):
        return name

    until(lambda: site.trips("/thing/desk") == 0, "it is not kept here")
    there.clear()
    assert site.get("/thing/desk").status_code == 404


@pytest.mark.parametrize(
    "given",
    [
        {"path": "/page?a=b%20c&d"},
        {"path": "//page/é%FF", "method": "head"},
        {"path": "/page", "base_url": "https://shop.example:8443/in/here/"},
        {"path": "/page", "headers": {"X-A": "é", "Content-Type": "text/plain", "Cookie": "a=1"}},
        {"path": "/page", "environ_overrides": {"REMOTE_ADDR": "2001:db8::1", "QUERY_STRING": "\xe9"}},
    ],
)
def test_an_environment_is_read_as_flask_reads_it(given):
    environ = EnvironBuilder(**given).get_environ()
    assert request_of(environ) == translated(request_class(environ))


def test_a_page_in_memory_is_sent_only_after_a_limit_has_been_asked(cached_site):
    rule = Rule("/page", limits=["3/minute"], cache=Cached(60))
    site = cached_site("hello", rules=[rule], cache=Cache())
    assert [status_of(site.get()) for _ in range(3)] == ["fwd=uri-miss;stored", "hit", "hit"]
    assert site.get().status_code == 429


def test_a_page_that_this_process_has_in_its_memory_costs_no_trip(cached_site):
    site = cached_site("hello", cache=Cache())
    _ = site.get()
    until(lambda: site.trips() == 0, "it is not kept here")
    assert status_of(site.get()) == "hit" and len(site.made) == 1
    assert site.mw.cache.purge("http://localhost/page")
    until(lambda: status_of(site.get()) != "hit", "it is kept though it was purged")
    assert len(site.made) == 2


def test_a_client_that_has_the_page_is_told_so_without_its_body(cached_site):
    site = cached_site("hello")
    etag = site.get().headers["ETag"]
    answer = site.get(if_none_match=f'W/{etag}, "other"')
    assert (answer.status_code, answer.data, status_of(answer)) == (304, b"", "hit")
    assert "Content-Length" not in answer.headers and answer.headers["ETag"] == etag
    assert site.get(if_none_match='"other"').text == "hello"
    assert len(site.made) == 1


def test_a_client_that_has_the_page_already_is_told_so_when_it_is_made(cached_site):
    site = cached_site("hello")
    etag = site.get().headers["ETag"]
    site.mw.cache.purge("http://localhost/page")
    answer = site.get(if_none_match=etag)
    assert (answer.status_code, answer.data) == (304, b"") and len(site.made) == 2
    assert "If-None-Match" not in site.made[1], "the view makes the whole for all"
    assert status_of(site.get()) == "hit"


def test_a_part_of_a_page_is_cut_from_the_whole(cached_site):
    site = cached_site("0123456789")
    for _ in range(2):
        answer = site.get(range="bytes=2-4")
        assert (answer.status_code, answer.text) == (206, "234")
        assert answer.headers["Content-Range"] == "bytes 2-4/10" and answer.headers["Content-Length"] == "3"
    assert len(site.made) == 1
    answer = site.get(range="bytes=10-")
    assert answer.status_code == 416 and answer.headers["Content-Range"] == "bytes */10"


def test_head_is_answered_by_what_get_has_left(cached_site):
    site = cached_site("hello")
    before = site.send("HEAD")
    assert before.status_code == 200 and status_of(before) == "fwd=uri-miss"
    assert status_of(site.get()) == "fwd=uri-miss;stored", "HEAD is never kept"
    after = site.send("HEAD")
    assert (status_of(after), after.data, after.headers["Content-Length"]) == ("hit", b"", "5")
    assert len(site.made) == 2


def test_who_wants_a_stored_answer_only_gets_504_where_there_is_none(cached_site):
    site = cached_site("hello")
    assert site.get(cache_control="only-if-cached").status_code == 504 and not site.made
    _ = site.get()
    assert site.get(cache_control="only-if-cached").text == "hello"


def test_the_same_holds_for_a_server_that_speaks_http(cached_site, serve):
    site = cached_site("hello")
    served = serve(site.app)
    _, _, first = served.ask("GET", "/page")
    status, body, fields = served.ask("GET", "/page")
    assert (status, body) == (200, b"hello") and "hit" in fields["Cache-Status"]
    status, body, fields = served.ask("GET", "/page", If_None_Match=first["ETag"])
    assert (status, body) == (304, b"") and "hit" in fields["Cache-Status"]
    status, body, fields = served.ask("HEAD", "/page")
    assert (status, body, fields["Content-Length"]) == (200, b"", "5")
    status, body, fields = served.ask("GET", "/page", Range="bytes=1-2")
    assert (status, body, fields["Content-Range"]) == (206, b"el", "bytes 1-2/5")
    assert len(site.made) == 1


# What is kept


def test_statuses_and_fields_come_back_as_they_were(cached_site):
    site = cached_site(rules=[Rule("/as/{name}", cache=Cached(60))])
    answers = {
        "moved": lambda: redirect("/elsewhere", 301),
        "made": lambda: (jsonify(a=1), {"X-One": "1", "Link": "<a>"}),
        "empty": lambda: ("", 204, {"Cache-Control": "max-age=60"}),
        "bytes": lambda: (b"\x00\xff", {"Content-Type": "application/octet-stream"}),
    }

    @site.app.get("/as/<name>")
    def view(name):
        return answers[name]()

    for name in answers:
        first, second = site.get(f"/as/{name}"), site.get(f"/as/{name}")
        assert status_of(second) == "hit" and second.status == first.status and second.data == first.data
        for field, value in first.headers.items():
            if field not in ("Cache-Status", "Date", "ETag"):
                assert second.headers[field] == value


def test_missing_things_are_missing_for_a_short_time_and_failures_not_at_all(cached_site):
    site = cached_site(rules=[Rule("/as/{status}", cache=Cached(60, jitter=0))])
    site.app.get("/as/<int:status>")(lambda status: ("no", status))
    for status, ttl in ((404, 10), (410, 60)):
        assert status_of(site.get(f"/as/{status}")) == "fwd=uri-miss;stored"
        again = site.get(f"/as/{status}")
        assert status_of(again) == "hit" and again.status_code == status
        assert ttl - 4 <= int(again.headers["Cache-Status"].rpartition("ttl=")[2]) <= ttl
    for status in (400, 401, 403, 500, 503):
        assert status_of(site.get(f"/as/{status}")) == "fwd=uri-miss;detail=no-lifetime"


def test_a_missing_thing_that_an_error_handler_tells_of_is_kept_as_well(cached_site):
    calls = []
    site = cached_site(rules=())

    @site.app.get("/p/<int:id>")
    @cached(60)
    def product(id):
        calls.append(id)
        return "there" if id < 3 else ("no such thing", 404)

    @site.app.errorhandler(404)
    def missing(error):
        return "not here", 404

    for _ in range(2):
        assert site.get("/p/3").status_code == 404
    assert calls == [3]


def test_variants_are_told_apart_by_what_the_response_says(cached_site):
    def view():
        return Response(request.headers.get("Accept-Language", "-"), headers={"Vary": "Accept-Language"})

    site = cached_site(view)
    assert site.get(accept_language="de").text == "de"
    assert site.get(accept_language="en").text == "en"
    with count_round_trips() as trips:
        assert site.get(accept_language="de").text == "de"
        assert site.get(accept_language="en").text == "en"
    assert trips.awaited == 2 and len(site.made) == 2


def test_the_query_counts_as_it_stands(cached_site):
    site = cached_site(lambda: request.query_string.decode())
    for query in ("", "?a=1&b=2", "?b=2&a=1", "?a=1"):
        assert status_of(site.get(f"/page{query}")) == "fwd=uri-miss;stored"
        assert site.get(f"/page{query}").text == query[1:]


def test_a_response_may_say_itself_how_long_it_lives(cached_site):
    def view():
        return Response("x", headers={"Cache-Control": parse_qs(request.query_string.decode())["says"][0]})

    site = cached_site(view, rules=[Rule("/page", cache=Cached(0))])
    assert status_of(site.get("/page?says=max-age=0")) != "hit"
    assert status_of(site.get("/page?says=max-age=60")) == "fwd=uri-miss;stored"
    assert status_of(site.get("/page?says=max-age=60")) == "hit"


# Bodies


def test_a_stream_is_sent_as_it_comes_and_kept_before_its_end(cached_site, serve):
    seen = []

    def view():
        def parts():
            yield "one "
            seen.append(len(site.outcomes("cache.store")))
            yield "two"

        return Response(parts(), mimetype="text/plain")

    site = cached_site(view)
    served = serve(site.app)
    with served.opened("GET", "/page") as answer:
        assert answer.read(4) == b"one "
        assert answer.read() == b"two"
        assert site.outcomes("cache.store") == [""], "kept before its end is sent"
    assert seen == [0]
    _, body, fields = served.ask("GET", "/page")
    assert "hit" in fields["Cache-Status"] and body == b"one two" and len(site.made) == 1
    assert fields["Content-Length"] == "7"


def test_an_endless_stream_is_no_page(cached_site):
    site = cached_site(lambda: Response(iter(["data: 1\n\n"]), mimetype="text/event-stream"))
    assert status_of(site.get()) == "fwd=uri-miss;detail=event-stream"
    assert status_of(site.get()) != "hit"


def test_a_stream_that_breaks_is_not_kept(cached_site):
    def view():
        def parts():
            yield "one"
            if len(site.made) == 1:
                raise ZeroDivisionError

        return Response(parts())

    site = cached_site(view)
    with pytest.raises(ZeroDivisionError):
        _ = site.get()
    assert status_of(site.get()) != "hit" and len(site.made) == 2
    assert status_of(site.get()) == "hit"


def test_a_file_is_kept_and_answers_for_its_parts(cached_site, tmp_path):
    path = tmp_path / "page.txt"
    path.write_text("0123456789")
    site = cached_site(lambda: send_file(path, max_age=60))
    first = site.get(range="bytes=0-1")
    assert (first.status_code, first.text) == (200, "0123456789"), "what is made for all is made whole"
    answer = site.get(range="bytes=2-3")
    assert (answer.status_code, answer.text, status_of(answer)) == (206, "23", "hit")
    answer = site.get(if_none_match=first.headers["ETag"])
    assert (answer.status_code, status_of(answer)) == (304, "hit") and len(site.made) == 1


def test_a_client_that_has_the_file_is_told_so_though_it_is_read_for_others(cached_site, tmp_path):
    path = tmp_path / "page.txt"
    path.write_text("0123456789")
    site = cached_site(lambda: send_file(path, max_age=60))
    etag = site.get().headers["ETag"]
    site.mw.cache.purge("http://localhost/page")
    answer = site.get(if_none_match=etag)
    assert (answer.status_code, answer.data) == (304, b"")
    answer = site.get()
    assert status_of(answer) == "hit" and answer.text == "0123456789" and len(site.made) == 2


def test_what_is_too_large_passes_and_in_parts_it_is_kept(cached_site):
    large = bytes(range(256)) * 4096 + b"!"  # 1 MiB and a little
    for view in (
        lambda: Response(large, mimetype="image/png"),
        lambda: send_file(io.BytesIO(large), "image/png", max_age=9),
    ):
        site = cached_site(view)
        for _ in range(2):
            assert site.get().data == large
        assert len(site.made) == 2
        site = cached_site(view, cache=Cache(l1_bytes=0, chunks=True))
        for _ in range(2):
            assert site.get().data == large
        assert len(site.made) == 1
        assert site.get(range="bytes=1048570-").data == large[1048570:]
        site.mw.cache.purge("http://localhost/page")


def test_large_text_is_compressed_and_comes_back_whole(cached_site):
    long = "all work and no play " * 20_000
    site = cached_site(long)
    for _ in range(2):
        assert site.get().text == long
    assert len(site.made) == 1


# The application's own conditional responses


def test_a_view_that_answers_conditionally_makes_the_whole_for_all(cached_site):
    def view():
        answer = make_response("hello")
        answer.set_etag("v1")
        return answer.make_conditional(request)

    site = cached_site(view)
    answer = site.get(if_none_match='"v1"')
    assert (answer.status_code, answer.data) == (304, b"")
    answer = site.get()
    assert status_of(answer) == "hit" and answer.text == "hello"
    assert site.get(if_none_match='"v1"').status_code == 304 and len(site.made) == 1


def test_the_application_is_asked_whether_a_page_is_still_right(cached_site):
    def view():
        answer = make_response(
            "hello", {"Cache-Control": "max-age=0, stale-if-error=9", "X-Age": request.headers.get("X-N", "")}
        )
        answer.set_etag("v1")
        if request.if_none_match.contains("v1"):
            answer.headers["Cache-Control"] = "max-age=60"
        return answer.make_conditional(request)

    site = cached_site(view)
    assert status_of(site.get(x_n="1")) == "fwd=uri-miss;stored"
    second = site.get(x_n="2")
    assert (second.status_code, second.text) == (200, "hello")
    assert status_of(second) == "fwd=stale;fwd-status=304;stored" and second.headers["X-Age"] == "2"
    third = site.get(x_n="3")
    assert (status_of(third), third.text, third.headers["X-Age"]) == ("hit", "hello", "2")
    assert [made.get("If-None-Match") for made in site.made] == [None, '"v1"']


# What is forgotten


def test_tags_take_along_what_hangs_on_them(cached_site):
    site = cached_site(rules=())

    @site.app.get("/p/<int:id>")
    @cached(60, tags=["all", "product:{id}"])
    def view(id):
        current().cache.tag(f"shelf:{id % 2}")
        return "x", {"Cache-Groups": '"group"'}

    def hits():
        return [number for number in range(4) if status_of(site.get(f"/p/{number}")) == "hit"]

    assert hits() == [] and hits() == [0, 1, 2, 3]
    for tag, left in (("product:1", [0, 2, 3]), ("shelf:0", [1, 3]), ("group", []), ("all", [])):
        site.mw.cache.drop_tag(tag)
        assert hits() == left
        assert hits() == [0, 1, 2, 3]


def test_what_was_dropped_while_it_was_made_is_not_kept(cached_site):
    dropping = []

    def view():
        for tag in dropping:
            site.mw.cache.drop_tag(tag)
        return "old"

    site = cached_site(view, rules=[Rule("/page", cache=Cached(60, tags=["known"]))])
    dropping.append("known")
    _ = site.get()
    dropping.clear()
    assert status_of(site.get()) == "fwd=miss;stored" or len(site.made) == 2
    assert status_of(site.get()) == "hit"


def test_a_view_may_have_its_response_not_kept(cached_site):
    def view():
        current().cache.skip()
        return "x"

    assert status_of(cached_site(view).get()) == "fwd=uri-miss;detail=no-store"


def test_unsafe_requests_forget_what_they_make_wrong_in_the_trip_of_the_session(cached_site):
    site = cached_site(rules=[Rule("/two", cache=Cached(60))])
    paths = ("/one", "/two", "/three")
    for path in paths:
        mark = cached(60) if path != "/two" else lambda view: view
        site.app.get(path, endpoint=path)(mark(lambda: "x"))

    @site.app.route("/one", methods=["POST", "DELETE"])
    def change():
        current().session["changed"] = True
        return "done", {"Location": "/two"}

    def hits():
        return [path for path in paths if status_of(site.get(path)) == "hit"]

    assert hits() == [] and hits() == list(paths)
    for method in ("POST", "DELETE"):
        with count_round_trips() as trips:
            assert site.send(method, "/one").text == "done"
        assert trips.awaited == 1
        assert hits() == ["/three"] and hits() == list(paths)


def test_an_unsafe_request_that_failed_forgets_nothing(cached_site):
    site = cached_site("x")
    site.app.post("/page", endpoint="change")(lambda: ("no", int(request.headers["X-Status"])))
    for status in ("422", "500"):
        _ = site.get(), site.send("POST", x_status=status)
        assert status_of(site.get()) == "hit"


def test_an_unsafe_request_for_a_page_that_nobody_keeps_asks_nothing(cached_site):
    site = cached_site("x")
    site.app.post("/other")(lambda: "done")
    with count_round_trips() as trips:
        assert site.send("POST", "/other").text == "done"
    assert trips.total == 0


def test_a_group_may_be_forgotten_by_a_response(cached_site):
    site = cached_site(text("x", cache_groups='"shelf"'))
    site.app.post("/change")(lambda: ("done", {"Cache-Group-Invalidation": '"shelf"'}))
    _ = site.get(), site.send("POST", "/change")
    assert status_of(site.get()) == "fwd=miss;stored"


def test_purging_takes_every_variant_of_a_url_whatever_its_scheme(cached_site):
    site = cached_site(lambda: Response(request.headers["X-A"], headers={"Vary": "x-a"}))
    for value in "12":
        _ = site.get("/page?q=1", x_a=value)
    with count_round_trips() as trips:
        assert site.mw.cache.purge("https://LOCALHOST:443/page?q=1")
    assert trips.awaited == 1
    for value in "12":
        assert status_of(site.get("/page?q=1", x_a=value)) != "hit"


# Redis away


def test_with_redis_away_the_application_answers(cached_site):
    site = cached_site("hello")
    _ = site.get()
    with outage(site.mw):
        for _ in range(3):
            answer = site.get()
            assert answer.status_code == 200 and answer.text == "hello" and status_of(answer) == "fwd=uri-miss"
        assert site.send("POST").status_code == 405
    assert status_of(site.get()) == "hit"


def test_a_page_of_this_process_stands_in_while_redis_is_away(cached_site):
    site = cached_site("hello", cache=Cache())
    _ = site.get()
    until(lambda: site.trips() == 0, "it is not kept here")
    with outage(site.mw):
        answer = site.get()
        assert status_of(answer) == "hit" and answer.text == "hello"


def test_an_application_that_was_never_mounted_knows_nothing_of_it():
    app = Flask("bare")
    app.get("/page")(lambda: "x")
    assert "Cache-Status" not in app.test_client().get("/page").headers
