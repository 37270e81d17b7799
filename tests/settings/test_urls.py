import pytest

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
        ("cluster://a,b", "not in this version"),
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
        ({"cache": "redis://:pw@h"}, {"cache": "redis://:***@h"}),
        (3, "***"),
    ],
)
def test_a_masked_url_shows_all_but_the_password(url, shown):
    assert masked(url) == shown
