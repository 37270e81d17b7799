"""Who is counted under Flask, who is exempt or refused, and what becomes of it all while Redis is away."""

import time

import flask
import pytest
from by_hand import until
from flask import session

from redis_mw import LayerMissing, Limit, RedisMW, limited
from redis_mw.testing import count_round_trips, outage


def statuses(client, count, path="/page", **given):
    return [client.get(path, **given).status_code for _ in range(count)]


def mw_of(app):
    return app.extensions["redis_mw"].mw


# By what


def test_addresses_have_limits_of_their_own_and_ipv6_networks_one(limited_app):
    client = limited_app("1/minute").test_client()

    def at(address):
        return statuses(client, 1, environ_base={"REMOTE_ADDR": address})[0]

    assert [at("192.0.2.1"), at("192.0.2.2"), at("192.0.2.1")] == [200, 200, 429]
    assert [at("2001:db8::1"), at("2001:db8::2"), at("2001:db8:1::1")] == [200, 429, 200]
    assert [at("::ffff:192.0.2.3"), at("192.0.2.3")] == [200, 429]


def test_a_forwarded_address_counts_only_from_a_trusted_proxy(limited_app):
    for trusted, second in (([], 429), (["127.0.0.1"], 200)):
        client = limited_app(
            Limit("1/minute", name=f"of-{second}"), settings={"trusted_proxies": trusted}
        ).test_client()
        first = statuses(client, 1, headers={"X-Forwarded-For": "192.0.2.1"})
        assert first + statuses(client, 1, headers={"X-Forwarded-For": "192.0.2.2"}) == [200, second]


def test_users_are_counted_wherever_they_come_from_and_others_by_their_address(limited_app):
    app = limited_app(Limit("1/minute", by="user"))
    seven, again, eight, nobody = (app.test_client() for _ in range(4))
    for client, user in ((seven, 7), (again, 7), (eight, 8)):
        client.get(f"/login/{user}")
    assert statuses(seven, 1) + statuses(again, 1) + statuses(eight, 1) == [200, 429, 200]
    assert statuses(nobody, 2) == [200, 429]


def test_sessions_are_told_by_their_cookie_at_no_trip_and_a_junk_cookie_gains_nothing(limited_app):
    app = limited_app(Limit("1/minute", by="session"))
    first, second = app.test_client(), app.test_client()
    first.get("/put/a/1"), second.get("/put/a/1")
    with count_round_trips() as trips:
        assert statuses(first, 1) + statuses(second, 1) == [200, 200]
    assert trips.awaited == 2
    assert statuses(first, 1) == [429]
    junk = app.test_client()
    answers = []
    for number in range(3):
        junk.set_cookie("session", f"junk-{number}")
        answers += statuses(junk, 1)
    assert answers == [200, 429, 429]


def test_a_header_is_counted_by_its_value_which_stands_nowhere_in_redis(limited_app, keys):
    client = limited_app(Limit("1/minute", by="header:X-Api-Key")).test_client()
    for key in ("a-key-of-mine", "another-key"):
        assert statuses(client, 2, headers={"X-Api-Key": key}) == [200, 429]
    assert keys() and not any(b"a-key-of-mine" in key for key in keys())


def test_a_callable_gets_flasks_request_and_none_means_the_address(limited_app):
    seen = []

    def tenant(request):
        seen.append(request)
        return request.args.get("tenant")

    client = limited_app(Limit("1/minute", by=tenant)).test_client()
    assert [client.get(f"/page?{query}").status_code for query in ("tenant=a", "tenant=b", "tenant=a", "", "x=1")] == [
        200, 200, 429, 200, 429,
    ]  # fmt: skip
    assert all(isinstance(request, flask.Request) for request in seen)


def test_routes_are_told_by_their_endpoints(limited_app):
    app = limited_app(default=[Limit("1/minute", by=["client", "route"])])
    client = app.test_client()
    assert statuses(client, 1) + statuses(client, 1, "/untouched") + statuses(client, 1, "/page/x") == [200, 200, 429]


def test_a_rate_may_depend_on_the_request(limited_app):
    def rate(request):
        return {"gold": None, "silver": "2/minute"}.get(request.headers.get("Plan"), "1/minute")

    client = limited_app(Limit(rate)).test_client()
    assert statuses(client, 4, headers={"Plan": "gold"}) == [200] * 4
    assert statuses(client, 3, headers={"Plan": "silver"}) == [200, 200, 429]
    assert statuses(client, 1) == [429]


def test_a_rate_that_cannot_be_is_an_error_of_the_application(limited_app):
    client = limited_app(Limit(lambda request: "often")).test_client()
    assert statuses(client, 1) == [500]


# Lists and shadow


def test_the_lists_of_the_settings_come_first_and_cost_nothing(limited_app):
    app = limited_app("1/minute", allow=["127.0.0.1"], deny=["192.0.2.0/24"])
    client = app.test_client()
    with count_round_trips() as trips:
        assert statuses(client, 3) == [200] * 3
        assert statuses(client, 2, environ_base={"REMOTE_ADDR": "192.0.2.9"}) == [403] * 2
    assert trips.total == 0


