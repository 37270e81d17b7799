import copy
import json
import pickle
from datetime import timedelta

import msgspec
import pytest

from redis_mw.errors import Problem, SettingsError
from redis_mw.settings import (
    Cached,
    Cookie,
    Idempotent,
    Limit,
    Limits,
    Lock,
    Locks,
    Rule,
    Sessions,
    Settings,
    Strikes,
    is_default,
    replace,
)

SECRET = "0123456789abcdef0123456789abcdef"


def problems_of(build) -> tuple[Problem, ...]:
    with pytest.raises(SettingsError) as caught:
        build()
    return caught.value.problems


def paths_of(**settings) -> list[str]:
    """The paths that are wrong, the same for code and for a mapping."""
    in_code = problems_of(lambda: Settings(**settings))
    assert problems_of(lambda: Settings.from_mapping(settings)) == in_code
    return [problem.path for problem in in_code]


def test_nothing_has_to_be_set():
    settings = Settings()
    assert settings.url == "redis://127.0.0.1:6379/0"
    assert settings.sessions == Sessions()
    assert settings.rules == [] and settings.old_secrets == [] and settings.trusted_proxies == []
    assert Settings.from_mapping({}) == settings == Settings.from_env(environ={})


def test_an_unknown_key_names_its_path_and_the_nearest_name():
    (problem,) = problems_of(lambda: Settings.from_mapping({"sessions": {"idel": 3}}))
    assert str(problem) == 'sessions.idel: unknown; did you mean "idle"?'


def test_an_unknown_keyword_in_code_is_the_same_error():
    assert str(problems_of(lambda: Sessions(idel=3))[0]) == 'sessions.idel: unknown; did you mean "idle"?'
    assert [problem.path for problem in problems_of(lambda: Settings(urll=""))] == ["urll"]


def test_all_problems_are_reported_together():
    wrong = {
        "urll": "x",
        "pool": 0,
        "secret": "short",
        "sessions": {"idel": 1, "idle": "x", "cookie": {"same_site": "none", "secure": False}},
        "cache": {"wait": -1},
        "rules": [{"path": "/ok"}, {"limits": ["5/minute", {"rate": "5 per minute", "by": "cleint"}]}],
    }
    assert [problem.path for problem in problems_of(lambda: Settings.from_mapping(wrong))] == [
        "urll",
        "secret",
        "pool",
        "rules[1].path",
        "rules[1].limits[1].rate",
        "rules[1].limits[1].by",
        "sessions.idel",
        "sessions.idle",
        "sessions.cookie.secure",
        "cache.wait",
    ]


def test_a_tree_built_in_code_is_checked_in_every_corner():
    rule = Rule("/x", limits=[Limit("often")], cache=Cached(-1), lock=Lock(""), idempotency=Idempotent(wait=-1))
    settings = {
        "rules": [rule],
        "sessions": Sessions(touch_after=2, cookie=Cookie(path="x")),
        "limits": Limits(named={"login": Limit("5/minute", strikes=Strikes(after=0))}, allow=["nobody"]),
        "locks": Locks(ttl=0),
    }
    assert paths_of(**settings) == [
        "rules[0].limits[0].rate",
        "rules[0].cache.ttl",
        "rules[0].lock.name",
        "rules[0].idempotency.wait",
        "sessions.touch_after",
        "sessions.cookie.path",
        "limits.named.login.strikes.after",
        "limits.allow[0]",
        "locks.ttl",
    ]


def test_a_part_that_was_replaced_is_checked_too():
    settings = Settings()
    assert replace(settings, sessions=replace(settings.sessions, idle=60)).sessions.idle == 60
    assert (
        problems_of(lambda: replace(settings, sessions=replace(settings.sessions, idle=-1)))[0].path == "sessions.idle"
    )
    assert problems_of(lambda: replace(settings, sesions=None))[0].path == "sesions"


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"prefix": "a{b"}, "prefix"),
        ({"prefix": ""}, "prefix"),
        ({"old_secrets": [SECRET, ""]}, "old_secrets[1]"),
        ({"connect": "eagre"}, "connect"),
        ({"warm_up": 0}, "warm_up"),
        ({"patience": True}, "patience"),
        ({"patience": float("nan")}, "patience"),
        ({"pool": "3"}, "pool"),
        ({"pool": -(10**5000)}, "pool"),
        ({"pool": 10**5000}, "pool"),
        ({"workers": 0}, "workers"),
        ({"trusted_proxies": ["10.0.0.1/8"]}, "trusted_proxies[0]"),
        ({"trusted_proxies": -1}, "trusted_proxies"),
        ({"trusted_proxies": True}, "trusted_proxies"),
        ({"allowed_hosts": ["https://shop.example"]}, "allowed_hosts[0]"),
        ({"on_event": ["print"]}, "on_event[0]"),
        ({"on_event": [3]}, "on_event[0]"),
        ({"rules": [Rule("x")]}, "rules[0].path"),
        ({"rules": [Rule("/x", methods=["post"])]}, "rules[0].methods[0]"),
        ({"rules": [Rule("/x", session="never")]}, "rules[0].session"),
        ({"rules": [Rule("/x", touch="no")]}, "rules[0].touch"),
        ({"rules": [Limit("5/minute")]}, "rules[0]"),
        ({"rules": Rule("/x")}, "rules"),
        ({"rules": None}, "rules"),
        ({"sessions": Cookie()}, "sessions"),
        ({"sessions": 3}, "sessions"),
        ({"locks": Locks(ttl=301)}, "locks.ttl"),
        ({"idempotency": {"lease": 2, "ttl": 1}}, "idempotency.lease"),
        ({"idempotency": {"header": "a b"}}, "idempotency.header"),
        ({"limits": {"default": [{"rate": "5/minute", "status": 200}]}}, "limits.default[0].status"),
        ({"limits": {"ipv6_prefix": 129}}, "limits.ipv6_prefix"),
        ({"limits": {"default": [{"rate": "5/minute", "by": ["user", "hat"]}]}}, "limits.default[0].by[1]"),
        ({"limits": {"default": ["5/minute", "5 /"]}}, "limits.default[1]"),
        ({"rules": [{"path": "/", "cache": {"ttl": 1, "negative": {"404": -1}}}]}, "rules[0].cache.negative.404"),
    ],
)
def test_one_wrong_value_is_one_problem_at_its_path(settings, path):
    assert paths_of(**settings) == [path]


