"""What is somebody's own is never given to others, and nobody can put into a page what others will see."""

from typing import Any

import pytest
from changes import begun, changed
from django.contrib.auth import get_user_model
from other_caches import told_by_vary

from redis_mw import Cached, Rule

CSRF = "django.middleware.csrf.CsrfViewMiddleware"


@pytest.fixture
def session(visit: Any) -> str:
    """The cookie of somebody who has a session."""
    return visit.get("/start/").headers["set-cookie"].partition(";")[0].partition("=")[2]


def is_hit(answer: Any) -> bool:
    return answer.headers.get("cache-status", "").startswith("redis-mw;hit")


def is_stored(answer: Any) -> bool:
    return "stored" in answer.headers.get("cache-status", "")


def test_what_was_made_with_a_look_at_the_session_is_nobody_elses(visit: Any, pages_site: Any, session: str) -> None:
    for cookies in ({"sessionid": session}, {}, {"sessionid": session}):
        answer = visit.get("/visitor/?session", **cookies)
        assert (is_stored(answer), is_hit(answer)) == (False, False)
    assert "cookie" in answer.headers["vary"].lower()
    assert len(pages_site.ran) == 3


def test_a_session_that_is_changed_is_saved_and_its_page_is_not_kept(visit: Any, pages_site: Any, session: str) -> None:
    answer = visit.get("/visitor/?user", sessionid=session)
    assert (is_stored(answer), "sessionid" in answer.headers["set-cookie"], visit.trips) == (False, True, 3)


def cookie_of(answer: Any) -> str:
    return answer.headers["set-cookie"].partition(";")[0].partition("=")[2]


@pytest.mark.parametrize("key", ["{user}", "{user}:{session}"])
def test_a_page_of_each_user_may_say_who_he_is_and_other_caches_are_told(
    visit: Any, pages_site: Any, rule: Any, key: str
) -> None:
    rule(Rule("/bare/", cache=Cached(60, key=key)))
    cookies = {}
    for user in ("ann", "bob"):
        pages_site.hooks["inside"] = lambda request, user=user: request.session.login(user)
        cookies[user] = cookie_of(visit.get("/above/"))
    pages_site.hooks["inside"] = lambda request: request.session.user_id
    for number, user in enumerate(cookies, 1):
        made, given = (visit.get("/bare/", sessionid=cookies[user]) for _ in range(2))
        assert (is_stored(made), is_hit(given), given.json()["runs"]) == (True, True, number)
        assert made.headers["vary"] == given.headers["vary"] == "Cookie"
    nobodys = visit.get("/bare/")
    assert (is_stored(nobodys), is_hit(nobodys), "cache-status" in nobodys.headers) == (False, False, False)
    pages_site.hooks["inside"] = lambda request: request.session.flush()
    _ = visit.get("/above/", sessionid=cookies["ann"])
    pages_site.hooks.clear()
    assert not is_hit(visit.get("/bare/", sessionid=cookies["ann"])), "her session has ended"
    assert is_hit(visit.get("/bare/", sessionid=cookies["bob"]))


@changed
def test_a_page_that_has_changed_its_session_is_for_once(visit: Any, pages_site: Any, rule: Any, change: Any) -> None:
    rule(Rule("/bare/", cache=Cached(60, key="{user}:{session}")))
    pages_site.hooks["inside"] = lambda request: begun(request.session)
    cookie = cookie_of(visit.get("/above/"))
    pages_site.hooks["inside"] = lambda request: change(request.session)
    answer = visit.get("/bare/", sessionid=cookie)
    assert (is_stored(answer), answer.headers["cache-status"]) == (False, "redis-mw;fwd=uri-miss;detail=session")