def test_a_user_on_a_list_is_known_by_his_session(limited_app):
    client = limited_app("9/minute", deny=["user:7"]).test_client()
    assert statuses(client, 1) == [200]
    client.get("/login/7")
    assert statuses(client, 1) == [403]


def test_lists_change_while_the_application_runs(limited_app):
    app = limited_app("1/minute")
    client, limits = app.test_client(), mw_of(app).limits
    limits.ban("127.0.0.1")
    assert statuses(client, 1) == [403]
    limits.unban("127.0.0.1")
    limits.ban("127.0.0.1", 60)
    answer = client.get("/page")
    assert answer.status_code == 429 and 1 <= int(answer.headers["Retry-After"]) <= 60
    limits.allow("127.0.0.1")
    assert statuses(client, 3) == [200] * 3
    limits.disallow("127.0.0.1")
    limits.unban("127.0.0.1")
    assert statuses(client, 2) == [200, 429]


def test_what_another_process_gives_back_is_heard_of(limited_app, redis_mw_settings):
    app = limited_app(Limit("1/minute", name="tight"))
    client = app.test_client()
    assert statuses(client, 2) == [200, 429]
    with RedisMW(mw_of(app).settings) as other:
        began = time.monotonic()
        other.limits.reset(Limit("1/minute", name="tight"), key="127.0.0.1")
        until(lambda: statuses(client, 1) == [200], "the client is served")
    assert time.monotonic() - began < 5


def test_a_shadow_limit_refuses_nobody_and_is_told_to_listeners_only(limited_app):
    events = []
    app = limited_app(Limit("1/minute", shadow=True), settings={"on_event": [events.append]})
    client = app.test_client()
    answers = [client.get("/page") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert "RateLimit" not in answers[2].headers
    assert [event.name for event in events if event.name == "limit.shadow"] == ["limit.shadow"] * 2


def test_all_limits_may_be_shadows(limited_app):
    assert statuses(limited_app("1/minute", shadow=True).test_client(), 3) == [200] * 3


# Explained


def test_a_request_is_explained_without_being_counted(limited_app):
    app = limited_app(Limit("3/minute", name="tight"))

    @app.get("/page/explained")
    @limited("9/minute", name="own")
    def view():
        told = mw_of(app).limits.explain(flask.request)
        return [[each.name, each.client, each.verdict.remaining] for each in told]

    client = app.test_client()
    assert client.get("/page/explained").json == [["tight", "client:127.0.0.1", 2], ["own", "client:127.0.0.1", 8]]
    with app.test_request_context("/page/explained", environ_base={"REMOTE_ADDR": "127.0.0.1"}):
        for _ in range(2):
            told = mw_of(app).limits.explain(flask.request)
            assert [(each.name, each.verdict.remaining) for each in told] == [("tight", 2), ("own", 8)]
    with RedisMW(mw_of(app).settings) as bare, pytest.raises(LayerMissing):
        bare.limits.explain(object())


# Redis is away


def test_in_an_outage_each_limit_does_as_it_was_told(limited_app):
    app = limited_app()

    @app.get("/local")
    @limited("2/minute")
    def local():
        return "local"

    @app.get("/open")
    @limited("2/minute", on_outage="open")
    def open_():
        return "open"

    @app.get("/closed")
    @limited("2/minute", on_outage="closed")
    def closed():
        return "closed"

    client = app.test_client()
    with outage(mw_of(app)):
        answers = {path: [client.get(path) for _ in range(3)] for path in ("/local", "/open", "/closed")}
    assert [answer.status_code for answer in answers["/local"]] == [200, 200, 429]
    assert [answer.status_code for answer in answers["/open"]] == [200] * 3
    assert [answer.status_code for answer in answers["/closed"]] == [503] * 3
    assert all("RateLimit" not in answer.headers for each in answers.values() for answer in each)
    assert all(answer.headers["Retry-After"] for answer in answers["/closed"])


def test_a_slot_counted_in_the_process_is_freed_there(limited_app):
    app = limited_app()
    client = app.test_client()

    @app.get("/slot")
    @limited("1 in flight")
    def slot():
        return "done"

    with outage(mw_of(app)):
        answer = client.get("/slot")
        assert client.get("/slot").status_code == 429
        answer.close()
        until(lambda: client.get("/slot", buffered=True).status_code == 200, "the slot is free")


def test_a_limit_is_asked_while_the_session_is_away_and_the_session_says_so(limited_app):
    app = limited_app("9/minute")

    @app.get("/page/session")
    def reading():
        return session["a"]

    client = app.test_client()
    client.get("/put/a/1")
    with outage(mw_of(app)):
        assert client.get("/page").status_code == 200
        assert client.get("/page/session").status_code == 503
    assert client.get("/page/session").text == "1"
