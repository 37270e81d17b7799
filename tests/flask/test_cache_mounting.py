"""Where cached views stand in Flask, what runs for them and what does not, and what each of their requests costs."""

import pytest
from by_hand import until
from flask import Blueprint, Flask, Response, current_app, g, request, session
from flask.views import MethodView, View
from flask_site import FlaskSite, status_of
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter

from redis_mw import Cache, Cached, LayerMissing, Limit, Rule, cached, current, limited, replace
from redis_mw.testing import count_round_trips
from redis_mw_flask import RedisExtension

SECRET = "a secret of the Flask tests, long enough"


def page():
    """A fresh view."""

    def view(**read):
        return "a page"

    return view


def foreign(view):
    """A decorator that drops what others wrote on a function."""

    def wrapper(*args, **kwargs):
        return view(*args, **kwargs)

    return wrapper


def below(app, mark):
    app.get("/x")(mark(page()))


def above(app, mark):
    _ = mark(app.get("/x")(page()))


def added(app, mark):
    app.add_url_rule("/x", "x", mark(page()))


def asynchronous(app, mark):
    @app.get("/x")
    @mark
    async def view():
        return "a page"


def in_a_blueprint(app, mark):
    part = Blueprint("part", __name__, url_prefix="/x")
    part.get("")(mark(page()))
    app.register_blueprint(part)


def whole_nest(app, mark):
    inner, outer = Blueprint("inner", __name__), mark(Blueprint("outer", __name__, url_prefix="/x"))
    inner.get("")(page())
    outer.register_blueprint(inner)
    app.register_blueprint(outer)


def whole_application(app, mark):
    app.get("/x")(page())
    _ = mark(app)


def method_view(app, mark):
    @mark
    class Decorated(MethodView):
        def get(self):
            return "a page"

    app.add_url_rule("/x", view_func=Decorated.as_view("x"))


def on_a_method(app, mark):
    class OnMethod(MethodView):
        @mark
        def get(self):
            return "a page"

    app.add_url_rule("/x", view_func=OnMethod.as_view("x"))


def on_dispatch(app, mark):
    class OnDispatch(View):
        @mark
        def dispatch_request(self):
            return "a page"

    app.add_url_rule("/x", view_func=OnDispatch.as_view("x"))


