"""Runs Django's own session tests against our engine: a script for a process of its own, with settings of its own.

Arguments: the folder that holds Django's ``sessions_tests``, the url of a server, a prefix, and ``tz`` or ``naive``.
"""

import sys
import unittest
from typing import Any

import django
from django.conf import settings

folder, url, prefix, zone = sys.argv[1:]
sys.path.insert(0, folder)

settings.configure(
    SECRET_KEY="a key for tests that is long enough to sign",
    INSTALLED_APPS=["django.contrib.sessions", "redis_mw_django", "sessions_tests"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="redis_mw_django.sessions",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=zone == "tz",
    REDIS_MW={"url": url, "prefix": prefix},
)
django.setup()

from django.contrib.sessions.middleware import SessionMiddleware  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.test import SimpleTestCase  # noqa: E402
from django.test.runner import DiscoverRunner  # noqa: E402
from sessions_tests import tests as djangos  # noqa: E402

from redis_mw_django.sessions import SessionStore  # noqa: E402


class EngineTests(djangos.SessionTestsMixin, SimpleTestCase):
    backend = SessionStore


# Two of Django's tests of its middleware name the database's engine; they mean the engine in use.
djangos.DatabaseSession = SessionStore


class MiddlewareTests(djangos.SessionMiddlewareTests):
    def test_empty_session_saved(self) -> None:
        """Word for word Django's, but for the last look: that one goes into Django's table of sessions."""

        def response_set_session(request: Any) -> HttpResponse:
            request.session["foo"] = "bar"
            return HttpResponse("Session test")

        request = self.request_factory.get("/")
        middleware = SessionMiddleware(response_set_session)
        response = middleware(request)
        self.assertEqual(tuple(request.session.items()), (("foo", "bar"),))
        self.assertIn(f"Set-Cookie: sessionid={request.session.session_key}", str(response.cookies))
        self.assertEqual(response.headers["Vary"], "Cookie")

        del request.session["foo"]
        response = middleware.process_response(request, HttpResponse("Session test"))
        self.assertEqual(dict(request.session.values()), {})
        stored = SessionStore(request.session.session_key)
        self.assertEqual((stored.load(), stored.session_key), ({}, request.session.session_key))
        self.assertGreater(len(request.session.session_key), 8)
        self.assertIn(f"Set-Cookie: sessionid={request.session.session_key}", str(response.cookies))
        self.assertEqual(response.headers["Vary"], "Cookie")


loader = unittest.defaultTestLoader
suite = unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in (EngineTests, MiddlewareTests))
runner = DiscoverRunner(verbosity=1)
runner.setup_test_environment()
databases = runner.setup_databases()
result = runner.run_suite(suite)
runner.teardown_databases(databases)
runner.teardown_test_environment()
sys.stdout.write(f"\nran {result.testsRun}, skipped {len(result.skipped)}\n")
sys.exit(not result.wasSuccessful())
