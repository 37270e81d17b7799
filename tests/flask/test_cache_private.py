"""What is somebody's own is never anybody else's, and nobody can put words into a page that others get."""

import pytest
from changes import begun, changed
from flask import Response, render_template_string, request, session
from flask_site import status_of
from other_caches import told_by_vary

from redis_mw import Cache, Cached, Lock, Rule
from redis_mw.testing import count_round_trips

MADE_OF_A_SESSION = "fwd=uri-miss;detail=session"


def ruled(**policy):
    return [Rule("/page", cache=Cached(60, **policy))]


def login(site, user):
    """A client that has logged in."""
    client = site.app.test_client()
    assert client.get(f"/login/{user}").status_code == 200
    return client


@pytest.mark.parametrize(
    "says",
    [
        *("private", "no-store", "PRIVATE", "No-Store", 'private="x-a"', "max-age=60;private", "max-age=60, private"),
        *("no-cache", "public, no-store", "private=1", '"private', "max-age=60 , NO-STORE"),
    ],
)
def test_what_says_that_it_is_private_is_not_kept_however_it_says_so(cached_site, says):
    site = cached_site(lambda: Response("x", headers={"Cache-Control": says}))
    _ = site.get()
    assert status_of(site.get()) != "hit" and len(site.made) == 2


def test_every_line_of_cache_control_counts(cached_site):
    site = cached_site(lambda: Response("x", headers=[("Cache-Control", "max-age=60"), ("cache-control", "Private")]))
    _ = site.get()
    assert status_of(site.get()) == "fwd=uri-miss;detail=private"


@pytest.mark.parametrize("vary", ["*", " * ", "accept, *", "Cookie", "accept-language,COOKIE", "authorization", "a b"])
def test_what_varies_by_somebody_or_by_nobody_knows_what_is_not_kept(cached_site, vary):
    site = cached_site(lambda: Response("x", headers={"Vary": vary}))
    _ = site.get()
    assert status_of(site.get()) == "fwd=uri-miss;detail=vary"


def test_a_cookie_of_the_application_keeps_its_response_out_unless_that_is_wanted(cached_site):
    def view():
        answer = Response("x")
        answer.set_cookie("a", "1")
        return answer

    site = cached_site(view)
    _ = site.get()
    assert status_of(site.get()) == "fwd=uri-miss;detail=set-cookie"
    site = cached_site(view, cache=Cache(l1_bytes=0, store_set_cookie=True))
    _ = site.get()
    again = site.get()
    assert status_of(again) == "hit" and again.headers["Set-Cookie"] == "a=1; Path=/"


def test_a_cookie_that_is_set_after_the_view_counts_as_well(cached_site):
    site = cached_site("x")

    @site.app.after_request
    def follow(response):
        response.set_cookie("visited", "1")
        return response

    _ = site.get()
    assert status_of(site.get()) == "fwd=uri-miss;detail=set-cookie"


# Sessions


def test_a_page_made_of_a_session_is_not_kept_and_one_made_beside_it_is(cached_site):
    site = cached_site(lambda: f"hello {session.user_id}" if "look" in request.args else "hello all")
    ann = login(site, "ann")
    assert ann.get("/page?look").text == "hello ann"
    answer = ann.get("/page?look")
    assert status_of(answer) == "fwd=uri-miss;detail=session" and "Cookie" in answer.headers["Vary"]
    assert site.get("/page?look").text == "hello None"
    answer = login(site, "bob").get("/page")
    assert status_of(answer) == "fwd=uri-miss;stored", "that he is logged in is nothing to the page"
    answer = site.get()
    assert status_of(answer) == "hit" and "Set-Cookie" not in answer.headers and "Vary" not in answer.headers
    assert status_of(login(site, "eve").get("/page")) == "hit", "a visitor's cookie alone keeps no page from her"


def test_a_template_that_does_not_look_at_the_session_makes_a_page(cached_site):
    site = cached_site(lambda: render_template_string("hello {{ request.path }}"))
    _ = login(site, "ann").get("/page")
    assert status_of(site.get()) == "hit"
    site = cached_site(lambda: render_template_string("{{ session.user_id }}"))
    assert login(site, "ann").get("/page?template").text == "ann"
    assert site.get("/page?template").text != "ann"


def test_a_session_that_is_looked_at_while_the_body_is_sent_counts_too(cached_site):
    def view():
        here = session._get_current_object()

        def parts():
            yield "hello "
            yield str(here.user_id)

        return Response(parts())

    site = cached_site(view)
    assert login(site, "ann").get("/page").text == "hello ann"
    assert site.get().text == "hello None"


