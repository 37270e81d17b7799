"""A Django project for the tests of this room; every test has a prefix of its own on the test server."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import django
import pytest
from django.conf import settings as django_settings

from redis_mw.settings import Limit, Limits, Rule, Settings, replace

OURS = "redis_mw_django.middleware.RedisMiddleware"


def _load(name: str) -> ModuleType:
    """Import a file beside this one under its name; tests are no package here."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if not django_settings.configured:
    django_settings.configure(
        SECRET_KEY="a key for tests that is long enough to sign",
        ALLOWED_HOSTS=["testserver"],
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "redis_mw_django",
        ],
        MIDDLEWARE=[
            OURS,
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
        ROOT_URLCONF="site_of_tests",
        SESSION_ENGINE="redis_mw_django.sessions",
        STATIC_URL="static/",
        USE_TZ=True,
    )
    django.setup()
    _ = _load("site_of_tests")
    _ = _load("site_of_limits")
    _ = _load("site_of_requests")
    _ = _load("site_of_pages")
    _ = _load("both_servers")


@pytest.fixture(autouse=True)
def _on_the_test_server(request: pytest.FixtureRequest, settings: Any) -> None:
    """Every test of this room has its own prefix on the test server."""
    tree: Settings = request.getfixturevalue("redis_mw_settings")
    settings.REDIS_MW = tree


@pytest.fixture
def hooks() -> Any:
    """What a view does in its middle; forgotten after the test."""
    site: Any = sys.modules["site_of_tests"]
    yield site.hooks
    site.hooks.clear()


@pytest.fixture
def limit(settings: Any) -> Any:
    """Sets the limits of the site: those that hold everywhere, those of ``rules``, and options of ``Limits``."""

    def set_limits(*default: Limit | str, rules: Any = (), **options: Any) -> None:
        limits = Limits(default=list(default), **options)
        settings.REDIS_MW = replace(settings.REDIS_MW, limits=limits, rules=list(rules), workers=1)

    return set_limits


@pytest.fixture
def limits_site(settings: Any) -> Any:
    """The site whose views are limited."""
    settings.ROOT_URLCONF = "site_of_limits"
    site: Any = sys.modules["site_of_limits"]
    yield site
    site.hooks.clear()


@pytest.fixture
def requests_site(settings: Any) -> Any:
    """The site whose views run under locks, or once for each idempotency key."""
    settings.ROOT_URLCONF = "site_of_requests"
    site: Any = sys.modules["site_of_requests"]
    yield site
    site.hooks.clear()
    site.ran.clear()


@pytest.fixture
def rule(settings: Any) -> Any:
    """Changes the settings of the site: its rules, and its features by name."""

    def set_rules(*rules: Rule, **features: Any) -> None:
        settings.REDIS_MW = replace(settings.REDIS_MW, rules=list(rules), **features)

    return set_rules


@pytest.fixture
def pages_site(settings: Any) -> Any:
    """The site whose views are cached."""
    settings.ROOT_URLCONF = "site_of_pages"
    site: Any = sys.modules["site_of_pages"]
    yield site
    site.hooks.clear()
    site.ran.clear()
    site.closed.clear()


@pytest.fixture(params=["wsgi", "asgi", "wsgi outermost", "asgi outermost"])
def visit(request: pytest.FixtureRequest, pages_site: Any) -> Any:
    """Asks the site over WSGI or ASGI, with ``outermost`` around Django or without."""
    servers: Any = sys.modules["both_servers"]
    site = servers.Visiting(request.param)
    yield site
    site.close()