WAYS = [
    *(below, above, added, asynchronous, in_a_blueprint, whole_nest, whole_application),
    *(method_view, on_a_method, on_dispatch),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_in_whatever_way_a_view_is_registered_its_page_costs_two_trips_and_then_one(cached_site, way):
    site = cached_site(rules=())
    way(site.app, cached(60))
    assert site.trips("/x") == 2 and site.trips("/x") == 1
    answer = site.get("/x")
    assert status_of(answer) == "hit" and answer.text == "a page"


@pytest.mark.parametrize("way", [in_a_blueprint, method_view, below], ids=lambda way: way.__name__)
def test_a_limit_and_a_session_ride_along(cached_site, way):
    site = cached_site(rules=())
    way(site.app, lambda view: limited("50/minute")(cached(60)(view)))
    ann = site.app.test_client()
    _ = ann.get("/login/ann")
    for trips_of_one in (2, 1):
        with count_round_trips() as trips:
            answer = ann.get("/x")
        assert trips.total == trips_of_one and answer.headers["RateLimit"]
    assert status_of(answer) == "hit"


def test_a_view_that_looks_at_its_session_asks_for_it_only_once(cached_site):
    site = cached_site(lambda: f"hello {session.user_id}")
    site.app.get("/change")(cached(60)(lambda: session.update(a=1) or "changed"))
    ann = site.app.test_client()
    _ = ann.get("/login/ann")
    with count_round_trips() as trips:
        assert ann.get("/page").text == "hello ann"
    assert trips.total == 2, "one for the page and the session, one to let go of the page"
    with count_round_trips() as trips:
        assert ann.get("/change").text == "changed"
    assert trips.total == 2, "the session is saved in the same"


def test_requests_of_other_routes_cost_what_they_did(cached_site):
    site = cached_site("x")
    site.app.get("/other/<int:id>")(lambda id: str(id))
    ann = site.app.test_client()
    _ = ann.get("/login/ann")
    for path, trips_of_one in (("/untouched", 0), ("/other/1", 0), ("/missing", 0), ("/who", 1)):
        with count_round_trips() as trips:
            _ = ann.get(path)
        assert trips.total == trips_of_one, path


def test_a_mark_that_nobody_saw_in_time_is_enforced_before_the_view(cached_site):
    calls = []
    site = cached_site(rules=())

    @site.app.get("/x")
    @foreign
    @cached(60)
    def view():
        calls.append(dict(request.cookies))
        return "a page"

    assert site.trips("/x") == 2 and site.trips("/x") == 1 and len(calls) == 1
    assert status_of(site.get("/x", cookie="theme=dark")) == "hit"
    site.mw.cache.purge("http://localhost/x")
    answer = site.get("/x", cookie="theme=dark")
    assert status_of(answer) == "fwd=uri-miss;detail=no-store" and calls[-1], "it can see what its page may not show"
    assert status_of(site.get("/x")) != "hit"


def test_a_mark_that_was_seen_late_is_made_anew_in_the_background_too(cached_site):
    numbers = iter(range(1, 100))
    site = cached_site(rules=())
    site.app.get("/x")(foreign(cached(60, stale=60, tags=["t"])(lambda: f"made {next(numbers)}")))
    assert site.get("/x").text == "made 1"
    site.mw.cache.drop_tag("t", soft=True)
    assert site.get("/x").text == "made 1"
    until(lambda: site.get("/x").text == "made 2", "it is not made anew")


def test_called_outside_of_a_layer_a_cached_view_says_so():
    bare = Flask("bare")
    bare.testing = True
    bare.get("/x")(cached(60)(page()))
    with pytest.raises(LayerMissing):
        bare.test_client().get("/x")


# What runs


def test_hooks_run_when_a_page_is_made_and_not_when_it_is_sent(cached_site):
    site = cached_site("x")
    told = []
    site.app.before_request(lambda: told.append("before"))
    site.app.teardown_request(lambda error: told.append("teardown"))
    site.app.teardown_appcontext(lambda error: told.append("context"))

    @site.app.after_request
    def after(response):
        told.append("after")
        response.headers["X-Hook"] = "ran"
        return response

    assert site.get().headers["X-Hook"] == "ran"
    assert told == ["before", "after", "teardown", "context"]
    answer = site.get()
    assert status_of(answer) == "hit" and answer.headers["X-Hook"] == "ran" and len(told) == 4


def test_an_error_handler_sees_that_a_limit_is_used_up(cached_site):
    site = cached_site("x", rules=[Rule("/page", cache=Cached(60), limits=["1/minute"])])
    site.app.errorhandler(429)(lambda error: (f"wait {error.retry_after > 0}", 429, {"X-Handled": "1"}))
    assert site.get().status_code == 200
    with count_round_trips() as trips:
        answer = site.get()
    assert (answer.status_code, answer.text, answer.headers["X-Handled"]) == (429, "wait True", "1")
    assert answer.headers["Retry-After"] and answer.headers["RateLimit"] and trips.awaited <= 1
    assert len(site.made) == 1


def test_what_is_in_flight_is_given_back_after_a_page(cached_site, keys):
    rule = Rule("/page", cache=Cached(60), limits=["1 in flight"])
    site = cached_site("x", rules=[rule])
    for _ in range(3):
        until(lambda: site.get().status_code == 200, "it is still taken")
    assert status_of(site.get()) in ("hit", "")


def test_failures_are_counted_by_the_answers_that_are_sent(cached_site):
    counted = []
    limit = Limit("9/minute", count=lambda response: counted.append(response.status_code) or 1)
    site = cached_site("x", rules=[Rule("/page", cache=Cached(60), limits=[limit])])
    for _ in range(2):
        _ = site.get()
    until(lambda: counted == [200, 200], "it is not settled")
    assert status_of(site.get(if_none_match="*")) == "hit"
    until(lambda: counted == [200, 200, 304], "it is not settled")


def test_the_context_is_there_when_a_page_is_made(cached_site):
    site = cached_site(
        lambda: Response(f"{current() is g.redis_mw} {current().session is session._get_current_object()}")
    )
    site.app.get("/plain")(lambda: current().cache.tag("a") or current().cache.skip() or "plain")
    assert site.get().text == "True True"
    assert site.get("/plain").text == "plain", "where nothing is kept it has no effect"


# What users write


def test_what_users_write_is_given_flasks_own_request(cached_site):
    seen = []

    def key(asked):
        seen.append((type(asked), asked.view_args, asked.endpoint, asked.args.get("q"), asked.cookies.get("c")))
        return "all"

    site = cached_site(rules=())
    site.app.get("/p/<int:id>", endpoint="product")(cached(60, key=key)(lambda id: str(id)))
    for _ in range(2):
        answer = site.get("/p/7?q=1", cookie="c=2")
        assert answer.text == "7"
    assert status_of(answer) == "hit" and seen == [(site.app.request_class, {"id": 7}, "product", "1", "2")] * 2


def test_what_users_write_may_look_at_flasks_context(cached_site):
    def by_shelf(asked):
        return f"{current_app.name} {g.get('shelf')} {request.path} {asked.args.get('q')}"

    site = cached_site(
        rules=[Rule("/page", cache=Cached(60, key=by_shelf), limits=[Limit("2/minute", by=by_shelf)])], view="x"
    )
    for trips_of_one in (2, 1):
        assert site.trips() == trips_of_one
    assert site.get().status_code == 429, "nobody is counted twice"
    assert status_of(site.get("/page?q=1")) == "fwd=uri-miss;stored" and status_of(site.get("/page?q=1")) == "hit"


def test_a_key_that_is_made_of_the_session_keeps_its_pages_out(cached_site):
    site = cached_site("x", rules=[Rule("/page", cache=Cached(60, key=lambda asked: session.get("shelf", "none")))])
    for _ in range(2):
        assert status_of(site.get()) == "fwd=uri-miss;detail=session"


def test_what_users_write_may_fail_and_error_handlers_see_it(cached_site):
    def broken(asked):
        raise ZeroDivisionError

    site = cached_site("x", rules=[Rule("/page", cache=Cached(60, key=broken))])
    site.app.errorhandler(ZeroDivisionError)(lambda error: ("handled", 500))
    assert site.get().text == "handled" and site.made == []


def test_a_converter_may_look_at_flasks_context(cached_site):
    class Shelf(BaseConverter):
        def to_python(self, value):
            return f"{current_app.name}:{value}"

    site = cached_site(rules=())
    site.app.url_map.converters["shelf"] = Shelf
    site.app.get("/s/<shelf:name>")(cached(60, tags=["{name}"])(lambda name: name))
    for trips_of_one in (2, 1):
        assert site.trips("/s/toys") == trips_of_one
    assert site.get("/s/toys").text == "shop:toys"


# Where the application stands


@pytest.mark.parametrize("proxies_first", [True, False])
def test_behind_a_proxy_pages_are_those_of_the_host_it_says(redis_mw_settings, proxies_first):
    app = Flask("shop")
    app.secret_key = SECRET
    settings = replace(redis_mw_settings, cache=Cache(l1_bytes=0), trusted_proxies=["127.0.0.1"])
    if proxies_first:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1, x_proto=1, x_prefix=1)
    _ = RedisExtension(app, settings)
    if not proxies_first:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1, x_proto=1, x_prefix=1)
    app.get("/page")(cached(60)(lambda: request.url))
    site = FlaskSite(app, [])
    for host in ("a.example", "b.example"):
        for proto in ("http", "https"):
            fields = {"x_forwarded_host": host, "x_forwarded_proto": proto, "x_forwarded_prefix": "/shop"}
            with count_round_trips() as trips:
                assert site.get(**fields).text == f"{proto}://{host}/shop/page"
                answer = site.get(**fields)
            assert answer.text == f"{proto}://{host}/shop/page" and status_of(answer) == "hit"
            assert trips.total == 3
    site.mw.close()