@pytest.mark.django_db
def test_djangos_own_user_has_a_page_in_each_of_his_sessions(client: Any, pages_site: Any, rule: Any) -> None:
    """Which Django checks by what it holds: a page of all of them would be given to one that the password has ended."""
    seen: list[str] = []
    pages_site.hooks["inside"] = lambda request: seen.append(request.user.get_username())
    user = get_user_model().objects.create_user("ann", password="then")
    for key, kept in (("{user}", False), ("{user}:{session}", True)):
        rule(Rule("/bare/", cache=Cached(60, key=key)))
        client.force_login(user)
        made, given = client.get("/bare/"), client.get("/bare/")
        assert (is_stored(made), is_hit(given)) == (kept, kept)
    client.cookies.clear()
    client.force_login(user)
    assert not is_hit(client.get("/bare/")), "another session of hers"
    user.set_password("now")
    user.save()
    rule(Rule("/bare/", cache=Cached(60, key="again:{user}:{session}")))
    answer = client.get("/bare/")
    assert (seen[-1], is_stored(answer)) == ("", False)


@pytest.mark.parametrize(("key", "kept"), [("{user}", False), ("{session}", False), ("{user}:{session}", True)])
@pytest.mark.parametrize(
    "look",
    [
        lambda session: session.get("x"),
        lambda session: "x" in session,
        lambda session: dict(session.items()),
        lambda session: session.created,
        lambda session: session.get_expiry_age(),
    ],
    ids=["get", "in", "all", "since", "expiry"],
)
def test_what_else_a_session_holds_may_be_in_a_page_of_that_session_only(
    visit: Any, pages_site: Any, rule: Any, key: str, kept: bool, look: Any
) -> None:
    rule(Rule("/bare/", cache=Cached(60, key=key)))
    pages_site.hooks["inside"] = lambda request: request.session.login("ann")
    one, other = (cookie_of(visit.get("/above/")) for _ in range(2))
    pages_site.hooks["inside"] = lambda request: look(request.session)
    made, given = (visit.get("/bare/", sessionid=one) for _ in range(2))
    assert (is_stored(made), is_hit(given)) == (kept, kept)
    assert not is_hit(visit.get("/bare/", sessionid=other)), "another session of hers"


@told_by_vary
def test_other_caches_are_told_what_a_page_varies_by(
    visit: Any, pages_site: Any, rule: Any, policy: Any, own: str | None, told: str | None
) -> None:
    rule(Rule("/bare/", cache=Cached(60, **policy)))
    pages_site.hooks["fields"] = {} if own is None else {"Vary": own}
    made, given = visit.get("/bare/"), visit.get("/bare/")
    unchanged = visit.get("/bare/", {"If-None-Match": made.headers["etag"]})
    assert (is_stored(made), is_hit(given), unchanged.status_code) == (True, True, 304)
    assert [each.headers.get("vary") for each in (made, given, unchanged)] == [told] * 3


def test_a_visitor_with_a_session_gets_the_page_of_everybody_and_makes_it(
    visit: Any, pages_site: Any, session: str
) -> None:
    assert is_stored(visit.get("/visitor/", sessionid=session))
    assert is_hit(visit.get("/visitor/"))
    assert is_hit(visit.get("/visitor/", sessionid=session))
    assert len(pages_site.ran) == 1


def test_a_session_cookie_that_is_due_goes_out_with_a_hit_and_is_not_stored(
    visit: Any, pages_site: Any, settings: Any
) -> None:
    first = visit.get("/start/").headers["set-cookie"].partition(";")[0].partition("=")[2]
    settings.REDIS_MW_ACCEPT_UNSIGNED = True
    bare = first.partition(".")[0]  # one of the time before RedisMiddleware: signed as soon as it was read
    made = visit.get("/limited_page/", sessionid=bare)
    assert is_stored(made)
    hit = visit.get("/limited_page/", sessionid=bare)
    assert (is_hit(hit), visit.trips) == (True, 1)
    assert hit.headers["set-cookie"].strip().startswith(f"sessionid={bare}.")
    assert "httponly" in hit.headers["set-cookie"].lower()
    others = visit.get("/limited_page/")
    assert (is_hit(others), "set-cookie" in others.headers) == (True, False)


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators")
def test_what_a_stream_looked_up_in_the_session_after_its_head_is_not_kept(
    visit: Any, pages_site: Any, session: str
) -> None:
    assert visit.get("/late_session/", sessionid=session).text == "one,secret"
    other = visit.get("/late_session/")
    assert (other.text, is_hit(other)) == ("one,None", False)


