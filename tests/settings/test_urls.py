import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.errors import SettingsError
from redis_mw.settings import Settings
from redis_mw.settings.urls import masked


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://user:p%40ss@cache.example:6380/3",
        "redis://[::1]:6379",
        "redis://localhost?db=2",
        "rediss://cache.example?ssl_cert_reqs=required",
        "unix:///run/redis.sock?db=1",
        "unix://user:pass@/run/redis.sock",
        "embedded://",
        "embedded:///var/lib/shop",
    ],
)
def test_urls_that_are_understood(url):
    assert Settings(url=url).url_of("default") == url


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("", "not a url"),
        ("127.0.0.1:6379", "not a url"),
        ("http://127.0.0.1", "scheme"),
        ("redi://127.0.0.1", 'did you mean "redis"'),
        ("sentinel://a,b/main/0", "not in this version"),
        ("redis://127.0.0.1:0", "port"),
        ("redis://127.0.0.1:65536", "port"),
        ("redis://127.0.0.1:x", "port"),
        ("redis://127.0.0.1/one", "database"),
        ("redis://127.0.0.1/-1", "database"),
        ("redis://127.0.0.1?db=x", "database"),
        ("redis://127.0.0.1?socket_timeout=5", "option"),
        ("redis://127.0.0.1?ssl_cert_reqs=none", "option"),
        ("redis://127.0.0.1?db", "?"),
        ("redis://127.0.0.1/0\n", "white space"),
        ("redis://a b", "white space"),
        ("redis://:p#ss@127.0.0.1", "%23"),
        ("unix://", "path of a socket"),
        ("embedded://host", "no host"),
        ("redis://[::1", "host"),
    ],
)
def test_urls_that_are_not(url, hint):
    with pytest.raises(SettingsError) as caught:
        Settings(url=url)
    (problem,) = caught.value.problems
    assert problem.path == "url" and hint in str(problem) and problem.remedy


CLUSTER_REMEDY = 'give {"default": "redis://...", "cache": "cluster://..."}'


def problems_of(**settings):
    """What is wrong with settings: path, message and remedy of each."""
    with pytest.raises(SettingsError) as caught:
        Settings(**settings)
    return [(problem.path, problem.message, problem.remedy) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "url",
    [
        "cluster://a",
        "cluster://a:7001,b:7002,c",
        "cluster://a,b/0",
        "cluster://a,b/",
        "cluster://shop:p%40s%2Cs@a,b",
        "cluster://:pw@a,b",
        "cluster://[::1]:7001,[::2]:7002",
        "cluster://a:7001,[::1],b",
        "cluster://a,b?ssl=true",
        "cluster://a,b?ssl=false&client_name=shop",
        "cluster://a,b?ssl_ca_certs=/etc/ca.pem&username=shop&password=p,w",
    ],
)
def test_clusters_that_are_understood_hold_the_cache(url):
    settings = Settings(url={"default": "redis://d", "cache": url})
    assert settings.url_of("cache") == url and settings.spreads_cache
    assert settings.url_of("limits") == "redis://d"


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("cluster://", "no name"),
        ("cluster://a,", "no name"),
        ("cluster://,a", "no name"),
        ("cluster://a,,b", "no name"),
        ("cluster://:pw@", "no name"),
        ("cluster://a:0", "port"),
        ("cluster://a,b:0", "port 0"),
        ("cluster://a:x,b", "port"),
        ("cluster://a,b:65536", "port"),
        ("cluster://a,[::1", "host"),
        ("cluster://a/1", "no databases"),
        ("cluster://a,b/one", "no databases"),
        ("cluster://a?db=1", "option"),
        ("cluster://a,b?ssl=yes", "neither true nor false"),
        ("cluster://a?ssl=", "neither true nor false"),
        ("cluster://a?ssl=false&ssl_ca_certs=/etc/ca.pem", "options of TLS"),
        ("cluster://a,b?socket_timeout=5", "option"),
        ("cluster://a,b?ssl", "?"),
        ("cluster://a,b#c", "%23"),
        ("cluster://a, b", "white space"),
        ("cluster://:p@w@a,b", "%40"),
        ("cluster://me:pw@a,me:pw@b", "%40"),
        ("cluster:a,b", "not a url"),
        ("clusters://a,b", 'did you mean "cluster"'),
    ],
)
def test_clusters_that_are_not(url, hint):
    ((path, message, remedy),) = problems_of(url={"default": "redis://d", "cache": url})
    assert path == "url.cache" and hint in f"{message}; {remedy}"
    assert "pw" not in message and "p@w" not in message


def test_a_cluster_holds_the_cache_only():
    complaint = ("a cluster can hold the cache only", CLUSTER_REMEDY)
    assert problems_of(url="cluster://a,b") == [("url", *complaint)]
    assert problems_of(url={"default": "cluster://a"}) == [("url.default", *complaint)]
    roles = ("default", "sessions", "limits", "locks")
    everywhere = {"cache": "cluster://a", **dict.fromkeys(roles, "cluster://a")}
    assert sorted(problems_of(url=everywhere)) == sorted((f"url.{role}", *complaint) for role in roles)


