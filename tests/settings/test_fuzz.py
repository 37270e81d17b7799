"""Whatever is given: Settings, or one SettingsError. Never another error, never a wrong value let through."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redis_mw.errors import SettingsError
from redis_mw.settings import (
    Cache,
    Cached,
    Cookie,
    Idempotency,
    Limit,
    Limits,
    Lock,
    Locks,
    Rule,
    Sessions,
    Settings,
    is_default,
    microseconds,
)
from redis_mw.settings.part import Part

PARTS = [Settings, Sessions, Cookie, Cache, Limits, Locks, Idempotency, Rule, Limit, Cached, Lock]
NAMES = sorted({name for part in PARTS for name in part.__struct_fields__} | {"default", "login", "404", "idel"})
TEXTS = ("redis://h", "/x", "/{a}/*", "5/minute", "none", "lax", "GET", "10.0.0.0/8", "call:a.b", "https://a", "x" * 32)

texts = st.text(max_size=8) | st.sampled_from(TEXTS)
names = st.sampled_from(NAMES) | texts
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.timedeltas()
    | texts
    | st.binary(max_size=4)
    | st.sampled_from([print, object(), Cookie(), Rule("/a"), Sessions(idle=-1), {1}, 1j])
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.integers(), inner, max_size=5),
    max_leaves=20,
)
trees = st.dictionaries(st.sampled_from(Settings.__struct_fields__) | texts, values, max_size=6)


def explained(error: SettingsError) -> None:
    """What a SettingsError promises."""
    assert error.problems and all(problem.path and problem.message for problem in error.problems)


def settled(settings: Settings) -> None:
    """What a checked tree promises."""
    for part in (settings, settings.sessions, settings.cache, settings.limits, settings.locks, settings.idempotency):
        assert part is None or isinstance(part, Part)
    assert microseconds(settings.patience) > 0 and isinstance(settings.url_of("sessions"), str)
    assert all(isinstance(rule, Rule) for rule in settings.rules)
    assert all(isinstance(limit, Limit) for rule in settings.rules for limit in rule.limits)
    assert not settings.secret or len(settings.secret) >= 32
    if settings.sessions is not None:
        assert 0 <= settings.sessions.touch_after <= 1
        assert isinstance(settings.sessions.cookie, Cookie)
    assert Settings.from_mapping({name: getattr(settings, name) for name in settings.__struct_fields__}) == settings
    assert repr(settings)


@given(trees)
@example({"sessions": {"idle": timedelta.max}})
@example({"trusted_proxies": [[[]]]})
def test_any_mapping_gives_settings_or_a_settings_error(mapping: dict[Any, Any]):
    try:
        settings = Settings.from_mapping(mapping)
    except SettingsError as error:
        explained(error)
    else:
        settled(settings)


@given(trees)
def test_code_and_mapping_agree(mapping: dict[Any, Any]):
    known = {name: value for name, value in mapping.items() if name in Settings.__struct_fields__}

    def outcome(build: Any) -> Any:
        try:
            return build()
        except SettingsError as error:
            return error.problems

    assert outcome(lambda: Settings(**known)) == outcome(lambda: Settings.from_mapping(known))


@given(
    st.dictionaries(
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("__".join),
        texts | st.text() | st.sampled_from(["[1]", "[", '{"a": 1}', "1", "1e999", "nan", "true", "a,b"]),
        max_size=6,
    )
)
def test_any_environment_gives_settings_or_a_settings_error(names: dict[str, str]):
    try:
        settings = Settings.from_env(environ={f"REDIS_MW_{name.upper()}": text for name, text in names.items()})
    except SettingsError as error:
        explained(error)
    else:
        settled(settings)


some = st.fixed_dictionaries
durations = st.integers(1, 10**6) | st.floats(0.001, 10**6) | st.timedeltas(timedelta(seconds=1), timedelta(days=1))
limits = st.just("5/minute") | some({"rate": st.just("20 in flight")}, optional={"by": st.just(["user", "route"])})
rules = some(
    {"path": st.sampled_from(["/", "/{a}", "/a/*"])},
    optional={
        "limits": st.lists(limits, max_size=2),
        "cache": some({"ttl": durations}, optional={"negative": st.just({"404": 1}) | st.just(0)}),
        "session": st.sampled_from(["auto", "skip"]),
        "touch": st.booleans(),
    },
)
right = some(
    {},
    optional={
        "url": st.just("redis://h") | st.just({"default": "unix:///s", "cache": "redis://u:p@h/1"}),
        "secret": st.just("x" * 32),
        "patience": durations,
        "pool": st.integers(1, 99),
        "trusted_proxies": st.integers(0, 3) | st.just(["10.0.0.0/8"]),
        "rules": st.lists(rules, max_size=3),
        "sessions": st.none() | some({}, optional={"idle": st.integers(1, 43200), "grace": durations}),
        "cache": st.none() | some({}, optional={"jitter": st.floats(0, 1), "chunks": st.booleans()}),
    },
)


@given(right)
def test_what_is_right_is_taken_as_it_is(mapping: dict[str, Any]):
    settings = Settings.from_mapping(mapping)
    settled(settings)
    assert settings.pool == mapping.get("pool", 32) and settings.url == mapping.get("url", Settings().url)
    for rule, written in zip(settings.rules, mapping.get("rules", []), strict=True):
        assert is_default(rule.touch) is ("touch" not in written) and rule.touch == written.get("touch", True)
        assert len(rule.limits) == len(written.get("limits", []))
    if settings.sessions is not None:
        assert is_default(settings.sessions.idle) is ("idle" not in mapping.get("sessions", {}))


@given(right, st.sampled_from(["urll", "pol"]), st.sampled_from([0, -1, "x", None, 1.5, True]))
def test_one_wrong_key_and_one_wrong_value_are_both_named(mapping: dict[str, Any], key: str, value: Any):
    with pytest.raises(SettingsError) as caught:
        _ = Settings.from_mapping({**mapping, key: 1, "pool": value})
    assert [problem.path for problem in caught.value.problems] == [key, "pool"]