def test_a_middleware_that_rewrites_urls_inside_makes_no_wrong_pages(cached_site):
    site = cached_site(rules=())
    site.app.get("/en/page")(cached(60)(lambda: f"english {request.path}"))
    site.app.get("/<lang>/other", endpoint="other")(cached(60)(lambda lang: f"other {lang}"))
    inner = site.app.wsgi_app._app

    def rewriting(environ, start_response):
        path = environ["PATH_INFO"]
        lang = environ.get("HTTP_ACCEPT_LANGUAGE", "en")
        if path.startswith("/any/"):
            environ = {**environ, "PATH_INFO": path.replace("/any/", f"/{lang}/")}
        return inner(environ, start_response)

    site.app.wsgi_app._app = rewriting
    for _ in range(2):
        assert site.get("/any/page").text == "english /en/page"
        assert site.get("/any/other", accept_language="de").text == "other de"
        assert site.get("/any/other", accept_language="fr").text == "other fr"
    assert status_of(site.get("/any/other", accept_language="fr")) == "hit"


def test_another_application_behind_the_same_server_is_left_alone(cached_site):
    site = cached_site(rules=())
    site.app.get("/<path:rest>")(cached(60)(lambda rest: f"shop {rest}"))
    other = Flask("other")
    other.get("/page")(lambda: f"other {request.cookies.get('theme')}")
    site.app.wsgi_app._app = DispatcherMiddleware(site.app.wsgi_app._app, {"/other": other.wsgi_app})
    assert site.get("/page", cookie="theme=dark").text == "shop page"
    for theme in ("dark", "light"):
        assert site.get("/other/page", cookie=f"theme={theme}").text == f"other {theme}"