@pytest.mark.parametrize(
    "url",
    ["redis://a", {"default": "redis://a"}, {"default": "redis://a", "cache": "redis://b"}],
    ids=["one server", "a mapping without a cache", "a cache on one server"],
)
def test_replicas_are_read_of_a_cluster_only(url):
    assert problems_of(url=url, read_replicas=True) == [
        ("read_replicas", "the cache has one server, without replicas", CLUSTER_REMEDY)
    ]
    assert not Settings(url=url).spreads_cache


def test_the_replicas_of_a_cluster_may_be_read():
    url = {"default": "redis://d", "cache": "cluster://a"}
    assert Settings(url=url, read_replicas=True).read_replicas
    assert not Settings(url=url).read_replicas


def test_a_cluster_may_come_from_the_environment():
    url = {"default": "redis://d", "cache": "cluster://:pw@a:7001,b:7002?ssl=true"}
    whole = {"REDIS_MW_URL": json.dumps(url), "REDIS_MW_READ_REPLICAS": "yes"}
    by_name = {"REDIS_MW_URL__DEFAULT": url["default"], "REDIS_MW_URL__CACHE": url["cache"]}
    for environ in (whole, {**by_name, "REDIS_MW_READ_REPLICAS": "1"}):
        settings = Settings.from_env(environ=environ)
        assert settings == Settings(url=url, read_replicas=True) and settings.spreads_cache
        assert "pw" not in repr(settings) and "a:7001,b:7002" in repr(settings)
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ={"REDIS_MW_URL": "cluster://a,b"})
    assert [problem.path for problem in caught.value.problems] == ["url"]


def test_a_role_without_a_server_lives_on_the_default_one():
    settings = Settings(url={"default": "redis://a", "cache": "redis://b"})
    assert settings.url_of("cache") == "redis://b"
    assert settings.url_of("sessions") == settings.url_of("default") == "redis://a"
    assert Settings(url="redis://c").url_of("locks") == "redis://c"


def test_roles_are_known_and_there_is_a_default():
    with pytest.raises(SettingsError) as caught:
        Settings(url={"session": "redis://a", "idempotency": "redis://b"})
    assert [problem.path for problem in caught.value.problems] == ["url.session", "url.idempotency", "url.default"]
    assert 'did you mean "sessions"?' in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1/0", "redis://127.0.0.1/0"),
        ("redis://:pw@127.0.0.1/0", "redis://:***@127.0.0.1/0"),
        ("redis://me:p@w:/#?@127.0.0.1/0", "redis://me:***@127.0.0.1/0"),
        ("redis://pw@127.0.0.1/0", "redis://***@127.0.0.1/0"),
        ("redis://h?db=1&password=pw&username=me", "redis://h?db=1&password=***&username=me"),
        ("redis://h?password=p@w", "redis://***"),
        ("redis://me:a&password=@b@h/0", "redis://***"),
        ("cluster://h1:1,h2:2", "cluster://h1:1,h2:2"),
        ("cluster://:pw@h1:1,[::1]:2?ssl=true", "cluster://:***@h1:1,[::1]:2?ssl=true"),
        ("cluster://me:p,w@h1:1,h2:2/0", "cluster://me:***@h1:1,h2:2/0"),
        ("cluster://me:pw@h1:1,me:pw@h2:2", "cluster://me:***@h2:2"),
        ("cluster://h1:1,me:pw@h2:2", "cluster://h1:***@h2:2"),
        (
            "cluster://h1,h2?ssl_password=pw&password=p,w&ssl=true",
            "cluster://h1,h2?ssl_password=***&password=***&ssl=true",
        ),
        ({"cache": "redis://:pw@h"}, {"cache": "redis://:***@h"}),
        (
            {"default": "redis://h", "cache": "cluster://:pw@h1,h2"},
            {"default": "redis://h", "cache": "cluster://:***@h1,h2"},
        ),
        (3, "***"),
    ],
)
def test_a_masked_url_shows_all_but_the_password(url, shown):
    assert masked(url) == shown


MARKS = ",:/?#@=[]%"


@pytest.mark.parametrize("scheme", ["redis", "cluster"])
@pytest.mark.parametrize(
    ("rest", "marks"),
    [("me:{}@h1:1,h2:2/0", f"&{MARKS}"), (":{}@h1?ssl=true", f"&{MARKS}"), ("h1,h2?password={}&ssl=true", MARKS)],
)
@given(data=st.data())
def test_no_character_of_a_password_is_shown(scheme, rest, marks, data):
    password = data.draw(st.text(st.sampled_from(f"_{marks}"), max_size=8))
    shown = masked(f"{scheme}://{rest.format(f'_{password}_')}")
    assert "***" in shown and "_" not in shown
