"""Settings under Django: they take effect at once, their mistakes are system checks, parallel workers are apart."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.test import Client, override_settings

from redis_mw.errors import PolicyError, RedisUnavailable, SettingsError
from redis_mw.settings import Sessions, Settings, replace
from redis_mw_django import amw, application, mw
from redis_mw_django.application import settings_tree
from redis_mw_django.sessions import SessionStore

OURS = "redis_mw_django.middleware.RedisMiddleware"
DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"


def ids(*, deploy: bool = False) -> list[str]:
    return sorted(
        message.id
        for message in run_checks(include_deployment_checks=deploy)
        if (message.id or "").startswith("redis_mw")
    )


def test_overridden_settings_take_effect_at_once_and_the_old_face_is_closed(redis_mw_settings: Settings) -> None:
    before = application.application().sync
    mw.ping()
    with override_settings(REDIS_MW=replace(redis_mw_settings, pool=7)):
        assert mw.settings.pool == 7
        with pytest.raises(RedisUnavailable, match="closed"):
            before.ping()
    assert mw.settings == redis_mw_settings
    mw.ping()


def test_a_mapping_is_as_good_as_a_tree() -> None:
    with override_settings(REDIS_MW={"url": "redis://h:1/0", "sessions": {"idle": 60}}):
        assert mw.settings.url == "redis://h:1/0"
        assert mw.settings.sessions == Sessions(idle=60)


def test_without_a_mapping_the_environment_is_read(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    del settings.REDIS_MW
    monkeypatch.setenv("REDIS_MW_URL", "redis://h:2/0")
    assert settings_tree().url == "redis://h:2/0"


@pytest.mark.asyncio
async def test_the_async_face_belongs_to_its_loop_and_follows_the_settings(
    settings: Any, redis_mw_settings: Settings
) -> None:
    await amw.ping()
    mine = application.application().aio
    assert mine.driver is amw.driver
    settings.REDIS_MW = replace(redis_mw_settings, pool=7)
    assert amw.settings.pool == 7
    await asyncio.sleep(0)
    await amw.ping()


def in_a_process_of_its_own(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_WORKER"}
        | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def test_importing_the_package_reads_no_setting() -> None:
    code = "import sys, redis_mw_django; repr(redis_mw_django.mw); sys.exit('django.conf' in sys.modules)"
    assert in_a_process_of_its_own(code).returncode == 0


def test_without_django_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['django'] = None\n"
        "try: import redis_mw_django\n"
        "except ImportError as error: print(error)"
    )
    assert 'pip install "redis-mw[django]"' in in_a_process_of_its_own(code).stdout


def test_djangos_own_parallel_runner_gives_its_workers_prefixes_of_their_own(tmp_path: Path) -> None:
    _ = (tmp_path / "cases.py").write_text(CASES)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import cases; cases.main()"
    done = in_a_process_of_its_own(code)
    prefixes = set((tmp_path / "seen").read_text().split())
    assert (done.returncode, prefixes) == (0, {"shop-dj1", "shop-dj2"}), done.stderr


CASES = """
import pathlib, time
import django
from django.conf import settings

settings.configure(SECRET_KEY="x" * 40, REDIS_MW={"prefix": "shop"}, INSTALLED_APPS=["redis_mw_django"])
django.setup()
from django.test import SimpleTestCase
from django.test.runner import DiscoverRunner
from redis_mw_django import mw

assert mw.settings.prefix == "shop"
seen = pathlib.Path(__file__).with_name("seen")

class One(SimpleTestCase):
    def test(self):
        with seen.open("a") as file:
            file.write(mw.settings.prefix + chr(10))
        deadline = time.monotonic() + 60
        while len(set(seen.read_text().split())) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)  # until the other worker has come

class Two(One):
    pass

def main():
    raise SystemExit(DiscoverRunner(parallel=2, verbosity=0).run_tests(["cases"]))
