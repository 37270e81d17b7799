"""Rate limits under Flask: what a request costs in round trips, what it is told of them, and who answers a refusal."""

import http_sf
import pytest
from flask import Blueprint, current_app
from werkzeug.exceptions import Forbidden, HTTPException, ServiceUnavailable, TooManyRequests

from redis_mw import Limit, LimitExceeded, Rule, current, limited
from redis_mw.testing import count_round_trips
from redis_mw_flask import ClientDenied, LimitClosed, RateLimited


def statuses(client, count, path="/page", **given):
    return [client.get(path, **given).status_code for _ in range(count)]


def trips(client, path="/page", **given):
    with count_round_trips() as counted:
        client.get(path, **given).close()
    return counted.awaited


# What it costs


def test_a_burst_is_cut_at_the_limit(limited_app):
    assert statuses(limited_app("3/minute").test_client(), 5) == [200, 200, 200, 429, 429]


def test_any_number_of_limits_costs_one_trip(limited_app):
    limits = "30/minute", Limit("20/hour", by="global"), Limit("10/day", algorithm="fixed", by="route")
    with count_round_trips() as counted:
        assert limited_app(*limits).test_client().get("/page").status_code == 200
    assert (counted.awaited, counted.total, counted.commands) == (1, 1, ["EVALSHA"])


def test_a_session_rides_along_and_is_then_read_for_nothing(limited_app):
    app = limited_app("30/minute", settings={"rules": [Rule("/*", limits=["30/minute"])]})
    client = app.test_client()
    assert trips(client, "/read") == 1
    assert trips(client, "/put/a/1") == 2
    assert trips(client, "/page") == 1
    assert trips(client, "/read") == 1
    assert trips(client, "/put/a/2") == 2
    client.set_cookie("session", "forged")
    assert trips(client, "/page") == 1


def test_a_session_that_rode_along_was_not_accessed(limited_app):
    client = limited_app("30/minute").test_client()
    client.get("/put/a/1")
    assert "Vary" not in client.get("/page").headers


def test_a_denied_repeat_costs_no_trip(limited_app):
    client = limited_app("1/minute").test_client()
    assert statuses(client, 2) == [200, 429]
    with count_round_trips() as counted:
        again = client.get("/page")
    assert (again.status_code, counted.total) == (429, 0)
    assert int(again.headers["Retry-After"]) >= 1


def test_a_limit_by_user_costs_one_trip_more_where_there_is_a_session(limited_app):
    client = limited_app(Limit("1/minute", by="user")).test_client()
    assert trips(client) == 1
    client.get("/login/7")
    assert trips(client) == 2
    assert statuses(client, 1) == [429]


def test_what_is_not_limited_costs_nothing(limited_app):
    assert trips(limited_app("30/minute").test_client(), "/untouched") == 0


def test_a_request_that_goes_nowhere_is_counted_by_what_holds_everywhere(limited_app):
    client = limited_app(default=["2/minute"]).test_client()
    assert trips(client, "/nowhere") == 1
    answer = client.get("/nowhere")
    assert (answer.status_code, answer.headers["RateLimit"].split(";")[1]) == (404, "r=0")
    assert statuses(client, 1, "/nowhere") == [429]


def test_static_files_count_like_any_route(limited_app, tmp_path):
    (tmp_path / "a.txt").write_text("a file")
    app = limited_app(settings={"rules": [Rule("/static/*", limits=["2/minute"])]})
    app.static_folder = str(tmp_path)
    client = app.test_client()
    with client.get("/static/a.txt") as first:
        assert (first.text, first.headers["RateLimit"].split(";")[1]) == ("a file", "r=1")
    with client.get("/static/a.txt", headers={"If-None-Match": first.headers["ETag"]}) as fresh:
        assert (fresh.status_code, fresh.headers["RateLimit"].split(";")[1]) == (304, "r=0")
    assert statuses(client, 1, "/static/a.txt") == [429]


def test_preflights_are_exempt(limited_app):
    client = limited_app("1/minute").test_client()
    asking = {"Access-Control-Request-Method": "POST"}
    with count_round_trips() as counted:
        assert [client.options("/page", headers=asking).status_code for _ in range(3)] == [200] * 3
    assert counted.total == 0


def test_without_sessions_limits_go_on(limited_app):
    client = limited_app("2/minute", settings={"sessions": None}).test_client()
    assert trips(client) == 1
    assert statuses(client, 2) == [200, 429]


def test_without_a_secret_they_do_too_and_one_that_comes_late_is_used(limited_app):
    app = limited_app(settings={"rules": []}, default=[Limit("2/minute", by="header:X-Key")])
    app.secret_key = None
    app.testing = False
    client = app.test_client()
    assert statuses(client, 1, headers={"X-Key": "a"}) == [500]
    assert statuses(client, 2) == [200, 200]
    app.secret_key = "set late, but before a credential came"
    assert statuses(client, 3, headers={"X-Key": "a"}) == [200, 200, 429]


def test_limits_turned_off_leave_decorated_views_open(limited_app):
    app = limited_app("1/minute", settings={"limits": None})

    @app.get("/decorated")
    @limited("1/minute")
    def decorated():
        assert current().limits is None
        return "open"

    client = app.test_client()
    with count_round_trips() as counted:
        assert statuses(client, 2) + statuses(client, 2, "/decorated") == [200] * 4
    assert counted.total == 0


def test_applications_of_one_process_are_kept_apart_by_their_prefix(limited_app, redis_mw_settings):
    ours, twin = limited_app("1/minute"), limited_app("1/minute")
    other = limited_app("1/minute", settings={"prefix": f"{redis_mw_settings.prefix}:other"})
    assert statuses(ours.test_client(), 1) + statuses(other.test_client(), 1) == [200, 200]
    assert statuses(twin.test_client(), 1) == [429]