@pytest.mark.parametrize(
    ("sessions", "path"),
    [
        ({"idle": 0}, "idle"),
        ({"absolute": timedelta(0)}, "absolute"),
        ({"anonymous_idle": -1}, "anonymous_idle"),
        ({"idle": 100, "absolute": 99}, "idle"),
        ({"idle": 43201}, "idle"),
        ({"anonymous_idle": 61, "absolute": 60}, "anonymous_idle"),
        ({"touch_after": 1.1}, "touch_after"),
        ({"touch_after": float("nan")}, "touch_after"),
        ({"grace": -0.1}, "grace"),
        ({"max_sessions": 0}, "max_sessions"),
        ({"on_max": "evit"}, "on_max"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"encryption_keys": ["AAAA"]}, "encryption_keys[0]"),
        ({"encryption_keys": ["!" * 24]}, "encryption_keys[0]"),
        ({"skip": ["/health", "static/*"]}, "skip[1]"),
        ({"websocket_origins": ["https://shop.example/"]}, "websocket_origins[0]"),
        ({"websocket_origins": ["shop.example"]}, "websocket_origins[0]"),
        ({"websocket_origins": ["https://Shop.example"]}, "websocket_origins[0]"),
        ({"websocket_origins": "https://shop.example"}, "websocket_origins"),
        ({"user_of": "call"}, "user_of"),
        ({"cookie": {"name": "a;b"}}, "cookie.name"),
        ({"cookie": {"name": ""}}, "cookie.name"),
        ({"cookie": {"path": "/a;b"}}, "cookie.path"),
        ({"cookie": {"path": "/a\n"}}, "cookie.path"),
        ({"cookie": {"domain": "a b"}}, "cookie.domain"),
        ({"cookie": {"domain": "shop.example\n"}}, "cookie.domain"),
        ({"cookie": {"same_site": "Lax"}}, "cookie.same_site"),
        ({"cookie": {"same_site": "none", "secure": False}}, "cookie.secure"),
        ({"cookie": {"same_site": "none", "secure": False, "partitioned": True}}, "cookie.secure"),
        ({"cookie": {"partitioned": True}}, "cookie.partitioned"),
        ({"cookie": {"name": "__Host-s", "domain": "shop.example"}}, "cookie.domain"),
        ({"cookie": {"name": "__Host-s", "path": "/shop"}}, "cookie.path"),
        ({"cookie": {"name": "__host-s", "secure": False}}, "cookie.secure"),
        ({"cookie": {"name": "__Secure-s", "secure": False}}, "cookie.secure"),
        ({"cookie": {"name": "__Secure-s", "path": "/shop"}}, "cookie.path"),
    ],
)
def test_what_sessions_cannot_be_is_refused(sessions, path):
    assert set(paths_of(sessions=sessions)) == {f"sessions.{path}"}


@pytest.mark.parametrize(
    "sessions",
    [
        {"absolute": 60},
        {"idle": 60, "absolute": 60},
        {"idle": 43200},
        {"encryption_keys": ["AAAAAAAAAAAAAAAAAAAAAA=="]},
        {"websocket_origins": ["https://shop.example", "http://[::1]:8000", "chrome-extension://abc"]},
        {"user_of": "shop.users.user_of"},
        {"cookie": {"name": "__Host-s", "secure": True}},
        {"cookie": {"same_site": "none", "partitioned": True, "domain": ".shop.example"}},
    ],
)
def test_what_sessions_can_be_is_accepted(sessions):
    assert isinstance(Settings(sessions=sessions).sessions, Sessions)


