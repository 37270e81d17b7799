import pytest

from redis_mw.errors import SettingsError
from redis_mw.settings import Limit, Limits, Rule, Settings


def from_env(**environ: str) -> Settings:
    return Settings.from_env(environ={f"REDIS_MW_{name}": value for name, value in environ.items()})


def test_two_underscores_lead_into_a_part():
    settings = from_env(URL="redis://c", SESSIONS__IDLE="900", SESSIONS__COOKIE__SECURE="yes", SESSIONS__GRACE="0.5")
    assert settings.url == "redis://c" and settings.sessions.idle == 900
    assert settings.sessions.cookie.secure is True and settings.sessions.grace == 0.5


@pytest.mark.parametrize("nothing", ["none", "None", "", " "])
def test_none_or_nothing_turns_a_feature_off(nothing):
    settings = from_env(CACHE=nothing, SESSIONS__MAX_SESSIONS=nothing)
    assert settings.cache is None and settings.sessions.max_sessions is None


def test_lists_are_json_or_separated_by_commas():
    assert from_env(ALLOWED_HOSTS="a.example, b.example,").allowed_hosts == ["a.example", "b.example"]
    assert from_env(ALLOWED_HOSTS='["a.example"]').allowed_hosts == ["a.example"]
    assert from_env(ALLOWED_HOSTS="").allowed_hosts == []
    assert from_env(LIMITS__DEFAULT="5/minute,100/hour").limits.default == [Limit("5/minute"), Limit("100/hour")]


def test_rules_and_mappings_are_json():
    rules = from_env(RULES='[{"path": "/login", "limits": ["5/minute"], "touch": false}]').rules
    assert rules == [Rule("/login", limits=(Limit("5/minute"),), touch=False)]
    assert from_env(URL='{"default": "redis://a", "cache": "redis://b"}').url_of("cache") == "redis://b"


def test_a_mapping_may_be_spelt_name_by_name():
    assert from_env(URL__DEFAULT="redis://a", URL__CACHE="redis://b").url_of("cache") == "redis://b"
    assert from_env(LIMITS__NAMED__LOGIN="5/minute").limits == Limits(named={"login": Limit("5/minute")})
    assert from_env(SESSIONS='{"idle": 60, "grace": 1}', SESSIONS__IDLE="90").sessions.idle == 90


def test_trusted_proxies_are_a_number_or_networks():
    assert from_env(TRUSTED_PROXIES="2").trusted_proxies == 2
    assert from_env(TRUSTED_PROXIES="10.0.0.0/8,::1").trusted_proxies == ["10.0.0.0/8", "::1"]


def test_two_names_belong_to_the_frameworks_and_other_prefixes_to_others():
    settings = from_env(ACCEPT_UNSIGNED="1", HANDLER="shop.refused")
    assert settings == Settings.from_env(environ={"REDIS_URL": "x", "redis_mw_url": "x"}) == Settings()
    assert Settings.from_env("SHOP_", {"SHOP_PREFIX": "shop", "REDIS_MW_NOPE": "x"}).prefix == "shop"


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"SESSIONS__IDEL": "3"}, 'sessions.idel: unknown; did you mean "idle"?'),
        ({"SESION": "3"}, 'sesion: unknown; did you mean "sessions"?'),
        ({"POOL": "many"}, "pool: is a str; expected a whole number"),
        ({"POOL": ""}, "pool: is a str; expected a whole number"),
        ({"PATIENCE": "nan"}, "patience: is not a finite duration of at most a century; give more than 0 seconds"),
        ({"RULES": "[{"}, "rules: is not valid JSON; start it with [ or { only where it is JSON"),
        ({"RULES": "[" * 100_000}, "rules: is not valid JSON; start it with [ or { only where it is JSON"),
        ({"DEBUG_HEADERS": "maybe"}, "debug_headers: is a str; expected true or false"),
        (
            {"CACHE": "none", "CACHE__WAIT": "3"},
            "cache.wait: stands beside REDIS_MW_CACHE, which is not a mapping; set one of the two",
        ),
        (
            {"URL": "redis://a", "URL__CACHE": "redis://b"},
            "url.cache: stands beside REDIS_MW_URL, which is not a mapping; set one of the two",
        ),
    ],
)
def test_what_is_wrong_in_the_environment_names_its_path(environ, problem):
    with pytest.raises(SettingsError) as caught:
        from_env(**environ)
    assert [str(each) for each in caught.value.problems] == [problem]


def test_all_of_the_environment_is_reported_together():
    with pytest.raises(SettingsError) as caught:
        from_env(RULES="[", NOPE="1", SECRET="short", SESSIONS__GRACE="-1")
    assert {problem.path for problem in caught.value.problems} == {"rules", "nope", "secret", "sessions.grace"}
    assert "short" not in str(caught.value)
