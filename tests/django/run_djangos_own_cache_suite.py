"""Runs Django's own cache tests against ours: a script for a process of its own, with settings of its own.

Arguments: the folder that holds Django's tests ``cache``, the url of a server, a prefix, and how: ``default`` with our
own encoding, ``awaited`` the same by the methods with an ``a``, ``pickle`` with a serializer that has no limits.
"""

import sys
import unittest
from contextlib import nullcontext
from typing import Any

import django
from django.conf import settings

folder, url, prefix, how = sys.argv[1:]
sys.path.insert(0, folder)

OURS: dict[str, Any] = {"BACKEND": "awaited.AwaitedCache" if how == "awaited" else "redis_mw_django.cache.RedisCache"}
if how == "pickle":
    OURS["OPTIONS"] = {"serializer": "pickling.PickleSerializer"}

settings.configure(
    SECRET_KEY="a key for tests that is long enough to sign",
    INSTALLED_APPS=["redis_mw_django", "cache"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHES={"default": OURS},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=False,
    REDIS_MW={"url": url, "prefix": prefix},
)
django.setup()

from cache import tests as djangos  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.test import TestCase, override_settings  # noqa: E402
from django.test.runner import DiscoverRunner  # noqa: E402

from redis_mw.errors import CannotEncode  # noqa: E402

REFUSED = (
    "test_data_types",
    "test_cache_read_for_model_instance",
    "test_cache_read_for_model_instance_with_deferred",
    "test_cache_write_for_model_instance_with_deferred",
    "test_cache_write_unpicklable_object",
    "test_add_fail_on_pickleerror",
    "test_set_fail_on_pickleerror",
)
"""They store functions, classes, models, responses: our encoding refuses those."""

LEFT_OUT = {
    "test_incr_write_connection": "asks Django's client class which connection it writes to",
    "test_cache_client_class": "asks for Django's client class",
    "test_get_connection_pool_index": "asks Django's client class for its pools",
    "test_get_connection_pool": "asks Django's client class for its pools",
    "test_get_client": "asks Django's client class for a client of redis-py",
    "test_serializer_dumps": "asks Django's client class for its serializer",
    "test_client_driver_info": "asks Django's client class what it tells the server of itself; of Django 6.1",
    "test_redis_pool_options": "asks Django's client class for its pools",
}
APPLIES = "test_get_backend_timeout_method"

tests_of_djangos_own = {name for name in vars(djangos.RedisCacheTests) if name.startswith("test_")}
assert APPLIES in tests_of_djangos_own
assert tests_of_djangos_own <= {*LEFT_OUT, APPLIES}, (
    f"nobody has said of all whether they apply: {tests_of_djangos_own}"
)


@override_settings(CACHES=djangos.caches_setting_for_tests(base=OURS, exclude={"cull", "zero_cull"}))
class CacheTests(djangos.BaseCacheTests, TestCase):
    pass


setattr(CacheTests, APPLIES, getattr(djangos.RedisCacheTests, APPLIES))


def refused(name: str) -> Any:
    def test(self: Any) -> None:
        self.subTest = lambda **_: nullcontext()  # it would keep to itself what is raised
        with self.assertRaises(CannotEncode):
            getattr(djangos.BaseCacheTests, name)(self)

    return test


if how != "pickle":
    for each in REFUSED:
        setattr(CacheTests, each, refused(each))

    def test_classes_are_refused_as_functions_are(self: Any) -> None:
        with self.assertRaises(CannotEncode):
            cache.set("class", djangos.C)

    CacheTests.test_classes_are_refused_as_functions_are = test_classes_are_refused_as_functions_are

suite = unittest.defaultTestLoader.loadTestsFromTestCase(CacheTests)
runner = DiscoverRunner(verbosity=1)
runner.setup_test_environment()
databases = runner.setup_databases()
result = runner.run_suite(suite)
runner.teardown_databases(databases)
runner.teardown_test_environment()
sys.stdout.write(f"\nran {result.testsRun}, skipped {len(result.skipped)}\n")
sys.exit(not result.wasSuccessful())