"""


def test_parallel_workers_have_prefixes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import django.test.runner

    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    with override_settings(REDIS_MW={"url": mw.settings.url, "prefix": "shop"}):
        seen = [mw.settings.prefix]
        for number in (1, 2):
            monkeypatch.setattr(django.test.runner, "_worker_id", number)
            seen.append(mw.settings.prefix)
        monkeypatch.setattr(django.test.runner, "_worker_id", 0)
        monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw3")
        seen.append(mw.settings.prefix)
    assert seen == ["shop", "shop-dj1", "shop-dj2", "shop-gw3"]


@pytest.mark.parametrize("wrong", [{"pool": "many"}, {"sessions": None}, {"rules": [{"path": "/", "lock": "x:{id}"}]}])
def test_settings_that_cannot_be_used_stop_the_application_at_its_start(wrong: dict[str, Any]) -> None:
    with override_settings(REDIS_MW=wrong), pytest.raises((SettingsError, PolicyError, ImproperlyConfigured)):
        _ = get_wsgi_application()


def test_the_settings_of_this_project_pass_all_checks() -> None:
    assert ids() == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"REDIS_MW": {"sessions": {"idel": 1}, "url": 7}}, ["redis_mw.E001", "redis_mw.E001"]),
        ({"REDIS_MW": {"on_event": ["no.such.listener"]}}, ["redis_mw.E001"]),
        ({"REDIS_MW": {"rules": [{"path": "/x", "lock": "x:{id}"}]}}, ["redis_mw.E002"]),
        ({"REDIS_MW": {"rules": [{"path": "/x/{id}", "lock": "x:{id}", "idempotency": {"required": True}}]}}, []),
        ({"ROOT_URLCONF": "site_of_requests"}, []),
        ({"REDIS_MW": {"rules": [{"path": "/x", "limits": ["5/minute"]}]}}, []),
        ({"REDIS_MW": {"limits": {"default": ["5/minutes and a half"]}}}, ["redis_mw.E001"]),
        ({"REDIS_MW": {"limits": {"default": [{"rate": "5/m", "count": "call:no.such"}]}}}, ["redis_mw.E001"]),
        (
            {"REDIS_MW": {"limits": {"default": [{"rate": "5/m", "name": "x"}, {"rate": "6/m", "name": "x"}]}}},
            ["redis_mw.E002"],
        ),
        (
            {"MIDDLEWARE": [DJANGOS], "REDIS_MW": {"rules": [{"path": "/x", "limits": ["5/minute"]}]}},
            ["redis_mw.E009", "redis_mw.W002"],
        ),
        ({"MIDDLEWARE": [DJANGOS], "REDIS_MW": {"limits": {"default": ["5/m"]}}}, ["redis_mw.E009", "redis_mw.W002"]),
        ({"MIDDLEWARE": [DJANGOS], "REDIS_MW": {"limits": {"named": {"x": "5/m"}}}}, ["redis_mw.W002"]),
        ({"MIDDLEWARE": [DJANGOS], "ROOT_URLCONF": "site_of_limits"}, ["redis_mw.E010", "redis_mw.W002"]),
        ({"ROOT_URLCONF": "site_of_limits"}, []),
        (
            {"ROOT_URLCONF": "site_of_limits", "REDIS_MW": {"limits": {"named": {"wide": "5/m"}}}},
            ["redis_mw.E002"],
        ),
        ({"REDIS_MW_HANDLER": "no.such.function"}, ["redis_mw.E003"]),
        ({"REDIS_MW_HANDLER": "site_of_tests.aread"}, ["redis_mw.E003"]),
        ({"MIDDLEWARE": [DJANGOS, OURS]}, ["redis_mw.E004"]),
        ({"MIDDLEWARE": [OURS]}, ["redis_mw.E005"]),
        ({"MIDDLEWARE": ["django.middleware.security.SecurityMiddleware", OURS, DJANGOS]}, ["redis_mw.W001"]),
        ({"MIDDLEWARE": [DJANGOS]}, ["redis_mw.W002"]),
        ({"REDIS_MW": {"sessions": None}}, ["redis_mw.E006"]),
        ({"SESSION_SERIALIZER": "django.contrib.sessions.serializers.PickleSerializer"}, ["redis_mw.W003"]),
        ({"REDIS_MW": {"sessions": {"cookie": {"path": "/x"}}}}, ["redis_mw.W004"]),
        ({"SECRET_KEY": "short", "REDIS_MW": {}}, ["redis_mw.W005"]),
        ({"REDIS_MW_ACCEPT_UNSIGNED": True}, ["redis_mw.W006"]),
        ({"SESSION_COOKIE_SAMESITE": "None"}, ["redis_mw.E007"]),
        ({"SESSION_COOKIE_NAME": "__Host-s"}, ["redis_mw.E007"]),
        ({"SESSION_COOKIE_NAME": "a b"}, ["redis_mw.E007"]),
        ({"SESSION_COOKIE_PATH": "x"}, ["redis_mw.E007"]),
        ({"SESSION_COOKIE_DOMAIN": "q;r", "SESSION_COOKIE_SAMESITE": "bogus"}, ["redis_mw.E007"] * 2),
        ({"SESSION_COOKIE_SAMESITE": False, "SESSION_COOKIE_DOMAIN": ".shop.example"}, []),
        ({"SESSION_COOKIE_AGE": "60"}, ["redis_mw.E008"]),
        ({"SECRET_KEY_FALLBACKS": ["", None], "REDIS_MW": {}}, ["redis_mw.E008"] * 2),
        ({"SECRET_KEY_FALLBACKS": [""], "REDIS_MW": {"secret": "x" * 32}}, []),
    ],
)
def test_a_mistake_in_the_settings_is_a_check(changes: dict[str, Any], found: list[str]) -> None:
    admin = ["django.contrib.auth.middleware.AuthenticationMiddleware"]
    if "MIDDLEWARE" in changes:
        changes = changes | {"MIDDLEWARE": changes["MIDDLEWARE"] + admin}
    with override_settings(**changes):
        assert ids() == found


CACHE = {"BACKEND": "redis_mw_django.cache.RedisCache"}
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"LOCATION": "redis://h:1/0"}, []),
        ({"LOCATION": ["embedded://"], "OPTIONS": {"serializer": "json.JSONEncoder"}}, ["redis_mw.E011"]),
        ({"LOCATION": "h:6379"}, ["redis_mw.E011"]),
        ({"LOCATION": ["redis://h", "redis://i"]}, ["redis_mw.E011"]),
        ({"OPTIONS": {"serializer": "no.such.Serializer"}}, ["redis_mw.E011"]),
        ({"OPTIONS": {"serializer": "django.core.cache.backends.redis.RedisSerializer"}}, []),
        ({"OPTIONS": {"serialiser": "no.such", "db": 3}, "LOCATION": "http://h"}, ["redis_mw.E011"] * 3),
        (LOCMEM | {"LOCATION": "h:6379", "OPTIONS": {"MAX_ENTRIES": 5}}, []),
    ],
)
def test_a_mistake_in_an_entry_of_caches_is_a_check(changes: dict[str, Any], found: list[str]) -> None:
    with override_settings(CACHES={"default": LOCMEM, "ours": CACHE | changes}):
        assert ids() == found


def test_a_cache_that_redis_mw_turns_off_is_a_check() -> None:
    with override_settings(CACHES={"default": CACHE}, REDIS_MW={"cache": None}):
        (message,) = [each for each in run_checks() if each.id == "redis_mw.E012"]
    assert "CACHES['default']" in message.msg and '"cache": None' in str(message.hint)


def test_a_problem_of_an_entry_of_caches_names_it_and_the_remedy() -> None:
    wrong = {"LOCATION": "redis://:hidden@h/b", "OPTIONS": {"serializer": "builtins.dict", "serialiser": 1}}
    with override_settings(CACHES={"default": CACHE | wrong}):
        told = {each.msg: str(each.hint) for each in run_checks(tags=["caches"]) if each.id == "redis_mw.E011"}
    unknown, location, serializer = told
    assert unknown == "CACHES['default']: OPTIONS.serialiser: unknown"
    assert 'did you mean "serializer"?' in told[unknown]
    assert location == "CACHES['default']: LOCATION: its database is not a number"
    assert told[location] == "end it with /0, /1, ..."
    assert serializer == "CACHES['default']: OPTIONS.serializer: 'builtins.dict' has no dumps() and loads()"
    assert "class with both" in told[serializer]


def test_a_problem_of_the_mapping_names_its_path_and_the_remedy() -> None:
    with override_settings(REDIS_MW={"sessions": {"idel": 1}}):
        (message,) = [each for each in run_checks() if each.id == "redis_mw.E001"]
    assert message.msg == "REDIS_MW: sessions.idel: unknown"
    assert 'did you mean "idle"?' in str(message.hint)


def test_a_problem_of_djangos_settings_names_the_setting() -> None:
    with override_settings(SESSION_COOKIE_SAMESITE="bogus", SESSION_COOKIE_AGE="60", SECRET_KEY_FALLBACKS=[None]):
        with override_settings(REDIS_MW={}):
            found = [
                each.msg.partition(":")[0] for each in run_checks() if each.id in ("redis_mw.E007", "redis_mw.E008")
            ]
            with pytest.raises(SettingsError, match=r"SECRET_KEY fallbacks|SESSION_COOKIE_AGE"):
                _ = get_wsgi_application()
    assert found == ["SESSION_COOKIE_SAMESITE", "SESSION_COOKIE_AGE", "SECRET_KEY fallbacks[0]"]


def test_a_key_of_any_bytes_signs(settings: Any, redis_mw_settings: Settings) -> None:
    settings.REDIS_MW = replace(redis_mw_settings, secret="")
    settings.SECRET_KEY = bytes(range(200, 240))
    assert ids() == []
    client = Client()
    _ = client.get("/write/?x=1")
    assert client.get("/read/").json() == {"x": "1"}


def test_the_flags_of_the_cookie_are_looked_at_before_a_deployment() -> None:
    with override_settings(SESSION_COOKIE_HTTPONLY=False):
        assert ids(deploy=True) == ["redis_mw.W007", "redis_mw.W008"]
    with override_settings(SESSION_COOKIE_SECURE=True):
        assert ids(deploy=True) == []


def test_another_prefix_is_another_site(settings: Any, redis_mw_settings: Settings) -> None:
    client = Client()
    _ = client.get("/write/?x=1")
    key = SessionStore(client.cookies["sessionid"].value).session_key
    settings.REDIS_MW = replace(redis_mw_settings, prefix="elsewhere")
    assert client.get("/read/").json() == {}
    assert not SessionStore().exists(key)