def test_a_session_that_is_looked_at_after_the_view_counts_too(cached_site):
    site = cached_site("x")

    @site.app.after_request
    def greet(response):
        response.headers["X-User"] = str(session.user_id)
        return response

    assert login(site, "ann").get("/page").headers["X-User"] == "ann"
    assert site.get().headers["X-User"] == "None"


def test_pages_for_each_visitor_only_where_the_key_tells_them_apart(cached_site):
    site = cached_site(lambda: f"made {len(site.made)}", rules=ruled(key="{user}"))
    assert (site.get().text, site.get().text) == ("made 1", "made 2"), "who has no user has no page"
    texts = {}
    for user in ("ann", "bob"):
        client = login(site, user)
        texts[user] = client.get("/page").text
        assert client.get("/page").text == texts[user]
    assert texts["ann"] != texts["bob"]
    site.mw.cache.purge("http://localhost/page")
    assert client.get("/page").text != texts["bob"], "a URL is purged for everybody"


@pytest.mark.parametrize("key", ["{user}", "{user}:{session}"])
def test_a_page_of_each_user_may_say_who_he_is_and_other_caches_are_told(cached_site, key):
    site = cached_site(lambda: str(session.user_id), rules=ruled(key=key))
    for user in ("ann", "bob"):
        client = login(site, user)
        made, given = client.get("/page"), client.get("/page")
        assert (status_of(made), made.text) == ("fwd=uri-miss;stored", user)
        assert (status_of(given), given.text) == ("hit", made.text)
        assert made.headers["Vary"] == given.headers["Vary"] == "Cookie"
    assert site.mw.sessions.revoke_user("bob") == 1
    assert client.get("/page").text == "None", "his session has ended"
    assert status_of(site.get()) == "", "who has no user has no page"


@changed
def test_a_page_that_has_changed_its_session_is_for_once(cached_site, change):
    def view():
        change(session)
        return str(session.user_id)

    site = cached_site(view, rules=ruled(key="{user}:{session}"))

    @site.app.get("/begin")
    def begin():
        begun(session)
        return "in"

    client = site.app.test_client()
    _ = client.get("/begin")
    assert status_of(client.get("/page")) == "fwd=uri-miss;detail=session"


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("{user}", "fwd=uri-miss;detail=session"),
        ("{session}", "fwd=uri-miss;detail=session"),
        ("{user}:{session}", "hit"),
    ],
)
@pytest.mark.parametrize("how", ["get", "in", "all", "since", "permanent"])
def test_what_else_a_session_holds_may_be_in_a_page_of_that_session_only(cached_site, key, status, how):
    def view():
        seen = {
            "get": lambda: session.get("verified"),
            "in": lambda: "verified" in session,
            "all": lambda: dict(session),
            "since": lambda: session.created,
            "permanent": lambda: session.permanent,
        }
        return f"{session.user_id} {seen[how]()}"

    site = cached_site(view, rules=ruled(key=key))
    client = login(site, "ann")
    _ = client.get("/page")
    assert status_of(client.get("/page")) == status
    assert status_of(login(site, "ann").get("/page")) != "hit", "another session of hers"


@told_by_vary
@pytest.mark.parametrize("cache", [Cache(), Cache(l1_bytes=0)])
def test_other_caches_are_told_what_a_page_varies_by(cached_site, policy, own, told, cache):
    site = cached_site(
        lambda: Response("x", headers={} if own is None else {"Vary": own}), rules=ruled(**policy), cache=cache
    )
    made = site.get()
    answers = [made, site.get(), site.get(if_none_match=made.headers["ETag"])]
    assert [each.status_code for each in answers] == [200, 200, 304]
    assert [each.headers.get("Vary") for each in answers] == [told] * 3


def test_with_flasks_own_sessions_they_are_seen_and_keep_a_page_out(cached_site):
    def view():
        if "write" in request.args:
            session["user"] = request.args["write"]
        return str(session.get("user")) if "look" in request.args else "x"

    site = cached_site(view, sessions=None)
    client = site.app.test_client()
    _ = client.get("/page?look&write=ann")
    assert client.get("/page?look").text == "ann", "his session is there"
    assert site.get("/page?look").text == "None"
    assert status_of(client.get("/page")) == "fwd=uri-miss;stored" and status_of(site.get()) == "hit"


# Credentials and cookies