def test_an_answer_that_sets_a_cookie_is_not_kept(visit: Any, pages_site: Any) -> None:
    for _ in range(2):
        answer = visit.get("/setting/")
        assert (answer.headers["set-cookie"].strip().partition(";")[0], is_stored(answer)) == ("theme=dark", False)
    assert len(pages_site.ran) == 2


@pytest.mark.parametrize("with_middleware", [True, False])
@pytest.mark.parametrize("token", [None, "a" * 32])
def test_a_page_with_a_csrf_token_is_never_kept_whether_its_visitor_has_a_cookie_or_not(
    visit: Any, pages_site: Any, settings: Any, with_middleware: bool, token: str | None
) -> None:
    if with_middleware:
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, CSRF]
    cookies = {} if token is None else {"csrftoken": token}
    tokens = set()
    for _ in range(2):
        answer = visit.get("/form/", **cookies)
        assert (answer.status_code, is_stored(answer), is_hit(answer)) == (200, False, False)
        tokens.add(answer.text)
    assert len(tokens) == 2


def test_a_csrf_token_in_the_session_is_a_look_at_the_session(visit: Any, pages_site: Any, settings: Any) -> None:
    settings.CSRF_USE_SESSIONS = True
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, CSRF]
    answer = visit.get("/form/")
    assert (is_stored(answer), "sessionid" in answer.headers["set-cookie"]) == (False, True)


def test_a_made_up_csrf_cookie_does_not_keep_a_page_from_being_stored(
    visit: Any, pages_site: Any, settings: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, CSRF]
    answer = visit.get("/above/", csrftoken="made-up")
    assert (is_stored(answer), "set-cookie" in answer.headers, answer.json()["cookies"]) == (True, False, [])
    assert is_hit(visit.get("/above/", csrftoken="a" * 32))


def test_the_view_does_not_see_cookies_that_the_page_is_not_told_apart_by(visit: Any, pages_site: Any) -> None:
    seen: list[Any] = []
    pages_site.hooks["inside"] = seen.append
    answer = visit.get("/above/", fbid="evil", csrftoken="a" * 32)
    assert (answer.json()["cookies"], answer.json()["cookie"]) == (["csrftoken"], f"csrftoken={'a' * 32}")
    raw: Any = seen[0].scope["headers"] if visit.is_async else seen[0].environ.items()
    assert "evil" not in str(raw)
    assert visit.get("/bare/", fbid="good").json()["cookies"] == ["fbid"]


@pytest.mark.parametrize(
    "name",
    ["X-Forwarded-Host", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-IP",
     "X-Forwarded-For", "X-HTTP-Method-Override"],
)  # fmt: skip
def test_a_field_that_no_key_knows_does_not_reach_the_view(visit: Any, pages_site: Any, name: str) -> None:
    """Practical Web Cache Poisoning: what one visitor says of himself would be in everybody's page."""
    answer = visit.get("/above/", {name: "evil.example", "X-Mine": "1"})
    assert (answer.json()["fields"], answer.json()["host"]) == ({"X-Mine": "1"}, "testserver")
    assert is_hit(visit.get("/above/"))


def test_a_trusted_proxy_is_believed(visit: Any, pages_site: Any, rule: Any) -> None:
    rule(trusted_proxies=["127.0.0.1/32"])
    assert visit.get("/above/", {"X-Forwarded-Proto": "https"}).json()["fields"] == {"X-Forwarded-Proto": "https"}


def test_hosts_and_schemes_that_django_believes_have_pages_of_their_own(
    visit: Any, pages_site: Any, settings: Any
) -> None:
    settings.USE_X_FORWARDED_HOST = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.ALLOWED_HOSTS = ["testserver", ".example"]
    forwarded = {"X-Forwarded-Host": "shop.example", "X-Forwarded-Proto": "https"}
    first = visit.get("/above/", forwarded)
    assert (first.json()["host"], first.json()["scheme"], is_stored(first)) == ("shop.example", "https", True)
    assert not is_hit(visit.get("/above/"))
    assert not is_hit(visit.get("/above/", {"X-Forwarded-Host": "shop.example"}))
    assert is_hit(visit.get("/above/", forwarded))
    assert len(pages_site.ran) == 3
    refused = visit.get("/above/", {"X-Forwarded-Host": "evil.test"})
    assert (refused.status_code, "cache-status" in refused.headers) == (400, False)


