"""Django's settings. The shop keeps its rows in its own file, so no database is configured here."""

from sample_apps.shop import configuration

SECRET_KEY = configuration.SECRET
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "sample_apps.django_shop.urls"
USE_TZ = True
TIME_ZONE = "UTC"

INSTALLED_APPS = ["redis_mw_django"]
MIDDLEWARE = [
    "redis_mw_django.middleware.RedisMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
]
SESSION_ENGINE = "redis_mw_django.sessions"
SESSION_COOKIE_NAME = configuration.COOKIE
REDIS_MW = configuration.settings()

# Django tells of errors by mail unless it is told to print them.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