def test_a_lifetime_that_nobody_set_can_be_told_from_the_same_number():
    sessions = Settings().sessions
    assert sessions.idle == 1800 and is_default(sessions.idle)
    assert is_default(sessions.absolute) and is_default(sessions.anonymous_idle)
    for built in (
        Settings(sessions=Sessions(idle=1800)),
        Settings.from_mapping({"sessions": {"idle": 1800}}),
        Settings.from_env(environ={"REDIS_MW_SESSIONS__IDLE": "1800"}),
        replace(Settings(), sessions=replace(Sessions(), idle=1800)),
    ):
        assert not is_default(built.sessions.idle)
        assert is_default(built.sessions.absolute) and built.sessions == sessions


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_default_stays_one_when_copied(copied):
    settings = copied(Settings())
    again = replace(Settings.from_mapping(msgspec.structs.asdict(settings)), prefix="other")
    assert is_default(again.sessions.idle) and is_default(settings.sessions.idle)


def test_a_rule_knows_what_it_was_not_told():
    assert Rule("/x").session == "auto" and Rule("/x").touch == True  # noqa: E712 - equal, though not the same
    rules = Settings(rules=[Rule("/x"), Rule("/x", session="auto", touch=True)]).rules
    assert [is_default(rule.session) for rule in rules] == [True, False]
    assert [is_default(rule.touch) for rule in rules] == [True, False]
    assert repr(rules[0].touch) == "True"


def test_texts_stand_for_limits():
    rules = [{"path": "/login", "methods": ["POST"], "limits": ["5/minute", {"rate": "20/hour", "by": "user"}]}]
    expected = Rule("/login", methods=("POST",), limits=(Limit("5/minute"), Limit("20/hour", by="user")))
    assert Settings.from_mapping({"rules": rules}).rules == [expected]


@pytest.mark.parametrize("rate", ["5/minute", "100/15m", "1000/day", "20 in flight", "call:shop.rates.of", "3/2 hours"])
def test_the_shapes_of_rates(rate):
    assert Settings(limits={"default": [rate]}).limits.default[0].rate == rate


@pytest.mark.parametrize(
    "rate", ["", "5", "0/minute", "5/fortnight", "-1/s", "5/minute\n", "call:", "call:x", "in flight"]
)
def test_what_is_no_rate(rate):
    assert paths_of(limits={"default": [{"rate": rate}]}) == ["limits.default[0].rate"]


def test_what_was_given_is_not_shared_with_the_tree():
    rules, methods = [{"path": "/x"}], ["GET"]
    settings = Settings(rules=rules, limits={"default": [Limit("1/s", methods=methods)]})
    rules.append({"path": "nonsense"})
    methods.append("nonsense")
    assert settings.rules == [Rule("/x")] and settings.limits.default[0].methods == ("GET",)


def test_the_tree_is_frozen():
    with pytest.raises(AttributeError):
        Settings().prefix = "x"


def test_none_turns_a_feature_off_and_only_a_feature():
    settings = Settings.from_mapping(
        {"sessions": None, "cache": None, "limits": None, "locks": None, "idempotency": None}
    )
    assert settings.sessions is settings.cache is settings.limits is settings.locks is settings.idempotency is None
    assert paths_of(prefix=None) == ["prefix"]


def test_repr_and_errors_show_no_secret():
    hidden = [SECRET, "old-" + SECRET, "b2xkb2xkb2xkb2xkb2xkbw==", "pa55"]
    settings = Settings(
        url={"default": "redis://user:pa55@127.0.0.1/0", "cache": "redis://127.0.0.1?password=pa55"},
        secret=hidden[0],
        old_secrets=[hidden[1]],
        sessions=Sessions(encryption_keys=[hidden[2]]),
    )
    shown = repr(settings) + str(settings) + repr(settings.sessions) + repr(settings.__rich_repr__())
    assert not [each for each in hidden if each in shown]
    assert "redis://user:***@127.0.0.1/0" in shown


@pytest.mark.parametrize(
    "url",
    ["redis://:pa55@h:99999", "redis://:pa55@h/x", "redis://:pa/55@h", "redis://a@pa55@h", "pa55", "pa55://h", "redis://h#pa55",
     "redis://h?passwd=pa55", "redis://h?db=pa55", "redis://[pa55"],
)  # fmt: skip
def test_a_bad_url_is_not_repeated(url):
    for problem in problems_of(lambda: Settings(url=url)):
        assert problem.path == "url" and "pa55" not in str(problem)


def test_a_short_secret_is_not_repeated():
    (problem,) = problems_of(lambda: Settings(secret="hunter2"))
    assert "hunter2" not in str(problem) and "32" in problem.remedy


def test_a_mapping_is_a_mapping():
    assert problems_of(lambda: Settings.from_mapping(["url"]))[0].message == "is a list"
    assert problems_of(lambda: Settings.from_mapping({3: 4}))[0].path == "3"


def test_settings_are_spelt_in_json_as_in_code():
    text = json.dumps({"sessions": {"cookie": {"name": "shop"}}, "rules": [{"path": "/a", "cache": {"ttl": 60}}]})
    expected = Settings(sessions=Sessions(cookie=Cookie(name="shop")), rules=[Rule("/a", cache=Cached(60))])
    assert Settings.from_mapping(json.loads(text)) == expected
    assert expected.rules[0].cache.negative == {404: 10, 410: 60}