def test_applications_mounted_beside_each_other_have_pages_of_their_own(redis_mw_settings):
    def make(name):
        app = Flask(name)
        app.secret_key = SECRET
        _ = RedisExtension(app, replace(redis_mw_settings, cache=Cache(l1_bytes=0)))
        app.get("/page")(cached(60)(lambda: f"{name} {request.script_root}"))
        app.post("/page", endpoint="change")(lambda: "changed")
        return app

    root, shop = make("root"), make("shop")
    both = Flask("both")
    both.wsgi_app = DispatcherMiddleware(root, {"/shop": shop})
    client = both.test_client()
    for _ in range(2):
        assert client.get("/page").text == "root " and client.get("/shop/page").text == "shop /shop"
    assert status_of(client.get("/shop/page")) == "hit"
    assert client.post("/shop/page").text == "changed"
    assert status_of(client.get("/shop/page")) == "fwd=uri-miss;stored" and status_of(client.get("/page")) == "hit"
    shop.extensions["redis_mw"].mw.cache.purge("http://localhost/shop/page")
    assert status_of(client.get("/shop/page")) == "fwd=uri-miss;stored"
    for app in (root, shop):
        app.extensions["redis_mw"].mw.close()


def test_an_application_root_that_is_configured_changes_nothing(cached_site):
    site = cached_site("x", config={"APPLICATION_ROOT": "/shop"})
    _ = site.app.test_client().get("/page")
    assert status_of(site.app.test_client().get("/page")) == "hit"


def test_a_host_that_flask_does_not_trust_is_a_400_for_cached_routes_too(cached_site):
    site = cached_site("x", config={"TRUSTED_HOSTS": ["localhost"]})
    assert site.get().status_code == 200
    assert site.get(host="evil.example").status_code == 400
    assert status_of(site.get(host="evil.example")) != "hit"


def test_a_path_that_a_rule_has_cached_and_no_view_answers_is_missing_for_all(cached_site):
    site = cached_site(rules=[Rule("/p/*", cache=Cached(60))])
    assert site.get("/p/nothing").status_code == 404
    answer = site.get("/p/nothing")
    assert answer.status_code == 404 and status_of(answer) == "hit"


def test_rules_by_path_see_the_parameters_of_the_view(cached_site):
    rule = Rule("/p/{id}", cache=Cached(60, tags=["product:{id}"]))
    site = cached_site(rules=[rule])
    site.app.get("/p/<int:id>")(lambda id: str(id))
    for path in ("/p/7", "/p/007"):
        _ = site.get(path)
        assert status_of(site.get(path)) == "hit"
    site.mw.cache.drop_tag("product:7")
    assert status_of(site.get("/p/7")) != "hit" and status_of(site.get("/p/007")) != "hit"