def test_authorization_is_nobody_elses_unless_the_response_allows_it(cached_site):
    def view():
        says = request.args.get("says")
        headers = {"Cache-Control": says} if says else {}
        return Response(f"for {request.headers.get('Authorization')}", headers=headers)

    site = cached_site(view)
    assert site.get(authorization="Bearer a").text == "for Bearer a"
    assert site.get().text == "for None" and status_of(site.get()) == "hit"
    assert site.get(authorization="Bearer b").text == "for Bearer b", "nor is a public page for him"
    for says in ("public,max-age=60", "s-maxage=60", "max-age=60,must-revalidate"):
        path = f"/page?says={says}"
        assert site.get(path, authorization="Bearer a").text == "for Bearer a"
        assert site.get(path, authorization="Bearer b").text == "for Bearer a"
        assert site.get(path).text == "for Bearer a"
    site = cached_site(view, rules=ruled(public=True))
    assert site.get("/page?q=2", authorization="Bearer a").text == "for Bearer a"
    assert site.get("/page?q=2").text == "for Bearer a"


def test_a_view_sees_no_cookie_that_its_page_is_not_told_apart_by(cached_site):
    def view():
        return ",".join(sorted(request.cookies))

    cookies = "theme=dark; lang=de; tracker=1; bare; =odd"
    site = cached_site(view, rules=ruled(cookies=["lang"]))
    assert site.get(cookie=cookies).text == "lang"
    assert site.get(cookie="lang=de").text == "lang" and len(site.made) == 1
    assert site.get(cookie="lang=en").text == "lang" and len(site.made) == 2
    assert site.get().text == "" and len(site.made) == 3
    site = cached_site(view, rules=ruled(cookies="all"))
    assert site.get(cookie="theme=dark; a=1").text == "a,theme"
    assert site.get(cookie="theme=dark; a=2").text == "a,theme" and len(site.made) == 2


def test_other_routes_see_all_that_was_sent(cached_site):
    site = cached_site("x")
    site.app.get("/other")(lambda: {**request.cookies, "host": request.headers.get("X-Forwarded-Host")})
    answer = site.get("/other", cookie="theme=dark", x_forwarded_host="shop.example")
    assert answer.json == {"theme": "dark", "host": "shop.example"}


def test_what_a_hook_makes_of_a_cookie_is_no_part_of_a_page(cached_site):
    site = cached_site(lambda: f"in {request.environ['hook.theme']}")

    @site.app.before_request
    def theme():
        request.environ["hook.theme"] = request.cookies.get("theme", "no theme")

    assert site.get(cookie="theme=dark").text == "in no theme"


# Poisoning


@pytest.mark.parametrize(
    "field",
    [
        *("x-forwarded-host", "x-forwarded-proto", "x-forwarded-for", "forwarded", "x-original-url", "x-rewrite-url"),
        *("x-forwarded-prefix", "x-host", "x-http-method-override", "x-forwarded-scheme", "x-forwarded-server"),
    ],
)
def test_nobody_can_write_into_a_page_by_fields_that_its_key_leaves_out(cached_site, field):
    def view():
        return f"link to {request.headers.get(field, 'here')}"

    assert cached_site(view).get(**{field: "evil.example"}).text == "link to here"
    site = cached_site(view, rules=ruled(vary=[field]))
    assert site.get("/page?v", **{field: "a"}).text == "link to a"
    assert site.get("/page?v", **{field: "b"}).text == "link to b"


def test_the_proxy_that_is_believed_may_say_more(cached_site):
    site = cached_site(lambda: request.headers.get("X-Forwarded-Host", "here"), trusted_proxies=["127.0.0.1/32"])
    assert site.get(x_forwarded_host="shop.example").text == "shop.example"


def test_hosts_have_pages_of_their_own_and_others_than_those_allowed_have_none(cached_site):
    def view():
        return f"at {request.host}"

    site = cached_site(view)
    for host in ("a.example", "b.example"):
        assert site.get(host=host).text == f"at {host}"
    assert site.get(host="A.Example:80").text == "at a.example", "one host, however it is written"
    site = cached_site(view, allowed_hosts=["a.example", ".c.example"])
    for host in ("evil.example", "c.example.evil", "evil.example:81"):
        answer = site.get("/page?q", host=host)
        assert answer.text == f"at {host}" and "Cache-Status" not in answer.headers
    for host in ("a.example", "www.c.example", "c.example"):
        assert status_of(site.get("/page?q", host=host)) == "fwd=uri-miss;stored"
    site = cached_site("same", rules=ruled(host_any=True))
    _ = site.get("/page?any", host="a.example")
    assert status_of(site.get("/page?any", host="b.example")) == "hit"


@pytest.mark.parametrize(
    "path", ["/account/x.css", "/account/%2e%2e/x.js", "/account;x.css", "/account/x.css?y", "/account%2fx.css"]
)
def test_a_page_is_never_kept_for_what_its_path_looks_like(cached_site, path):
    site = cached_site(rules=[Rule("/static/*", cache=Cached(60))])
    site.app.get("/<path:rest>")(lambda rest: "secrets")
    for _ in range(2):
        answer = site.get(path)
        assert answer.text == "secrets" and "Cache-Status" not in answer.headers