def test_a_port_that_django_believes_is_seen(visit: Any, pages_site: Any, settings: Any) -> None:
    settings.USE_X_FORWARDED_PORT = True
    assert visit.get("/above/", {"X-Forwarded-Port": "444"}).json()["fields"] == {"X-Forwarded-Port": "444"}


def test_what_looks_like_a_file_is_no_more_public_than_what_it_is(visit: Any, pages_site: Any, session: str) -> None:
    """Gotta Cache 'Em All: deception by paths, such as /profile/x.css."""
    for path in ("/shelf/x.css", "/shelf/x.css?session", "/shelf/x%2ecss", "/shelf/a%2Fx.css", "/shelf//x.css"):
        pages_site.hooks["inside"] = lambda request: request.session.get("x")
        assert not is_stored(visit.get(path, sessionid=session))
        assert not is_hit(visit.get(path))
    pages_site.hooks.clear()
    rests = {visit.get(path).json()["rest"] for path in ("/shelf/A", "/shelf/a", "/shelf/a/", "/shelf/a//")}
    assert rests == {"A", "a", "a/", "a//"}


def test_nothing_is_stored_of_who_shows_credentials_unless_the_answer_says_so(visit: Any, pages_site: Any) -> None:
    credentials = {"Authorization": "Basic YTpi"}
    assert not is_stored(visit.get("/above/", credentials))
    assert not is_hit(visit.get("/above/"))
    assert not is_hit(visit.get("/above/", credentials)), "made for nobody in particular"
    pages_site.hooks["fields"] = {"Cache-Control": "public"}
    assert is_stored(visit.get("/below/", credentials))
    assert is_hit(visit.get("/below/"))
    assert is_hit(visit.get("/below/", credentials))


def test_a_policy_may_say_that_credentials_do_not_matter(visit: Any, pages_site: Any, rule: Any) -> None:
    rule(Rule("/bare/", cache=Cached(60, public=True)))
    assert is_stored(visit.get("/bare/", {"Authorization": "Basic YTpi"}))
    assert is_hit(visit.get("/bare/", {"Authorization": "Basic Yzpk"}))


@pytest.mark.parametrize(
    "fields",
    [
        {"Cache-Control": "private"},
        {"Cache-Control": "PRIVATE"},
        {"Cache-Control": "max-age=60, No-Store"},
        {"Cache-Control": "no-cache"},
        {"Vary": "*"},
        {"Vary": " * "},
        {"Vary": "Accept , *"},
        {"Vary": "Cookie"},
        {"Vary": "Accept,  COOKIE"},
        {"Vary": "authorization"},
        {"Content-Type": "text/event-stream"},
    ],
    ids=str,
)
def test_an_answer_that_says_it_is_not_for_everybody_is_not_kept(visit: Any, pages_site: Any, fields: Any) -> None:
    """CVE-2026-6907, CVE-2026-8404 and CVE-2026-48587 of Django's own cache are of this kind."""
    pages_site.hooks["fields"] = fields
    for _ in range(2):
        answer = visit.get("/above/")
        assert (is_stored(answer), is_hit(answer)) == (False, False)
    assert len(pages_site.ran) == 2


@pytest.mark.parametrize("code", [401, 403, 429, 500])
def test_refusals_and_errors_are_not_kept(visit: Any, pages_site: Any, code: int) -> None:
    pages_site.hooks["status"] = code
    for _ in range(2):
        answer = visit.get("/above/")
        assert (answer.status_code, is_stored(answer)) == (code, False)
    assert len(pages_site.ran) == 2


def test_pairs_of_values_are_told_apart_however_they_are_cut(visit: Any, pages_site: Any) -> None:
    pages_site.hooks["fields"] = {"Vary": "X-A, X-B"}
    for pair in ({"X-A": "ab", "X-B": ""}, {"X-A": "a", "X-B": "b"}, {"X-A": "ab"}):
        assert not is_hit(visit.get("/above/", pair))
    assert len(pages_site.ran) == 3