# What it is told


def test_every_answer_tells_of_all_limits_in_fields_that_parse(limited_app):
    app = limited_app("3/minute", Limit("100/day", name="daily", by="global"), Limit("5 in flight", by="global"))
    answer = app.test_client().get("/page")
    policies = http_sf.parse(answer.headers["RateLimit-Policy"].encode(), tltype="list")
    left = http_sf.parse(answer.headers["RateLimit"].encode(), tltype="list")
    assert [name for name, _ in policies] == ["3-per-m", "daily", "5-in-flight"]
    assert [(name, of["r"]) for name, of in left] == [("3-per-m", 2), ("daily", 99), ("5-in-flight", 4)]


def test_answers_to_errors_tell_too_and_each_field_is_there_once(limited_app):
    app = limited_app("9/minute", settings={"rules": [Rule("/*", limits=["9/minute"])]})

    @app.get("/crash")
    def crash():
        raise ZeroDivisionError

    @app.get("/fields")
    def own_fields():
        return "", {"RateLimit": '"own";r=1', "RateLimit-Policy": '"own";q=1'}

    client = app.test_client()
    for path, status in (("/crash", 500), ("/missing", 404), ("/fields", 200)):
        answer = client.get(path)
        assert (answer.status_code, len(answer.headers.getlist("RateLimit"))) == (status, 1)
        assert answer.headers.getlist("RateLimit-Policy") == ['"9-per-m";q=9;w=60']


def test_a_failure_while_an_error_is_answered_hides_nothing(limited_app):
    app = limited_app("9/minute")

    @app.after_request
    def fail(response):
        raise ZeroDivisionError

    answer = app.test_client().get("/page")
    assert (answer.status_code, len(answer.headers.getlist("RateLimit"))) == (500, 1)


def test_a_refusal_is_problem_details_or_text_and_says_when_to_come_back(limited_app):
    client = limited_app(Limit("1/minute", name="tight")).test_client()
    assert statuses(client, 1) == [200]
    answer = client.get("/page")
    assert answer.mimetype == "application/problem+json" and answer.json["violated-policies"] == ["tight"]
    assert (answer.json["status"], 1 <= int(answer.headers["Retry-After"]) <= 64) == (429, True)
    text = client.get("/page", headers={"Accept": "text/html"})
    assert text.mimetype == "text/plain" and text.text == "429 Too Many Requests\nToo many requests.\n"


# Who answers


@pytest.mark.parametrize("handled", [429, TooManyRequests, LimitExceeded, RateLimited, HTTPException])
@pytest.mark.parametrize("seen", [True, False], ids=["before the view", "at the view"])
def test_a_handler_of_the_application_answers(limited_app, handled, seen):
    app = limited_app()

    def view():
        return "passed"

    marked = limited("1/minute", name="tight")(view)
    app.add_url_rule("/x", view_func=marked if seen else lambda: marked(), endpoint="x")

    @app.errorhandler(handled)
    def sorry(error):
        assert isinstance(error, RateLimited) and error.code == 429 and error.retry_after >= 1
        assert [verdict.name for verdict in error.verdicts if not verdict] == ["tight"]
        return "come back later", 429

    client = app.test_client()
    assert client.get("/x").text == "passed"
    answer = client.get("/x")
    assert (answer.status_code, answer.text) == (429, "come back later")
    assert answer.headers["RateLimit"].startswith('"tight";r=0') and int(answer.headers["Retry-After"]) >= 1


def test_a_blueprint_answers_for_its_own_views(limited_app):
    app = limited_app()
    part = Blueprint("part", __name__)

    @part.get("/part")
    @limited("1/minute")
    def view():
        return "passed"

    @part.errorhandler(429)
    def sorry(error):
        return "not now", 503

    app.register_blueprint(part)
    client = app.test_client()
    assert statuses(client, 2, "/part") == [200, 503]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(503, LimitClosed), (503, ServiceUnavailable), (403, Forbidden), (429, RateLimited), (404, 404), (430, None)],
)
def test_the_exception_is_that_of_the_limits_status(limited_app, status, kind):
    app = limited_app(Limit("1/minute", status=status))

    @app.errorhandler(kind or HTTPException)
    def sorry(error):
        assert isinstance(error, LimitExceeded) and error.code == status
        return error.get_response()

    client = app.test_client()
    assert statuses(client, 2) == [200, status]
    assert client.get("/page").json["status"] == status


def test_an_error_of_the_core_that_a_view_lets_pass_is_answered_alike(limited_app):
    app = limited_app()

    @app.get("/own")
    def own():
        verdict = current_app.extensions["redis_mw"].mw.limits.hit("1/minute", key="somebody")
        if not verdict:
            raise LimitExceeded(429, verdict.retry_after, {"detail": "Not so fast."}, [verdict])
        return "passed"

    client = app.test_client()
    assert statuses(client, 1, "/own") == [200]
    answer = client.get("/own")
    assert (answer.status_code, answer.json["detail"]) == (429, "Not so fast.") and answer.headers["Retry-After"]


def test_who_is_on_the_deny_list_gets_403(limited_app):
    app = limited_app("9/minute", deny=["127.0.0.1"])

    @app.errorhandler(403)
    def sorry(error):
        assert isinstance(error, ClientDenied) and error.retry_after is None
        return error

    with count_round_trips() as counted:
        answer = app.test_client().get("/page")
    assert (answer.status_code, counted.total) == (403, 0)
    assert "Retry-After" not in answer.headers