def test_paths_that_look_alike_are_pages_of_their_own(cached_site):
    site = cached_site(rules=[Rule("/p/*", cache=Cached(60))])
    site.app.get("/p/<path:rest>")(lambda rest: rest)
    paths = {"/p/a": "a", "/p/A": "A", "/p/a;x": "a;x", "/p/a%00": "a\0", "/p/b/../a": "b/../a", "/p/a%2Fb": "a/b"}
    for _ in range(2):
        for path, text in paths.items():
            assert site.get(path).text == text


def test_another_method_by_the_back_door_is_neither_answered_by_a_page_nor_kept_as_one(cached_site):
    site = cached_site("a page", rules=[Rule("/page", cache=Cached(60)), Rule("/page", methods=["DELETE"])])
    site.app.delete("/page", endpoint="gone")(lambda: "deleted")
    inner = site.app.wsgi_app._app

    def overriding(environ, start_response):
        wanted = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE") or environ["QUERY_STRING"].partition("_method=")[2]
        return inner({**environ, "REQUEST_METHOD": wanted or environ["REQUEST_METHOD"]}, start_response)

    site.app.wsgi_app._app = overriding
    assert site.get("/page?_method=DELETE").text == "deleted"
    assert site.get("/page?_method=DELETE").text == "deleted", "no page of it is kept"
    assert site.get(x_http_method_override="DELETE").text == "deleted"
    assert site.get().text == "a page" and status_of(site.get()) == "hit"


def test_the_body_of_a_get_is_no_part_of_a_page(cached_site):
    site = cached_site(lambda: f"echo {request.get_data(as_text=True)}")
    answer = site.visitor.get("/page", data="evil")
    assert answer.text == "echo evil" and "Cache-Status" not in answer.headers
    assert site.get().text == "echo "


def test_what_a_client_asks_for_itself_changes_nothing_for_others(cached_site):
    site = cached_site("hello")
    _ = site.get()
    assert status_of(site.get(cache_control="no-cache")) == "hit", "or anybody could run the application"
    assert status_of(site.get(pragma="no-cache")) == "hit"
    assert status_of(site.get("/page?n", cache_control="no-store")) == "fwd=uri-miss"
    site = cached_site("hello", cache=Cache(l1_bytes=0, honour_client_no_cache=True))
    assert status_of(site.get()) == "hit"
    assert status_of(site.get(cache_control="no-cache")) == "fwd=request;stored"


# What is told to one visitor only


def test_limits_are_those_of_who_asks(cached_site):
    def view():
        return Response("x", headers={"X-RateLimit-Left": "7", "Connection": "x-hop", "X-Hop": "1"})

    site = cached_site(view, rules=[Rule("/page", cache=Cached(60), limits=["5/minute"])])
    left = []
    for _ in range(3):
        answer = site.get()
        left.append(answer.headers["RateLimit"].partition("r=")[2].partition(";")[0])
    assert left == ["4", "3", "2"] and status_of(answer) == "hit"
    assert len(answer.headers.getlist("RateLimit")) == len(answer.headers.getlist("RateLimit-Policy")) == 1
    assert "X-RateLimit-Left" not in answer.headers and "X-Hop" not in answer.headers
    for _ in range(2):
        _ = site.get()
    assert site.get().status_code == 429


def test_a_cookie_that_is_due_is_given_with_a_page_and_is_no_part_of_it(cached_site):
    site = cached_site("x")
    ann = login(site, "ann")
    _ = site.get()
    answer = ann.get("/page")
    assert status_of(answer) == "hit" and "Set-Cookie" not in answer.headers, "none is due"
    signed_before = ann.get_cookie("session").value
    site = cached_site("x", secret="another secret, and long enough at that", old_secrets=[site.app.secret_key])
    bob = site.app.test_client()
    bob.set_cookie("session", signed_before)
    with count_round_trips() as trips:
        answer = bob.get("/page")
    assert status_of(answer) == "hit" and trips.total == 1
    assert answer.headers["Set-Cookie"].startswith("session=") and "Cookie" in answer.headers["Vary"]
    assert "Max-Age" not in answer.headers["Set-Cookie"], "it ends with the browser, as Flask's do"
    assert bob.get_cookie("session").value != signed_before
    answer = bob.get("/page")
    assert status_of(answer) == "hit" and "Set-Cookie" not in answer.headers
    assert "Set-Cookie" not in site.get().headers


def test_locks_and_pages_of_one_route_get_along(cached_site, given_back):
    site = cached_site("x", rules=[Rule("/page", cache=Cached(60), lock=Lock("page"))])
    assert site.trips() == 2
    given_back()
    assert site.trips() == 1
